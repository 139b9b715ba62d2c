"""Migrations of what is stored: which resource, and how far it got.

The work is :mod:`kutter.controllers.storage_migration`'s. Upstream:
kubernetes.io/docs/tasks/manage-kubernetes-objects/storage-version-migration/
"""

from __future__ import annotations

import re
from typing import ClassVar

from kutter.api.errors import FieldError, invalid, required
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
from kutter.apiserver.kinds.standard import Standard
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.conditions import validate_conditions

_RESOURCE = "spec.resource.resource"
_GROUP = "spec.resource.group"
_CONDITIONS = "status.conditions"
_VERSION = "status.resourceVersion"
_well_formed = re.compile("[1-9][0-9]*").fullmatch


class StorageVersionMigrationKind(Standard):
    allow_unconditional_update: ClassVar[bool] = False

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        # A plain struct upstream: there from the start, empty.
        tree["status"] = {}

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        """As upstream: the object's metadata, what is wrong with it, then with the step."""
        errors = self.check_metadata(new) + self.check(new) + self.check_metadata_change(new, old)
        named = _named(new)
        if named != _named(old):
            errors.append(invalid("spec", {"Resource": named}, "field is immutable"))
        return errors

    def check(self, tree: Tree) -> list[FieldError]:
        named = _named(tree)
        resource, group = named["resource"], named["group"]
        errors: list[FieldError] = []
        if not resource:
            errors.append(required(_RESOURCE, "resource is required to be set"))
        elif problems := text.dns_label_1035(resource):
            errors.append(invalid(_RESOURCE, resource, ",".join(problems)))
        if group and (problems := text.dns_subdomain(group)):
            errors.append(invalid(_GROUP, group, ",".join(problems)))
        return errors

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        status, before = new.get("status") or {}, old.get("status") or {}
        version, known = status.get("resourceVersion") or "", before.get("resourceVersion") or ""
        errors: list[FieldError] = []
        if version and not _well_formed(version):
            detail = f"resource version is not well formed: {version}"
            errors.append(invalid(_VERSION, version, detail))
        conditions = status.get("conditions") or []
        errors += validate_conditions(conditions, _CONDITIONS)
        status_node = type_node("storagemigration.k8s.io/v1beta1", "StorageVersionMigrationStatus")
        shown = render(conditions, status_node.fields["conditions"])
        if known and known != version:
            errors.append(invalid(_VERSION, version, "field is immutable"))
        if _is_true(status, "Succeeded") and _is_true(status, "Failed"):
            detail = "Both success and failed conditions cannot be true at the same time"
            errors.append(invalid(_CONDITIONS, shown, detail))
        for kind, word in (("Succeeded", "Success"), ("Failed", "Failed")):
            if _is_true(before, kind) and not _is_true(status, kind):
                detail = f"{word} condition cannot be set to false once it is true"
                errors.append(invalid(_CONDITIONS, shown, detail))
        return errors


def _named(tree: Tree) -> dict[str, str]:
    named = (tree.get("spec") or {}).get("resource") or {}
    return {field: named.get(field) or "" for field in ("group", "resource")}


def _is_true(status: Tree, kind: str) -> bool:
    return any(
        c.get("type") == kind and c.get("status") == "True" for c in status.get("conditions") or ()
    )
