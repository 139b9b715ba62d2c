"""Persistent volumes, claims and classes of storage."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
    too_long,
)
from kutter.apiserver.kinds.pod_defaults import (
    default_claim_spec,
    default_legacy_volume,
    mirror_data_source,
)
from kutter.apiserver.kinds.pod_warnings import NODE_LABELS, claim_warnings, node_term_warnings
from kutter.apiserver.kinds.standard import Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import checked, immutable, validate_metadata_update
from kutter.apiserver.validation.persistent_volumes import (
    annotation_warnings,
    mount_options,
    validate_volume,
    validate_volume_change,
    volume_warnings,
)
from kutter.apiserver.validation.volumes import (
    validate_claim_change,
    validate_claim_spec,
    validate_claim_status,
)
from kutter.base.clock import render_time

Errors = list[FieldError]


class PersistentVolumeKind(Standard):
    leaves_metadata: ClassVar[bool] = True
    rechecks_metadata: ClassVar[bool] = True
    change_last: ClassVar[bool] = True
    return_deleted_object: ClassVar[bool] = True

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        if not spec.get("persistentVolumeReclaimPolicy"):
            spec["persistentVolumeReclaimPolicy"] = "Retain"
        setdefault(spec, "volumeMode", "Filesystem")
        host = spec.get("hostPath")
        if host is not None and host.get("type") is None:
            host["type"] = ""
        default_legacy_volume(spec)
        quantities.canonicalize_list(spec.get("capacity"))
        status = setdefault(tree, "status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {
            "phase": "Pending",
            "lastPhaseTransitionTime": render_time(context.now),
        }

    def prepare_for_status_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_status_update(context, new, old)
        field = "lastPhaseTransitionTime"
        status, before = setdefault(new, "status", {}), old.get("status") or {}
        if status.get("phase") != before.get("phase"):
            if status.get(field) in (None, before.get(field)):
                status[field] = render_time(context.now)
        elif status.get(field) is None and before.get(field) is not None:
            status[field] = before[field]

    def check(self, tree: Tree) -> list[FieldError]:
        return validate_volume(tree) + mount_options(tree)

    def check_changed(self, new: Tree, old: Tree) -> list[FieldError]:
        # Upstream looks at the whole volume twice.
        return self.check(new) + self.check_metadata(new) + validate_volume(new)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return validate_volume_change(new, old)

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        return validate_metadata_update(new["metadata"], old["metadata"])

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        affinity = ((new.get("spec") or {}).get("nodeAffinity") or {}).get("required") or {}
        texts = volume_warnings(new)
        for i, term in enumerate(affinity.get("nodeSelectorTerms") or ()):
            path = f"spec.nodeAffinity.required.nodeSelectorTerms[{i}]"
            node_term_warnings(texts, term, path, checks_values=False)
        return texts


_SOURCES = {("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")}


def _settle_data_source(spec: Tree, old: Tree) -> None:
    """What a claim is filled from (KEP-1495): the older field takes only what it always took, and
    sources in other namespaces are behind a gate. Then both fields say the same.
    """
    if old.get("dataSource") is None and old.get("dataSourceRef") is None:
        reference = spec.get("dataSourceRef")
        if reference is not None and reference.get("namespace"):
            del spec["dataSourceRef"]
        source = spec.get("dataSource")
        if source is not None and spec.get("dataSourceRef") is None:
            named = (source.get("apiGroup") or "", source.get("kind") or "")
            if named not in _SOURCES:
                del spec["dataSource"]
    mirror_data_source(spec)


class PersistentVolumeClaimKind(Standard):
    rechecks_metadata: ClassVar[bool] = True
    change_last: ClassVar[bool] = True
    return_deleted_object: ClassVar[bool] = True

    def default(self, tree: Tree) -> None:
        default_claim_spec(spec_of(tree))
        status = setdefault(tree, "status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"
        quantities.canonicalize_list(status.get("capacity"))

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {"phase": "Pending"}
        _settle_data_source(spec_of(tree), {})

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_update(context, new, old)
        _settle_data_source(spec_of(new), old.get("spec") or {})

    def check(self, tree: Tree) -> list[FieldError]:
        return validate_claim_spec(tree.get("spec") or {}, "spec")

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return validate_claim_change(new, old)

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        return validate_claim_status(new)

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        texts = annotation_warnings(new, ("volume.beta.kubernetes.io/storage-class",))
        return texts + claim_warnings(new.get("spec") or {}, "spec")


# A class has no more parameters than this, and no more bytes of them.
_PARAMETERS_MAX, _PARAMETERS_MAX_BYTES = 512, 256 * 1024


def _provisioner(name: str, path: str) -> Errors:
    return checked(path, name.lower(), text.qualified_name) if name else [required(path)]


def _parameters(parameters: Tree, path: str, *, may_be_empty: bool) -> Errors:
    if len(parameters) > _PARAMETERS_MAX:
        return [too_long(path, _PARAMETERS_MAX)]
    errors = [invalid(path, k, "field can not be empty.") for k in parameters if not k]
    size = sum(len(k.encode()) + len(v.encode()) for k, v in parameters.items())
    if size > _PARAMETERS_MAX_BYTES:
        errors.append(too_long(path, _PARAMETERS_MAX_BYTES))
    if not parameters and not may_be_empty:
        errors.append(required(path, "must contain at least one key/value pair"))
    return errors


class StorageClassKind(Standard):
    return_deleted_object: ClassVar[bool] = True
    has_status: ClassVar[bool] = False
    rechecks_metadata: ClassVar[bool] = True
    change_last: ClassVar[bool] = True

    def default(self, tree: Tree) -> None:
        setdefault(tree, "reclaimPolicy", "Delete")
        setdefault(tree, "volumeBindingMode", "Immediate")

    def check(self, tree: Tree) -> list[FieldError]:
        errors = _provisioner(tree.get("provisioner") or "", "provisioner")
        errors += _parameters(tree.get("parameters") or {}, "parameters", may_be_empty=True)
        reclaim = tree.get("reclaimPolicy")
        if reclaim and reclaim not in ("Delete", "Retain"):
            errors.append(not_supported("reclaimPolicy", reclaim, ["Delete", "Retain"]))
        mode = tree.get("volumeBindingMode")
        if mode not in ("Immediate", "WaitForFirstConsumer"):
            errors.append(
                not_supported("volumeBindingMode", mode, ["Immediate", "WaitForFirstConsumer"])
            )
        self._topologies(errors, tree.get("allowedTopologies") or [], "allowedTopologies")
        return errors

    def _topologies(self, errors: Errors, terms: list[Tree], path: str) -> None:
        # Upstream compares with as many empty ones as there are terms.
        seen: list[dict[str, frozenset[str]]] = [{}] if terms else []
        for i, term in enumerate(terms):
            held: dict[str, frozenset[str]] = {}
            for j, expression in enumerate(term.get("matchLabelExpressions") or ()):
                here = f"{path}[{i}].matchLabelExpressions[{j}]"
                self._expression(errors, expression, here, held)
            if held in seen:
                times = len(terms) if not held else seen.count(held)
                found = duplicate(f"{path}[{i}].matchLabelExpressions", "")
                errors += [found] * times
            seen.append(held)

    def _expression(
        self, errors: Errors, expression: Tree, path: str, held: dict[str, frozenset[str]]
    ) -> None:
        key, values = expression.get("key") or "", expression.get("values") or []
        if not values:
            errors.append(required(f"{path}.values"))
        errors += [
            duplicate(f"{path}.values[{n}]", value)
            for n, value in enumerate(values)
            if value in values[:n]
        ]
        errors += checked(f"{path}.key", key, text.qualified_name)
        if key in held:
            errors.append(duplicate(f"{path}.key", key))
        held[key] = frozenset(values)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        for field in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
            errors += immutable(new.get(field), old.get(field), field)
        return errors

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        return [
            f"allowedTopologies[{i}].matchLabelExpressions[{j}].key: {NODE_LABELS[key]}"
            for i, term in enumerate(new.get("allowedTopologies") or ())
            for j, expression in enumerate(term.get("matchLabelExpressions") or ())
            if (key := expression.get("key")) in NODE_LABELS
        ]


class VolumeAttributesClassKind(Standard):
    return_deleted_object: ClassVar[bool] = True
    has_status: ClassVar[bool] = False
    rechecks_metadata: ClassVar[bool] = True

    def check(self, tree: Tree) -> list[FieldError]:
        errors = _provisioner(tree.get("driverName") or "", "driverName")
        parameters = tree.get("parameters") or {}
        return errors + _parameters(parameters, "parameters", may_be_empty=False)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return [
            forbidden_field(field, f"updates to {field} are forbidden.")
            for field in ("driverName", "parameters")
            if not equal(new.get(field), old.get(field))
        ]
