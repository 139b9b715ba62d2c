"""Persistent volumes: capacity, one source, and where it can be reached from.

Paths and texts are upstream's, its slips included (``persistentDisk``, ``targetportal``). The
sources are those of pods, but that what they name may be in other namespaces.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import checked, immutable
from kutter.apiserver.validation.paths import no_backsteps
from kutter.apiserver.validation.pod_scheduling import validate_node_selector
from kutter.apiserver.validation.pod_volumes import host_path
from kutter.apiserver.validation.volume_sources import (
    CHECKS,
    csi_driver_name,
    is_iscsi_name,
    needs,
)
from kutter.apiserver.validation.volumes import (
    NOT_POSITIVE,
    VOLUME_MODES,
    validate_access_modes,
)

Errors = list[FieldError]
_RECLAIM = ["Delete", "Recycle", "Retain"]
_INLINE = "in the context of inline volumes"
_NOT_INLINE = f"may not be specified {_INLINE}"
_CLASS = "volumeAttributesClassName"


def validate_volume(tree: Tree) -> list[FieldError]:
    """A PersistentVolume."""
    errors: Errors = []
    spec = tree.get("spec") or {}
    if not spec.get("accessModes"):
        errors.append(required("spec.accessModes"))
    validate_access_modes(errors, spec.get("accessModes") or [], "spec.accessModes")
    _capacity(errors, spec.get("capacity") or {}, "spec.capacity")
    reclaim = spec.get("persistentVolumeReclaimPolicy")
    if reclaim and reclaim not in _RECLAIM:
        errors.append(not_supported("spec.persistentVolumeReclaimPolicy", reclaim, _RECLAIM))
    affinity = spec.get("nodeAffinity")
    if affinity is not None and affinity.get("required") is None:
        detail = "must specify required node constraints"
        errors.append(required("spec.nodeAffinity.required", detail))
    elif affinity is not None:
        validate_node_selector(errors, affinity["required"], "spec.nodeAffinity.required")
    _sources(errors, spec, "spec", (tree.get("metadata") or {}).get("name") or "")
    _recycled_root(errors, spec, "spec")
    if spec.get("storageClassName"):
        errors += checked("spec.storageClassName", spec["storageClassName"], text.dns_subdomain)
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        errors.append(not_supported("spec.volumeMode", mode, VOLUME_MODES))
    _attributes_class(errors, spec, "spec")
    return errors


def validate_inline_volume(errors: Errors, spec: Tree, path: str) -> None:
    """A volume without an object of its own, as an attachment holds one."""
    for field in ("claimRef", "capacity"):
        if spec.get(field) is not None:
            errors.append(forbidden_field(f"{path}.{field}", _NOT_INLINE))
    if spec.get("csi") is None:
        errors.append(required(f"{path}.csi", f"has to be specified {_INLINE}"))
    if not spec.get("accessModes"):
        errors.append(required(f"{path}.accessModes"))
    validate_access_modes(errors, spec.get("accessModes") or [], f"{path}.accessModes")
    if spec.get("persistentVolumeReclaimPolicy", "Retain") not in ("", "Retain"):
        detail = f"may only be Retain {_INLINE}"
        errors.append(forbidden_field(f"{path}.persistentVolumeReclaimPolicy", detail))
    if spec.get("nodeAffinity") is not None:
        errors.append(forbidden_field(f"{path}.nodeAffinity", _NOT_INLINE))
    _sources(errors, spec, path, "", has_affinity=False)
    _recycled_root(errors, spec, path)
    if spec.get("storageClassName"):
        errors.append(forbidden_field(f"{path}.storageClassName", _NOT_INLINE))
    if spec.get("volumeMode", "Filesystem") != "Filesystem":
        detail = f"may not specify volumeMode other than Filesystem {_INLINE}"
        errors.append(forbidden_field(f"{path}.volumeMode", detail))


def _capacity(errors: Errors, capacity: Tree, path: str) -> None:
    if not capacity:
        errors.append(required(path))
    if "storage" not in capacity or len(capacity) > 1:
        shown = dict(sorted(capacity.items())) or None
        errors.append(not_supported(path, shown, ["storage"]))
    for name, value in capacity.items():
        here, nanos = f"{path}[{name}]", quantities.amount(value)
        whole = -(-nanos // quantities.NANO)
        if whole < 0:
            errors.append(invalid(here, whole, "must be a valid resource quantity"))
        if nanos <= 0:
            errors.append(invalid(here, quantities.canonical(value), NOT_POSITIVE))


def _attributes_class(errors: Errors, spec: Tree, path: str) -> None:
    name = spec.get(_CLASS)
    if name is None:
        return
    if not name:
        errors.append(required(f"{path}.{_CLASS}", "an empty string is disallowed"))
    else:
        errors += checked(f"{path}.{_CLASS}", name, text.dns_subdomain)
    if spec.get("csi") is None:
        detail = f"has to be specified when using {_CLASS}"
        errors.append(required(f"{path}.csi", detail))


def _recycled_root(errors: Errors, spec: Tree, path: str) -> None:
    where = (spec.get("hostPath") or {}).get("path")
    recycles = spec.get("persistentVolumeReclaimPolicy") == "Recycle"
    if where and recycles and posixpath.normpath(where) in ("/", "//"):
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        errors.append(forbidden_field(f"{path}.persistentVolumeReclaimPolicy", detail))


def _sources(
    errors: Errors, spec: Tree, path: str, name: str, *, has_affinity: bool | None = None
) -> None:
    found = False
    for field, check in _SOURCES.items():
        source = spec.get(field)
        if source is None:
            continue
        # Upstream does not count this one among the others.
        if found and field != "flexVolume":
            shown = _SHOWN.get(field, field)
            detail = "may not specify more than 1 volume type"
            errors.append(forbidden_field(f"{path}.{shown}", detail))
            continue
        found = True
        here = f"{path}.{_PATHS.get(field, field)}"
        if field == "iscsi":
            _initiator(errors, source, here, name)
        check(errors, source, here)
        affine = spec.get("nodeAffinity") is not None if has_affinity is None else has_affinity
        if field == "local" and not affine:
            detail = "Local volume requires node affinity"
            errors.append(required(f"{path}.nodeAffinity", detail))
    if not found:
        errors.append(required(path, "must specify a volume type"))


def _initiator(errors: Errors, source: Tree, path: str, name: str) -> None:
    portal = source.get("targetPortal") or ""
    if source.get("initiatorName") is not None and len(f"{name}:{portal}".encode()) > 64:
        detail = (
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if "
            "iscsi.initiatorName is specified."
        )
        errors.append(invalid(f"{path}.targetportal", portal, detail))


def _iscsi(errors: Errors, source: Tree, path: str) -> None:
    for field in ("targetPortal", "iqn"):
        if not source.get(field):
            errors.append(required(f"{path}.{field}"))
        elif field == "iqn" and not is_iscsi_name(source[field]):
            errors.append(invalid(f"{path}.iqn", source[field], "must be valid format"))
    lun = source.get("lun") or 0
    if not 0 <= lun <= 255:
        errors.append(invalid(f"{path}.lun", lun, text.inclusive_range(0, 255)))
    asks = source.get("chapAuthDiscovery") or source.get("chapAuthSession")
    reference = source.get("secretRef")
    if asks and reference is None:
        errors.append(required(f"{path}.secretRef"))
    if reference is not None and not reference.get("name"):
        errors.append(required(f"{path}.secretRef.name"))
    initiator = source.get("initiatorName")
    if initiator is not None and not is_iscsi_name(initiator):
        errors.append(invalid(f"{path}.initiatorname", initiator, "must be valid format"))


def _local(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("path"):
        errors.append(required(f"{path}.path"))
    else:
        no_backsteps(errors, source["path"], f"{path}.path")


def _glusterfs(errors: Errors, source: Tree, path: str) -> None:
    CHECKS["glusterfs"](errors, source, path)
    namespace, here = source.get("endpointsNamespace"), f"{path}.endpointsNamespace"
    if namespace == "":
        detail = "if the endpointnamespace is set, it must be a valid namespace name"
        errors.append(invalid(here, namespace, detail))
    elif namespace is not None:
        errors += checked(here, namespace, text.dns_label)


def _secret(errors: Errors, source: Tree, path: str) -> None:
    reference = source.get("secretRef")
    if reference is not None:
        for field in ("name", "namespace"):
            if not reference.get(field):
                errors.append(required(f"{path}.secretRef.{field}"))


def _cinder(errors: Errors, source: Tree, path: str) -> None:
    needs("volumeID")(errors, source, path)
    _secret(errors, source, path)


def _storage_os(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("volumeName"):
        errors.append(required(f"{path}.volumeName"))
    for field in ("volumeName", "volumeNamespace"):
        if source.get(field):
            errors += checked(f"{path}.{field}", source[field], text.dns_label)
    _secret(errors, source, path)


def _azure_file(errors: Errors, source: Tree, path: str) -> None:
    CHECKS["azureFile"](errors, source, path)
    if source.get("secretNamespace") == "":
        errors.append(required(f"{path}.secretNamespace"))


def _csi(errors: Errors, source: Tree, path: str) -> None:
    csi_driver_name(errors, source.get("driver") or "", f"{path}.driver")
    if not source.get("volumeHandle"):
        errors.append(required(f"{path}.volumeHandle"))
    for field in (
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ):
        reference = source.get(field)
        if reference is None:
            continue
        for part, check in (("name", text.dns_subdomain), ("namespace", text.dns_label)):
            value, here = reference.get(part) or "", f"{path}.{field}.{part}"
            errors += checked(here, value, check) if value else [required(here)]


_SOURCES: dict[str, Callable[[Errors, Tree, str], None]] = {
    "hostPath": host_path,
    "gcePersistentDisk": CHECKS["gcePersistentDisk"],
    "awsElasticBlockStore": CHECKS["awsElasticBlockStore"],
    "glusterfs": _glusterfs,
    "flocker": CHECKS["flocker"],
    "nfs": CHECKS["nfs"],
    "rbd": CHECKS["rbd"],
    "quobyte": CHECKS["quobyte"],
    "cephfs": CHECKS["cephfs"],
    "iscsi": _iscsi,
    "cinder": _cinder,
    "fc": CHECKS["fc"],
    "flexVolume": CHECKS["flexVolume"],
    "azureFile": _azure_file,
    "vsphereVolume": CHECKS["vsphereVolume"],
    "photonPersistentDisk": CHECKS["photonPersistentDisk"],
    "portworxVolume": CHECKS["portworxVolume"],
    "azureDisk": CHECKS["azureDisk"],
    "scaleIO": CHECKS["scaleIO"],
    "local": _local,
    "storageos": _storage_os,
    "csi": _csi,
}
_PATHS = {"gcePersistentDisk": "persistentDisk"}
_SHOWN = {"cephfs": "cephFS"}


# Sources that may be mounted with options.
_MOUNTED = (
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "nfs",
    "rbd",
    "quobyte",
    "iscsi",
    "cinder",
    "cephfs",
    "azureFile",
    "vsphereVolume",
    "azureDisk",
    "photonPersistentDisk",
)


def mount_options(tree: Tree) -> list[FieldError]:
    """The annotation that was a field once, where nothing is mounted."""
    key = "volume.beta.kubernetes.io/mount-options"
    annotations = (tree.get("metadata") or {}).get("annotations") or {}
    spec = tree.get("spec") or {}
    if key not in annotations or any(spec.get(f) is not None for f in _MOUNTED):
        return []
    detail = "may not specify mount options for this volume type"
    return [forbidden_field(f"metadata.annotations.{key}", detail)]


def validate_volume_change(new: Tree, old: Tree) -> list[FieldError]:
    errors: Errors = []
    after, before = dict(new.get("spec") or {}), old.get("spec") or {}
    csi, was = after.get("csi"), before.get("csi")
    field = "controllerExpandSecretRef"
    if csi is not None and was is not None and was.get(field) is None:
        # It may be given later.
        after["csi"] = {k: v for k, v in csi.items() if k != field}
    changed = [f for f in _SOURCES if not equal(after.get(f), before.get(f))]
    if changed:
        detail = f"spec.persistentvolumesource is immutable after creation\n{', '.join(changed)}"
        errors.append(forbidden_field("spec.persistentvolumesource", detail))
    errors += immutable(after.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    affinity = before.get("nodeAffinity")
    if affinity is not None and not equal(after.get("nodeAffinity"), affinity):
        detail = "field is immutable, except for updating from beta label to GA"
        wanted, node = after.get("nodeAffinity"), type_node("core/v1", "VolumeNodeAffinity")
        shown = None if wanted is None else render(wanted, node, internal=True)
        errors.append(invalid("nodeAffinity", shown, detail))
    if before.get(_CLASS) is not None and after.get(_CLASS) is None:
        detail = "update from non-nil value to nil is forbidden"
        errors.append(forbidden_field(f"spec.{_CLASS}", detail))
    return errors


_DEPRECATED = {
    "cephfs": ("cephfs", "v1.28", "v1.31"),
    "photonPersistentDisk": ("photonPersistentDisk", "v1.11", "v1.16"),
    "scaleIO": ("scaleIO", "v1.16", "v1.22"),
    "storageos": ("storageOS", "v1.22", "v1.25"),
    "glusterfs": ("glusterfs", "v1.25", "v1.26"),
    "rbd": ("rbd", "v1.28", "v1.31"),
}
_ANNOTATIONS = {
    "volume.beta.kubernetes.io/storage-class": (
        'deprecated since v1.8; use "storageClassName" attribute instead'
    ),
    "volume.beta.kubernetes.io/mount-options": (
        'deprecated since v1.31; use "mountOptions" attribute instead'
    ),
}


def annotation_warnings(tree: Tree, keys: tuple[str, ...] = tuple(_ANNOTATIONS)) -> list[str]:
    """Annotations that were fields once, or will be."""
    annotations = (tree.get("metadata") or {}).get("annotations") or {}
    return [
        f"metadata.annotations[{key}]: {_ANNOTATIONS[key]}" for key in keys if key in annotations
    ]


def volume_warnings(tree: Tree) -> list[str]:
    """What a volume holds that is of the past; its node affinity apart."""
    spec = tree.get("spec") or {}
    texts = annotation_warnings(tree)
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        texts.append(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
            "Instead, the recommended approach is to use dynamic provisioning."
        )
    return texts + [
        f"spec.{shown}: deprecated in {since}, non-functional in {until}+"
        for field, (shown, since, until) in _DEPRECATED.items()
        if spec.get(field) is not None
    ]
