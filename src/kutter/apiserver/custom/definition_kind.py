"""The strategy of CustomResourceDefinition: defaults, rules, and what its deletion waits for.

Its conditions and the serving of what it defines are :mod:`kutter.apiserver.custom.definitions`'.
"""

from __future__ import annotations

from typing import Any, ClassVar

from kutter.api.custom.definition import CLEANUP
from kutter.api.custom.reading import clean_schemas
from kutter.api.custom.structural import find_odd_formats
from kutter.api.errors import FieldError, invalid
from kutter.api.quoting import quote
from kutter.apiserver.custom.approval import find_approval_errors
from kutter.apiserver.custom.conditions import is_true, set_condition
from kutter.apiserver.custom.rules import find_names_errors, find_spec_errors
from kutter.apiserver.kinds.standard import Standard
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation.metadata import immutable
from kutter.apiserver.webhooks.client_config import find_bundle_errors
from kutter.base.clock import render_time

_NAME = 'must be spec.names.plural+"."+spec.group'


class CustomResourceDefinitionKind(Standard):
    generation_paths: ClassVar[tuple[str, ...]] = ("spec",)
    allow_unconditional_update: ClassVar[bool] = False
    known_finalizers: ClassVar[bool] = False

    def default(self, tree: Tree) -> None:
        spec = tree.get("spec")
        if not isinstance(spec, dict):
            return
        clean_schemas(spec)
        names = spec.get("names")
        if isinstance(names, dict) and names.get("kind"):
            names.setdefault("listKind", f"{names['kind']}List")
            names.setdefault("singular", names["kind"].lower())
        conversion = spec.setdefault("conversion", {})
        conversion.setdefault("strategy", "None")
        service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
        if service is not None:
            service.setdefault("port", 443)
        if spec.get("preserveUnknownFields") is False:
            del spec["preserveUnknownFields"]

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {
            "conditions": None,
            "acceptedNames": {"plural": "", "kind": ""},
            "storedVersions": _storage_versions(tree)[:1] or None,
        }

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_update(context, new, old)
        status = new.get("status")
        if isinstance(status, dict):
            stored = status.get("storedVersions") or []
            more = [name for name in _storage_versions(new)[:1] if name not in stored]
            if more:
                new["status"] = {**status, "storedVersions": [*stored, *more]}

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        errors = self.check_metadata(tree) + self._check_name(tree) + self.check(tree)
        return errors + _check_stored(tree) + find_approval_errors(tree, None)

    def _check_name(self, tree: Tree) -> list[FieldError]:
        spec = tree.get("spec") or {}
        name = (tree.get("metadata") or {}).get("name") or ""
        wanted = f"{(spec.get('names') or {}).get('plural') or ''}.{spec.get('group') or ''}"
        return [invalid("metadata.name", name, _NAME)] if name != wanted else []

    def check(self, tree: Tree) -> list[FieldError]:
        return find_spec_errors(tree.get("spec") or {})

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        names, known = spec.get("names") or {}, before.get("names") or {}
        errors: list[FieldError] = []
        if is_true(old, "Established"):
            errors += immutable(spec.get("scope"), before.get("scope"), "spec.scope")
            errors += immutable(names.get("kind"), known.get("kind"), "spec.names.kind")
            errors += _check_bundle(spec, before)
        errors += immutable(spec.get("group"), before.get("group"), "spec.group")
        errors += immutable(names.get("plural"), known.get("plural"), "spec.names.plural")
        return errors + _check_stored(new) + find_approval_errors(new, old)

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        if old is not None and new.get("spec") == old.get("spec"):
            return []
        known = find_odd_formats(old) if old is not None else []
        odd = [name for name in find_odd_formats(new) if name not in known]
        return [f"unrecognized format {quote(name)}" for name in odd]

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        status = new.get("status") or {}
        names = status.get("acceptedNames") or {}
        return find_names_errors(names, "status.acceptedNames") + _check_stored(new)

    # -- deletion: everything it defines goes first ----------------------------

    def holds_deletion(self, tree: Tree) -> bool:
        """True for the first DELETE, which then adds the finalizer."""
        return not tree["metadata"].get("deletionTimestamp")

    def begin_delete(self, context: StrategyContext, tree: Tree) -> None:
        metadata = tree["metadata"]
        finalizers: list[Any] = metadata.setdefault("finalizers", [])
        if is_true(tree, "Terminating") or CLEANUP in finalizers:
            return
        finalizers.append(CLEANUP)
        set_condition(
            tree,
            "Terminating",
            "True",
            "InstanceDeletionPending",
            "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
            now=render_time(context.now),
        )


def _check_bundle(spec: Tree, before: Tree) -> list[FieldError]:
    """A served definition's bundle of authorities stays readable, if it was (as upstream)."""
    new, old = (
        ((tree.get("conversion") or {}).get("webhook") or {}).get("clientConfig") or {}
        for tree in (spec, before)
    )
    path = "spec.conversion.webhookClientConfig.caBundle"
    errors = find_bundle_errors(new.get("caBundle") or "", path)
    known = old.get("caBundle")
    return errors if errors and not (known and find_bundle_errors(known, path)) else []


def _storage_versions(tree: Tree) -> list[str]:
    versions = (tree.get("spec") or {}).get("versions") or ()
    return [v.get("name") or "" for v in versions if v.get("storage")]


def _check_stored(tree: Tree) -> list[FieldError]:
    names = {v.get("name") or "" for v in (tree.get("spec") or {}).get("versions") or ()}
    sent = (tree.get("status") or {}).get("storedVersions")
    stored = sent or []
    path = "status.storedVersions"
    if not stored:
        return [invalid(path, sent, "must have at least one stored version")]
    errors: list[FieldError] = []
    for name in _storage_versions(tree):
        if name not in stored:
            errors.append(invalid(path, stored, f"must have the storage version {name}"))
    for i, name in enumerate(stored):
        if name not in names:
            detail = (
                f"missing from spec.versions; {name} was previously a storage version, and must "
                "remain in spec.versions until a storage migration ensures no data remains "
                f"persisted in {name} and removes {name} from status.storedVersions"
            )
            errors.append(invalid(f"{path}[{i}]", name, detail))
    return errors
