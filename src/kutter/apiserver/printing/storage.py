"""Rows of volumes, claims and what provides them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kutter.apiserver.printing.columns import (
    NONE,
    UNSET,
    Tree,
    age_of,
    name_of,
)

_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_MODES = (
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
)


def access_modes_text(modes: list[str] | None) -> str:
    return ",".join(short for mode, short in _MODES if mode in (modes or ()))


def _class(tree: Tree, spec: Tree) -> str:
    annotations = (tree.get("metadata") or {}).get("annotations") or {}
    beta = annotations.get("volume.beta.kubernetes.io/storage-class")
    return beta if beta is not None else spec.get("storageClassName") or ""


def persistent_volume_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    claim = spec.get("claimRef")
    deleted = (tree.get("metadata") or {}).get("deletionTimestamp")
    return [
        name_of(tree),
        (spec.get("capacity") or {}).get("storage") or "0",
        access_modes_text(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy") or "",
        "Terminating" if deleted else status.get("phase") or "",
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class(tree, spec),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason") or "",
        age_of(tree, now),
        spec.get("volumeMode") or UNSET,
    ]


def persistent_volume_claim_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    deleted = (tree.get("metadata") or {}).get("deletionTimestamp")
    bound = bool(spec.get("volumeName"))
    return [
        name_of(tree),
        "Terminating" if deleted else status.get("phase") or "",
        spec.get("volumeName") or "",
        ((status.get("capacity") or {}).get("storage") or "0") if bound else "",
        access_modes_text(status.get("accessModes")) if bound else "",
        _class(tree, spec),
        spec.get("volumeAttributesClassName") or UNSET,
        age_of(tree, now),
        spec.get("volumeMode") or UNSET,
    ]


def storage_class_cells(tree: Tree, now: datetime) -> list[Any]:
    annotations = (tree.get("metadata") or {}).get("annotations") or {}
    name = name_of(tree)
    if any(annotations.get(key) == "true" for key in _DEFAULT_CLASS):
        name += " (default)"
    return [
        name,
        tree.get("provisioner") or "",
        tree.get("reclaimPolicy") or "Delete",
        tree.get("volumeBindingMode") or "Immediate",
        bool(tree.get("allowVolumeExpansion")),
        age_of(tree, now),
    ]


def volume_attachment_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    return [
        name_of(tree),
        spec.get("attacher") or "",
        (spec.get("source") or {}).get("persistentVolumeName") or "",
        spec.get("nodeName") or "",
        bool((tree.get("status") or {}).get("attached")),
        age_of(tree, now),
    ]


def csi_driver_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    tokens = ",".join(t.get("audience") or "" for t in spec.get("tokenRequests") or ())
    attach = spec.get("attachRequired")
    return [
        name_of(tree),
        True if attach is None else attach,
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        tokens if spec.get("tokenRequests") else UNSET,
        bool(spec.get("requiresRepublish")),
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
        age_of(tree, now),
    ]


def csi_node_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), len((tree.get("spec") or {}).get("drivers") or ()), age_of(tree, now)]


def volume_attributes_class_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), tree.get("driverName") or "", age_of(tree, now)]
