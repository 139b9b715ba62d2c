"""Namespaces, service accounts, priority and runtime classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from kutter.api.errors import (
    FieldError,
    invalid,
)
from kutter.apiserver.kinds.standard import Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import (
    checked,
    validate_finalizer_standing,
)

Errors = list[FieldError]

NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceKind(Standard):
    rechecks_metadata: ClassVar[bool] = True
    name_check: ClassVar[text.Check] = text.dns_label
    field_labels: ClassVar[frozenset[str]] = frozenset({"status.phase", "name"})

    def default(self, tree: Tree) -> None:
        metadata = tree.setdefault("metadata", {})
        if metadata.get("name"):
            setdefault(metadata, "labels", {})[NAME_LABEL] = metadata["name"]
        status = setdefault(tree, "status", {})
        if not status.get("phase"):
            status["phase"] = "Active"

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {"phase": "Active"}
        finalizers = setdefault(spec_of(tree), "finalizers", [])
        if "kubernetes" not in finalizers:
            finalizers.append("kubernetes")

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_update(context, new, old)
        _restore(new, old, "spec")

    def canonicalize(self, tree: Tree) -> None:
        # A generated name came after defaulting.
        self.default(tree)

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        for finalizer in (tree.get("spec") or {}).get("finalizers") or ():
            errors += _finalizer(finalizer, "spec.finalizers")
        return errors

    def validate_part_update(
        self, context: StrategyContext, part: str, new: Tree, old: Tree
    ) -> list[FieldError]:
        errors = self.check_metadata_change(new, old)
        for i, finalizer in enumerate((new.get("spec") or {}).get("finalizers") or ()):
            errors += _finalizer(finalizer, f"spec.finalizers[{i}]")
        return errors

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        deleted = bool((new.get("metadata") or {}).get("deletionTimestamp"))
        phase = (new.get("status") or {}).get("phase")
        if not deleted and phase != "Active":
            detail = "may only be 'Active' if `deletionTimestamp` is empty"
            return [invalid("status.Phase", phase, detail)]
        if deleted and phase != "Terminating":
            detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
            return [invalid("status.Phase", phase, detail)]
        return []

    def holds_deletion(self, tree: Tree) -> bool:
        return bool((tree.get("spec") or {}).get("finalizers"))

    def begin_delete(self, context: StrategyContext, tree: Tree) -> None:
        setdefault(tree, "status", {})["phase"] = "Terminating"

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        return {
            "status.phase": (tree.get("status") or {}).get("phase") or "",
            "name": (tree.get("metadata") or {}).get("name") or "",
        }


def _finalizer(finalizer: str, path: str) -> list[FieldError]:
    errors = checked(path, finalizer, text.qualified_name)
    return errors + validate_finalizer_standing(finalizer, path)


def _restore(new: Tree, old: Tree, field: str) -> None:
    if old.get(field) is None:
        new.pop(field, None)
    else:
        new[field] = old[field]


_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


class ServiceAccountKind(Standard):
    return_deleted_object: ClassVar[bool] = True
    has_status: ClassVar[bool] = False
    rechecks_metadata: ClassVar[bool] = True

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        def noted(tree: Tree | None) -> bool:
            return _MOUNTABLE in (((tree or {}).get("metadata") or {}).get("annotations") or {})

        if noted(old) or not noted(new):
            return []
        why = (
            "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )
        return [f"metadata.annotations[{_MOUNTABLE}]: {why}"]
