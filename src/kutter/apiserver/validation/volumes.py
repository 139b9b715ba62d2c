"""Claims on volumes."""

from __future__ import annotations

from typing import Any

from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import (
    IMMUTABLE,
    checked,
    immutable,
    validate_label_selector,
)
from kutter.apiserver.validation.pod_resources import validate_amount

Tree = dict[str, Any]
Errors = list[FieldError]

# How upstream shows a path as a value: the type has no fields to show.
_NO_FIELDS: Tree = {}
ACCESS_MODES = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]
VOLUME_MODES = ["Block", "Filesystem"]
NOT_POSITIVE = "must be greater than zero"


def validate_access_modes(errors: Errors, modes: list[str], path: str) -> None:
    for mode in modes:
        if mode not in ACCESS_MODES:
            errors.append(not_supported(path, mode, ACCESS_MODES))
    if "ReadWriteOncePod" in modes and any(
        m in ACCESS_MODES and m != "ReadWriteOncePod" for m in modes
    ):
        errors.append(forbidden_field(path, "may not use ReadWriteOncePod with other access modes"))


def validate_claim_spec(spec: Tree, path: str) -> list[FieldError]:
    errors: Errors = []
    modes = spec.get("accessModes") or []
    if not modes:
        errors.append(required(f"{path}.accessModes", "at least 1 access mode is required"))
    errors += validate_label_selector(spec.get("selector"), f"{path}.selector")
    validate_access_modes(errors, modes, f"{path}.accessModes")
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    here = f"{path}.resources[storage]"
    if storage is None:
        errors.append(required(here))
    elif quantities.amount(storage) <= 0:
        errors.append(invalid(here, quantities.canonical(storage), NOT_POSITIVE))
    _class_name(errors, spec, "storageClassName", path)
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        errors.append(not_supported(f"{path}.volumeMode", mode, VOLUME_MODES))
    for field in ("dataSource", "dataSourceRef"):
        if spec.get(field) is not None:
            _data_source(errors, spec[field], f"{path}.{field}")
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is not None:
        if reference.get("namespace"):
            detail = "may not be specified when dataSourceRef.namespace is specified"
            errors.append(invalid(path, _NO_FIELDS, detail))
        elif not equal(source, reference):
            errors.append(invalid(path, _NO_FIELDS, "must match dataSourceRef"))
    _class_name(errors, spec, "volumeAttributesClassName", path)
    return errors


def _class_name(errors: Errors, spec: Tree, field: str, path: str) -> None:
    if spec.get(field):
        errors += checked(f"{path}.{field}", spec[field], text.dns_subdomain)


def _data_source(errors: Errors, source: Tree, path: str) -> None:
    for field in ("name", "kind"):
        if not source.get(field):
            errors.append(required(f"{path}.{field}"))
    group, kind = source.get("apiGroup") or "", source.get("kind") or ""
    if not group and kind != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        errors.append(invalid(path, kind, detail))
    if group:
        errors += checked(f"{path}.apiGroup", group, text.dns_subdomain)
    if source.get("namespace"):
        errors += checked(f"{path}.namespace", source["namespace"], text.dns_label)


_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def validate_claim_change(new: Tree, old: Tree) -> list[FieldError]:
    """A claim's specification stays, but for its binding, its class once, and growth."""
    errors: Errors = []
    after, before = new.get("spec") or {}, old.get("spec") or {}
    kept = dict(after)
    if not before.get("volumeName"):
        _take(kept, before, "volumeName")
    _storage_class(errors, new, old, kept)
    if (new.get("status") or {}).get("phase") == "Bound":
        resources = dict(kept.get("resources") or {})
        if resources.get("requests") is not None:
            held = ((before.get("resources") or {}).get("requests") or {}).get("storage")
            resources["requests"] = {**resources["requests"], "storage": held}
        kept["resources"] = resources
        _take(kept, before, "volumeAttributesClassName")
    if not equal(kept, before):
        changed = sorted(
            f for f in kept.keys() | before.keys() if not equal(kept.get(f), before.get(f))
        )
        detail = (
            "spec is immutable after creation except resources.requests and "
            f"volumeAttributesClassName for bound claims\n{', '.join(changed)}"
        )
        errors.append(forbidden_field("spec", detail))
    size = _storage(after.get("resources"))
    capacity = ((old.get("status") or {}).get("capacity") or {}).get("storage")
    shrinks = size < _storage(before.get("resources"))
    if shrinks and size <= quantities.amount(capacity or 0):
        detail = "field can not be less than status.capacity"
        errors.append(forbidden_field("spec.resources.requests.storage", detail))
    errors += immutable(after.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    wanted = after.get("volumeAttributesClassName")
    applied = (old.get("status") or {}).get("currentVolumeAttributesClassName")
    if wanted != before.get("volumeAttributesClassName") and applied is not None and not wanted:
        what = "nil" if wanted is None else "empty string"
        detail = (
            f"update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil"
        )
        errors.append(forbidden_field("spec.volumeAttributesClassName", detail))
    return errors


def _storage_class(errors: Errors, new: Tree, old: Tree, kept: Tree) -> None:
    """The class may be given once; what an annotation of old said of it stays."""
    after = (new.get("metadata") or {}).get("annotations") or {}
    before = (old.get("metadata") or {}).get("annotations") or {}
    name, had = kept.get("storageClassName"), (old.get("spec") or {}).get("storageClassName")
    annotated = before.get(_CLASS_ANNOTATION)
    fits = annotated is None or name == annotated
    if had is None and name is not None and fits:
        kept.pop("storageClassName", None)
        if annotated is not None and after.get(_CLASS_ANNOTATION) in (None, annotated):
            return
    if after.get(_CLASS_ANNOTATION) != annotated:
        path = f"metadata.annotations.{_CLASS_ANNOTATION}"
        errors.append(invalid(path, after.get(_CLASS_ANNOTATION) or "", IMMUTABLE))


def _storage(resources: Tree | None) -> int:
    return quantities.amount(((resources or {}).get("requests") or {}).get("storage") or 0)


def _take(target: Tree, source: Tree, field: str) -> None:
    if source.get(field) is None:
        target.pop(field, None)
    else:
        target[field] = source[field]


_RESIZES = [
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
]


def validate_claim_status(new: Tree) -> list[FieldError]:
    errors: Errors = []
    status = new.get("status") or {}
    for name, value in (status.get("capacity") or {}).items():
        errors += _not_negative(value, f"status.capacity[{name}]")
    path = "status.allocatedResourceStatuses"
    for name, state in (status.get("allocatedResourceStatuses") or {}).items():
        errors += _resource_name(name, path)
        if state not in _RESIZES:
            errors.append(not_supported(path, name, sorted(_RESIZES)))
    path = "status.allocatedResources"
    for name, value in (status.get("allocatedResources") or {}).items():
        wrong = _resource_name(name, path) or _not_negative(value, f"{path}[{name}]")
        errors += wrong
        if not wrong:
            validate_amount(errors, "storage", value, f"{path}[{name}]")
    return errors


def _not_negative(value: str, path: str) -> Errors:
    whole = -(-quantities.amount(value) // quantities.NANO)
    return [invalid(path, whole, "must be a valid resource quantity")] if whole < 0 else []


def _resource_name(name: str, path: str) -> Errors:
    errors = checked(path, name, text.qualified_name)
    native = "/" not in name or "kubernetes.io/" in name
    if not errors and native and name != "storage":
        errors.append(not_supported(path, name, ["storage"]))
    return errors
