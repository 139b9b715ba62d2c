"""Which volume a claim gets: the rules of static binding. Pure.

Upstream: kubernetes.io/docs/concepts/storage/persistent-volumes/#binding
"""

from __future__ import annotations

from collections.abc import Iterable

from kutter.api.quantity import whole
from kutter.api.selectors import from_view
from kutter.api.types.core_v1 import PersistentVolume, PersistentVolumeClaim

CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def storage_class(item: PersistentVolume | PersistentVolumeClaim) -> str:
    """The class's name, "" for none; the old annotation counts first."""
    return item.metadata.annotations.get(CLASS_ANNOTATION) or item.spec.storage_class_name or ""


def is_reserved_for(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether the volume names this claim; without a uid any claim of the name is meant."""
    ref = volume.spec.claim_ref
    meta = claim.metadata
    return (
        ref is not None
        and (ref.namespace, ref.name) == (meta.namespace, meta.name)
        and ref.uid in ("", meta.uid)
    )


def why_not(volume: PersistentVolume, claim: PersistentVolumeClaim) -> str:
    """Why this volume cannot be this claim's; empty when it can."""
    if _mode(volume.spec.volume_mode) != _mode(claim.spec.volume_mode):
        return "incompatible volumeMode"
    if _size(volume.spec.capacity) < _size(claim.spec.resources.requests):
        return "requested PV is too small"
    if storage_class(volume) != storage_class(claim):
        return "storageClassName does not match"
    if not set(claim.spec.access_modes) <= set(volume.spec.access_modes):
        return "incompatible accessMode"
    return ""


def choose_volume(
    claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume]
) -> PersistentVolume | None:
    """The volume reserved for the claim, else the smallest free one that fits."""
    selector = from_view(claim.spec.selector) if claim.spec.selector is not None else None
    best: tuple[int, str] | None = None
    chosen = None
    for volume in volumes:
        if why_not(volume, claim):
            continue
        if is_reserved_for(volume, claim):
            return volume
        if volume.spec.claim_ref is not None or volume.metadata.deletion_timestamp:
            continue
        if volume.status.phase not in ("", "Pending", "Available"):
            continue
        if selector is not None and not selector.matches(volume.metadata.labels):
            continue
        rank = (_size(volume.spec.capacity), volume.metadata.name)
        if best is None or rank < best:
            best, chosen = rank, volume
    return chosen


def _mode(mode: str | None) -> str:
    return mode or "Filesystem"


def _size(amounts: dict[str, str]) -> int:
    return whole(amounts.get("storage") or "0")
