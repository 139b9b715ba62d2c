"""What became of a claim: who uses it, the devices it got, and what drivers say of them.

Which devices a claim has is said once: later writes may only take all of them away.
"""

from __future__ import annotations

from functools import partial

from kutter.api.errors import (
    FieldError,
    forbidden_field,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from kutter.api.quoting import Quoted, quote
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.conditions import validate_conditions
from kutter.apiserver.validation.device_claims import (
    REQUESTS_LIMIT,
    RequestNames,
    check_claim_configuration,
)
from kutter.apiserver.validation.devices import (
    CONFIG_LIMIT,
    Errors,
    check_binding_conditions,
    check_label,
    check_list,
    check_pool_name,
    check_raw_object,
    fixed,
    itself,
)
from kutter.apiserver.validation.metadata import checked
from kutter.apiserver.validation.pod_scheduling import validate_node_selector
from kutter.apiserver.validation.volume_sources import csi_driver_name

_CONSUMERS_LIMIT = 256
_CONDITIONS_LIMIT, _ADDRESSES_LIMIT = 8, 16
_NETWORK_LIMITS_BYTES = {"interfaceName": 256, "hardwareAddress": 128}
_SOURCES = ["FromClaim", "FromClass"]

DeviceId = tuple[str, str, str, str]
"""Driver, pool and device; and which share of it, if it is shared."""


def device_id(tree: Tree) -> DeviceId:
    driver, pool = tree.get("driver") or "", tree.get("pool") or ""
    return driver, pool, tree.get("device") or "", tree.get("shareID") or ""


def allocated_devices(status: Tree) -> set[DeviceId]:
    return {device_id(result) for result in allocation_results(status)}


def allocation_results(status: Tree) -> list[Tree]:
    return ((status.get("allocation") or {}).get("devices") or {}).get("results") or []


def check_claim_status(new: Tree, old: Tree) -> list[FieldError]:
    """``new`` and ``old`` are whole claims."""
    errors: Errors = []
    status, before = new.get("status") or {}, old.get("status") or {}
    consumers, path = status.get("reservedFor") or [], "status.reservedFor"
    check_list(errors, consumers, _CONSUMERS_LIMIT, _consumer, path, key=_uid)
    check = partial(_device, allocated_devices(status))
    devices = status.get("devices") or []
    check_list(errors, devices, None, check, "status.devices", key=device_id, shown=_shown)
    allocation, allocated = status.get("allocation"), before.get("allocation")
    if consumers and allocation is None:
        errors.append(forbidden_field(path, "may not be specified when `allocated` is not set"))
    elif (new.get("metadata") or {}).get("deletionTimestamp"):
        known = before.get("reservedFor") or []
        if any(consumer not in known for consumer in consumers):
            detail = (
                "new entries may not be added while `deallocationRequested` or "
                "`deletionTimestamp` are set"
            )
            errors.append(forbidden_field(path, detail))
    if allocation is not None and allocated is not None:
        errors += fixed(allocation, allocated, "AllocationResult", "status.allocation")
    elif allocation is not None:
        names = RequestNames((new.get("spec") or {}).get("devices") or {})
        _allocation(errors, allocation, names, "status.allocation")
    return errors


def _uid(consumer: Tree) -> str:
    return consumer.get("uid") or ""


def _consumer(errors: Errors, consumer: Tree, path: str) -> None:
    errors += [
        required(f"{path}.{field}")
        for field in ("resource", "name", "uid")
        if not consumer.get(field)
    ]


# -- what was allocated ---------------------------------------------------------------------------


def _allocation(errors: Errors, allocation: Tree, names: RequestNames, path: str) -> None:
    devices, here = allocation.get("devices") or {}, f"{path}.devices"
    check = partial(_result, names)
    results = devices.get("results") or []
    check_list(errors, results, REQUESTS_LIMIT, check, f"{here}.results")
    check = partial(_configuration, names)
    # That of the class and that of the claim.
    check_list(errors, devices.get("config") or [], 2 * CONFIG_LIMIT, check, f"{here}.config")
    selector = allocation.get("nodeSelector")
    if selector is not None:
        validate_node_selector(errors, selector, f"{path}.nodeSelector")


def _result(names: RequestNames, errors: Errors, result: Tree, path: str) -> None:
    names.check(errors, result.get("request") or "", f"{path}.request")
    _place(errors, result, path)
    check_binding_conditions(errors, result, path)
    _share(errors, result, path)


def _place(errors: Errors, tree: Tree, path: str) -> None:
    """Which device it is."""
    csi_driver_name(errors, tree.get("driver") or "", f"{path}.driver")
    check_pool_name(errors, tree.get("pool") or "", f"{path}.pool")
    check_label(errors, tree.get("device") or "", f"{path}.device")


def _share(errors: Errors, tree: Tree, path: str) -> None:
    share = tree.get("shareID")
    if share is not None:
        errors += checked(f"{path}.shareID", share, text.normal_uuid)


def _configuration(names: RequestNames, errors: Errors, config: Tree, path: str) -> None:
    source = config.get("source") or ""
    if not source:
        errors.append(required(f"{path}.source"))
    elif source not in _SOURCES:
        errors.append(not_supported(f"{path}.source", source, _SOURCES))
    check_claim_configuration(names, errors, config, path)


# -- what drivers say of devices ------------------------------------------------------------------


def _device(allocated: set[DeviceId], errors: Errors, device: Tree, path: str) -> None:
    _place(errors, device, path)
    _share(errors, device, path)
    if device_id(device) not in allocated:
        detail = "must be an allocated device in the claim"
        errors.append(invalid(path, _shown(device_id(device)), detail))
    conditions, here = device.get("conditions") or [], f"{path}.conditions"
    if len(conditions) > _CONDITIONS_LIMIT:
        errors.append(too_many(here, len(conditions), _CONDITIONS_LIMIT))
    errors += validate_conditions(conditions, here)
    if device.get("data") is not None:
        check_raw_object(errors, device["data"], f"{path}.data")
    _network(errors, device.get("networkData") or {}, f"{path}.networkData")


def _shown(device: DeviceId) -> Quoted:
    fields = zip(("Driver", "Pool", "Device", "ShareID"), device, strict=True)
    return Quoted(quote(dict(fields)))


def _network(errors: Errors, data: Tree, path: str) -> None:
    for field, limit in _NETWORK_LIMITS_BYTES.items():
        if len((data.get(field) or "").encode()) > limit:
            errors.append(too_long(f"{path}.{field}", limit))
    addresses = data.get("ips") or []
    check_list(errors, addresses, _ADDRESSES_LIMIT, _address, f"{path}.ips", key=itself)


def _address(errors: Errors, address: str, path: str) -> None:
    errors += checked(path, address, text.interface_address)
