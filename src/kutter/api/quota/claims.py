"""What claims on storage and devices cost, and which scopes they are in. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kutter.api.quantity import Quantity, parse
from kutter.api.quota.amounts import ONE, Amounts, count_of, highest
from kutter.api.quota.pods import selects
from kutter.api.types.core_v1 import PersistentVolumeClaim, ScopedResourceSelectorRequirement
from kutter.api.types.resource_v1 import DeviceRequest, ResourceClaim

_CLAIMS = "persistentvolumeclaims"
_STORAGE = "requests.storage"
_COUNT = "count/persistentvolumeclaims"
# <storage class>.storageclass.storage.k8s.io/<what is counted>
_BY_CLASS = ".storageclass.storage.k8s.io/"
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"

_DEVICE_COUNT = "count/resourceclaims.resource.k8s.io"
_DEVICES = ".deviceclass.resource.k8s.io/devices"
# How many devices one request is charged for that takes all there are.
_ALL_DEVICES = 32


def claim_names(names: Iterable[str]) -> list[str]:
    """Which quota names storage claims count against."""
    ends = (f"{_BY_CLASS}{_CLAIMS}", f"{_BY_CLASS}{_STORAGE}")
    return [n for n in names if n in (_COUNT, _CLAIMS, _STORAGE) or n.endswith(ends)]


def claim_usage(claim: PersistentVolumeClaim, now: datetime) -> Amounts:
    found: Amounts = {_CLAIMS: ONE, _COUNT: ONE}
    storage = _storage(claim)
    if storage is not None:
        found[_STORAGE] = storage
    chosen = claim.metadata.annotations.get(_CLASS_ANNOTATION) or claim.spec.storage_class_name
    if chosen:
        found[f"{chosen}{_BY_CLASS}{_CLAIMS}"] = ONE
        if storage is not None:
            found[f"{chosen}{_BY_CLASS}{_STORAGE}"] = storage
    return found


def _storage(claim: PersistentVolumeClaim) -> Quantity | None:
    """Whole bytes: what is asked for or, while it grows or shrinks, what is set aside."""
    text = claim.spec.resources.requests.get("storage")
    if text is None:
        return None
    asked = parse(text)
    allocated = claim.status.allocated_resources.get("storage")
    if allocated is not None and parse(allocated) > asked:
        asked = parse(allocated)
    return Quantity(asked.value * 10**9, asked.format)


def claim_in_scope(claim: PersistentVolumeClaim, wanted: ScopedResourceSelectorRequirement) -> bool:
    return wanted.scope_name == "VolumeAttributesClass" and selects(wanted, attributes_of(claim))


def attributes_of(claim: PersistentVolumeClaim) -> set[str]:
    """Every VolumeAttributesClass it refers to: asked for, in use, on its way."""
    status = claim.status
    target = status.modify_volume_status
    names = (
        claim.spec.volume_attributes_class_name,
        status.current_volume_attributes_class_name,
        target.target_volume_attributes_class_name if target is not None else None,
    )
    return {name for name in names if name}


def device_names(names: Iterable[str]) -> list[str]:
    """Which quota names device claims count against."""
    return [n for n in names if n == _DEVICE_COUNT or n.endswith(_DEVICES)]


def device_usage(claim: ResourceClaim, now: datetime) -> Amounts:
    found: Amounts = {_DEVICE_COUNT: ONE}
    for request in claim.spec.devices.requests:
        for name, amount in _devices_of(request).items():
            found[name] = found[name] + amount if name in found else amount
    return found


def _devices_of(request: DeviceRequest) -> Amounts:
    """The devices of a request; of alternatives the dearest for each class."""
    choices = (
        [(e.device_class_name, e.allocation_mode, e.count)]
        if (e := request.exactly) is not None
        else [(s.device_class_name, s.allocation_mode, s.count) for s in request.first_available]
    )
    return highest(
        *(
            # Absent, the count is one (upstream fills that in).
            {f"{name}{_DEVICES}": count_of(_ALL_DEVICES if mode == "All" else count or 1)}
            for name, mode, count in choices
        )
    )
