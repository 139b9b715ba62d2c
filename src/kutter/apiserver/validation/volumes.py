"""Persistent volumes and the claims on them."""

from __future__ import annotations

from typing import Any

from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import checked, validate_label_selector
from kutter.apiserver.validation.pod_resources import validate_amount
from kutter.apiserver.validation.pod_scheduling import validate_node_selector
from kutter.apiserver.validation.pod_volumes import host_path
from kutter.apiserver.validation.volume_sources import csi_driver_name

Tree = dict[str, Any]
Errors = list[FieldError]

ACCESS_MODES = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]
_MODES = ["Block", "Filesystem"]
_RECLAIM = ["Delete", "Recycle", "Retain"]
_NOT_POSITIVE = "must be greater than zero"
SOURCES = (
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flocker",
    "azureFile",
    "vsphereVolume",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "local",
    "storageos",
    "csi",
    "flexVolume",
)


def _access_modes(errors: Errors, modes: list[str], path: str) -> None:
    if not modes:
        errors.append(required(path, "at least 1 access mode is required"))
    for mode in modes:
        if mode not in ACCESS_MODES:
            errors.append(not_supported(path, mode, ACCESS_MODES))
    if "ReadWriteOncePod" in modes and any(
        m in ACCESS_MODES and m != "ReadWriteOncePod" for m in modes
    ):
        errors.append(forbidden_field(path, "may not use ReadWriteOncePod with other access modes"))


def validate_claim_spec(spec: Tree, path: str) -> list[FieldError]:
    errors: Errors = []
    _access_modes(errors, spec.get("accessModes") or [], f"{path}.accessModes")
    errors += validate_label_selector(spec.get("selector"), f"{path}.selector")
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    here = f"{path}.resources[storage]"
    if storage is None:
        errors.append(required(here))
    elif quantities.amount(storage) <= 0:
        errors.append(invalid(here, quantities.canonical(storage), _NOT_POSITIVE))
    for field in ("storageClassName", "volumeAttributesClassName"):
        if spec.get(field):
            errors += checked(f"{path}.{field}", spec[field], text.dns_subdomain)
    mode = spec.get("volumeMode")
    if mode is not None and mode not in _MODES:
        errors.append(not_supported(f"{path}.volumeMode", mode, _MODES))
    for field in ("dataSource", "dataSourceRef"):
        if spec.get(field) is not None:
            _data_source(errors, spec[field], f"{path}.{field}")
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is not None:
        if reference.get("namespace"):
            detail = "may not be specified when dataSourceRef.namespace is specified"
            errors.append(invalid(path, f"{path}.dataSource", detail))
        elif not equal(source, reference):
            errors.append(invalid(path, f"{path}.dataSource", "must match dataSourceRef"))
    return errors


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


def validate_claim_change(new: Tree, old: Tree) -> list[FieldError]:
    """A claim's specification stays, but for its binding, its class once, and growth."""
    errors: Errors = []
    after, before = new.get("spec") or {}, old.get("spec") or {}
    phase = (new.get("status") or {}).get("phase")
    munged = dict(after)
    if not before.get("volumeName"):
        _take(munged, before, "volumeName")
    if before.get("storageClassName") is None and after.get("storageClassName") is not None:
        _take(munged, before, "storageClassName")
    if phase == "Bound":
        resources = dict(munged.get("resources") or {})
        requests = dict(resources.get("requests") or {})
        held = ((before.get("resources") or {}).get("requests") or {}).get("storage")
        if held is not None:
            requests["storage"] = held
        munged["resources"] = {**resources, "requests": requests}
        if munged.get("volumeAttributesClassName") is not None:
            _take(munged, before, "volumeAttributesClassName")
    if not equal(munged, before):
        changed = sorted(
            f for f in munged.keys() | before.keys() if not equal(munged.get(f), before.get(f))
        )
        errors.append(
            forbidden_field(
                "spec",
                "spec is immutable after creation except resources.requests and "
                f"volumeAttributesClassName for bound claims\n{', '.join(changed)}",
            )
        )
    size = _storage(after.get("resources"))
    if size < _storage(before.get("resources")):
        capacity = ((old.get("status") or {}).get("capacity") or {}).get("storage")
        if size <= quantities.amount(capacity or 0):
            errors.append(
                forbidden_field(
                    "spec.resources.requests.storage",
                    "field can not be less than status.capacity",
                )
            )
    if not equal(after.get("volumeMode"), before.get("volumeMode")):
        errors.append(invalid("volumeMode", after.get("volumeMode"), "field is immutable"))
    cls = before.get("volumeAttributesClassName")
    if cls is not None and after.get("volumeAttributesClassName") is None:
        errors.append(
            forbidden_field(
                "spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden"
            )
        )
    return errors


def _storage(resources: Tree | None) -> int:
    return quantities.amount(((resources or {}).get("requests") or {}).get("storage") or 0)


def _take(target: Tree, source: Tree, field: str) -> None:
    if source.get(field) is None:
        target.pop(field, None)
    else:
        target[field] = source[field]


def validate_claim_status(new: Tree) -> list[FieldError]:
    errors: Errors = []
    status = new.get("status") or {}
    for field in ("capacity", "allocatedResources"):
        for name, value in (status.get(field) or {}).items():
            if quantities.amount(value) < 0:
                path = f"status.{field}[{name}]"
                errors.append(invalid(path, value, "must be a valid resource quantity"))
    return errors


def validate_volume(tree: Tree) -> list[FieldError]:
    """A PersistentVolume: capacity, one source, and where it can be reached from."""
    errors: Errors = []
    spec = tree.get("spec") or {}
    _access_modes(errors, spec.get("accessModes") or [], "spec.accessModes")
    capacity = spec.get("capacity") or {}
    if not capacity:
        errors.append(required("spec.capacity"))
    elif "storage" not in capacity or len(capacity) > 1:
        errors.append(not_supported("spec.capacity", capacity, ["storage"]))
    for name, value in capacity.items():
        here = f"spec.capacity[{name}]"
        if quantities.amount(value) <= 0:
            errors.append(invalid(here, quantities.canonical(value), _NOT_POSITIVE))
        else:
            validate_amount(errors, name, value, here)
    reclaim = spec.get("persistentVolumeReclaimPolicy")
    if reclaim and reclaim not in _RECLAIM:
        errors.append(not_supported("spec.persistentVolumeReclaimPolicy", reclaim, _RECLAIM))
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        if affinity.get("required") is None:
            detail = "must specify required node constraints"
            errors.append(required("spec.nodeAffinity.required", detail))
        else:
            validate_node_selector(errors, affinity["required"], "spec.nodeAffinity.required")
    _source(errors, spec, affinity is not None)
    if spec.get("storageClassName"):
        errors += checked("spec.storageClassName", spec["storageClassName"], text.dns_subdomain)
    mode = spec.get("volumeMode")
    if mode is not None and mode not in _MODES:
        errors.append(not_supported("spec.volumeMode", mode, _MODES))
    where = (spec.get("hostPath") or {}).get("path")
    if where == "/" and reclaim == "Recycle":
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        errors.append(forbidden_field("spec.persistentVolumeReclaimPolicy", detail))
    return errors


def _source(errors: Errors, spec: Tree, has_affinity: bool) -> None:
    found = [f for f in SOURCES if spec.get(f) is not None]
    for field in found[1:]:
        errors.append(forbidden_field(f"spec.{field}", "may not specify more than 1 volume type"))
    if not found:
        errors.append(required("spec", "must specify a volume type"))
        return
    source = spec[found[0]]
    match found[0]:
        case "hostPath":
            host_path(errors, source, "spec.hostPath")
        case "local":
            if not source.get("path"):
                errors.append(required("spec.local.path"))
            elif ".." in source["path"].split("/"):
                errors.append(invalid("spec.local.path", source["path"], "must not contain '..'"))
            if not has_affinity:
                errors.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
        case "nfs":
            for field in ("server", "path"):
                if not source.get(field):
                    errors.append(required(f"spec.nfs.{field}"))
        case "csi":
            csi_driver_name(errors, source.get("driver") or "", "spec.csi.driver")
            if not source.get("volumeHandle"):
                errors.append(required("spec.csi.volumeHandle"))


def validate_volume_change(new: Tree, old: Tree) -> list[FieldError]:
    errors: Errors = []
    after, before = new.get("spec") or {}, old.get("spec") or {}
    changed = [f for f in SOURCES if not equal(after.get(f), before.get(f))]
    if changed:
        errors.append(
            forbidden_field(
                "spec.persistentvolumesource",
                f"spec.persistentvolumesource is immutable after creation\n{', '.join(changed)}",
            )
        )
    if not equal(after.get("volumeMode"), before.get("volumeMode")):
        errors.append(invalid("volumeMode", after.get("volumeMode"), "field is immutable"))
    affinity = before.get("nodeAffinity")
    if affinity is not None and not equal(after.get("nodeAffinity"), affinity):
        errors.append(
            invalid(
                "nodeAffinity",
                after.get("nodeAffinity"),
                "field is immutable, except for updating from beta label to GA",
            )
        )
    return errors
