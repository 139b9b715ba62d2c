"""What a slice of a pool says: for which nodes it is, and its devices.

Limits are lower where devices say more than their attributes: an object has to fit the store.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from kutter.api.errors import FieldError, invalid, not_supported, required, too_long, too_many
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.device_capacities import check_capacity
from kutter.apiserver.validation.devices import (
    DOMAIN_LIMIT,
    EFFECTS,
    GROUP,
    ID_LIMIT,
    Errors,
    check_binding_conditions,
    check_label,
    check_list,
    check_pool_name,
    check_qualified_name,
)
from kutter.apiserver.validation.internal import shown
from kutter.apiserver.validation.metadata import checked, immutable
from kutter.apiserver.validation.pod_scheduling import validate_node_selector
from kutter.apiserver.validation.volume_sources import csi_driver_name

_DEVICES_LIMIT, _ADVANCED_DEVICES_LIMIT = 128, 64
_COUNTER_SETS_LIMIT, _COUNTERS_LIMIT, _CONSUMED_LIMIT = 8, 32, 2
_ATTRIBUTES_LIMIT, _VALUES_LIMIT, _VALUE_LIMIT_BYTES = 32, 48, 64
_TAINTS_LIMIT = 16
_NAME_LIMIT = DOMAIN_LIMIT + 1 + ID_LIMIT
_LISTS = ("bools", "ints", "strings", "versions")
_SCALARS = ("bool", "int", "string", "version")
_ONE_VALUE = "exactly one value must be specified"
_UNSET_OR_TRUE = "must be either unset or set to true"

_NUMBER = r"(0|[1-9]\d*)"
_PRERELEASE = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_BUILD = r"[0-9a-zA-Z-]+"
_semantic_version = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
    rf"(-{_PRERELEASE}(\.{_PRERELEASE})*)?"
    rf"(\+{_BUILD}(\.{_BUILD})*)?",
    re.ASCII,
).fullmatch


def check_slice(spec: Tree, old: Tree | None) -> list[FieldError]:
    """``old``: the specification it was before, if it was there."""
    errors: Errors = []
    csi_driver_name(errors, spec.get("driver") or "", "spec.driver")
    _pool(errors, spec.get("pool") or {}, "spec.pool")
    if old is not None:
        errors += _fixed(spec, old)
    _nodes(errors, spec)
    counters, devices = spec.get("sharedCounters"), spec.get("devices")
    if counters and devices:
        detail = "only one of `sharedCounters` or `devices` is allowed"
        errors.append(invalid("spec", "", detail))
    before = {device.get("name") or "": device for device in (old or {}).get("devices") or ()}
    check = partial(_device, before, bool(spec.get("perDeviceNodeSelection")))
    limit = _ADVANCED_DEVICES_LIMIT if any(map(_advanced, devices or ())) else _DEVICES_LIMIT
    check_list(errors, devices or [], limit, check, "spec.devices", key=_name)
    path = "spec.sharedCounters"
    check_list(errors, counters or [], _COUNTER_SETS_LIMIT, _counter_set, path, key=_name)
    return errors


def _name(tree: Tree) -> str:
    return tree.get("name") or ""


def _advanced(device: Tree) -> bool:
    if device.get("taints") or device.get("consumesCounters"):
        return True
    attributes = (device.get("attributes") or {}).values()
    return any(attribute.get(field) for attribute in attributes for field in _LISTS)


def _fixed(spec: Tree, old: Tree) -> Errors:
    pool, before = spec.get("pool") or {}, old.get("pool") or {}
    errors = immutable(pool.get("name") or "", before.get("name") or "", "spec.pool.name")
    driver, drove = spec.get("driver") or "", old.get("driver") or ""
    errors += immutable(driver, drove, "spec.driver")
    return errors + immutable(spec.get("nodeName"), old.get("nodeName"), "spec.nodeName")


def _pool(errors: Errors, pool: Tree, path: str) -> None:
    check_pool_name(errors, _name(pool), f"{path}.name")
    count, generation = pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    if count <= 0:
        errors.append(invalid(f"{path}.resourceSliceCount", count, "must be greater than zero"))
    if generation < 0:
        detail = "must be greater than or equal to zero"
        errors.append(invalid(f"{path}.generation", generation, detail))


# -- for which nodes ------------------------------------------------------------------------------


def _node_choices(errors: Errors, tree: Tree, path: str, *, empty: str, single: bool) -> list[str]:
    """The ways in which ``tree`` says which nodes it is for; there should be one."""
    chosen: list[str] = []
    name, selector = tree.get("nodeName"), tree.get("nodeSelector")
    if name:
        chosen.append("`nodeName`")
        errors += checked(f"{path}.nodeName", name, text.dns_subdomain)
    elif name is not None:
        errors.append(invalid(f"{path}.nodeName", name, empty))
    if selector is not None:
        chosen.append("`nodeSelector`")
        here = f"{path}.nodeSelector"
        validate_node_selector(errors, selector, here)
        if single and len(selector.get("nodeSelectorTerms") or ()) != 1:
            found = shown("NodeSelector", selector, "nodeSelectorTerms")
            detail = "must have exactly one node selector term"
            errors.append(invalid(f"{here}.nodeSelectorTerms", found, detail))
    for field in ("allNodes", "perDeviceNodeSelection"):
        value = tree.get(field)
        if value:
            chosen.append(f"`{field}`")
        elif value is not None:
            errors.append(invalid(f"{path}.{field}", value, _UNSET_OR_TRUE))
    return chosen


def _nodes(errors: Errors, spec: Tree) -> None:
    empty = "must be either unset or set to a non-empty string"
    chosen = _node_choices(errors, spec, "spec", empty=empty, single=True)
    detail = (
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is "
        "required"
    )
    if not chosen:
        errors.append(required("spec", detail))
    elif len(chosen) > 1:
        listed = f"{{{', '.join(chosen)}}}"
        errors.append(invalid("spec", listed, f"{detail}, but multiple fields are set"))


def _device_nodes(errors: Errors, device: Tree, path: str, *, each: bool) -> None:
    where = "if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
    if not each:
        fields = ("nodeName", "nodeSelector", "allNodes")
        if any(device.get(field) is not None for field in fields):
            detail = f"`nodeName`, `nodeSelector` and `allNodes` can only be set {where}"
            errors.append(invalid(path, None, detail))
        return
    chosen = _node_choices(errors, device, path, empty="must not be empty", single=False)
    where = where.replace("if", "when", 1)
    detail = f"exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required {where}"
    if not chosen:
        errors.append(required(path, detail))
    elif len(chosen) > 1:
        errors.append(invalid(path, f"{{{', '.join(chosen)}}}", detail))


# -- devices --------------------------------------------------------------------------------------


def _device(before: dict[str, Tree], each: bool, errors: Errors, device: Tree, path: str) -> None:
    check_label(errors, _name(device), f"{path}.name")
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    count = len(attributes) + len(capacity)
    if count > _ATTRIBUTES_LIMIT:
        total = "the total number of attributes and capacities"
        detail = f"{total} must not exceed {_ATTRIBUTES_LIMIT}"
        errors.append(invalid(path, count, detail))
    count = sum(map(_value_count, attributes.values()))
    if count > _VALUES_LIMIT:
        detail = f"the total number of attribute values must not exceed {_VALUES_LIMIT}"
        errors.append(invalid(path, count, detail))
    for name, attribute in attributes.items():
        check_qualified_name(errors, name, f"{path}.attributes")
        _attribute(errors, attribute, f"{path}.attributes[{_short(name, _NAME_LIMIT)}]")
    shared = bool(device.get("allowMultipleAllocations"))
    for name, amount in capacity.items():
        check_qualified_name(errors, name, f"{path}.capacity")
        here = f"{path}.capacity[{_short(name, _NAME_LIMIT)}]"
        check_capacity(errors, amount, here, shared=shared)
    taints = device.get("taints") or []
    known = before.get(_name(device))
    if known is None or (known.get("taints") or []) != taints:
        check_list(errors, taints, _TAINTS_LIMIT, _taint, f"{path}.taints")
    consumed = device.get("consumesCounters") or []
    here = f"{path}.consumesCounters"
    check_list(errors, consumed, _CONSUMED_LIMIT, _consumption, here, key=_counter_set_name)
    _device_nodes(errors, device, path, each=each)
    check_binding_conditions(errors, device, path)


def _short(name: str, limit: int) -> str:
    """A key as a path shows it: without its middle if it is too long."""
    if len(name) <= limit:
        return name
    rest = limit - len("...")
    return f"{name[: (rest + 1) // 2]}...{name[len(name) - rest // 2 :]}"


def _value_count(attribute: Tree) -> int:
    return sum(len(attribute.get(field) or ()) for field in _LISTS) or 1


def _attribute(errors: Errors, attribute: Tree, path: str) -> None:
    for field, check in (("string", _string), ("version", _version)):
        value = attribute.get(field)
        if value is not None:
            check(errors, value, f"{path}.{field}")
    for field, check in (("strings", _string), ("versions", _version)):
        for i, value in enumerate(attribute.get(field) or ()):
            check(errors, value, f"{path}.{field}[{i}]")
    fields = [field for field in (*_SCALARS, *_LISTS) if attribute.get(field) is not None]
    if not fields:
        errors.append(invalid(path, "", _ONE_VALUE))
    elif len(fields) > 1:
        found: Any = render(attribute, type_node(GROUP, "DeviceAttribute"), internal=True)
        errors.append(invalid(path, found, _ONE_VALUE))


def _string(errors: Errors, value: str, path: str) -> None:
    if len(value.encode()) > _VALUE_LIMIT_BYTES:
        errors.append(too_long(path, _VALUE_LIMIT_BYTES))


def _version(errors: Errors, value: str, path: str) -> None:
    if not _semantic_version(value):
        detail = "must be a string compatible with semver.org spec 2.0.0"
        errors.append(invalid(path, value, detail))
    _string(errors, value, path)


def _taint(errors: Errors, taint: Tree, path: str) -> None:
    errors += checked(f"{path}.key", taint.get("key") or "", text.qualified_name)
    errors += checked(f"{path}.value", taint.get("value") or "", text.label_value)
    effect = taint.get("effect") or ""
    if not effect:
        errors.append(required(f"{path}.effect"))
    elif effect not in EFFECTS:
        errors.append(not_supported(f"{path}.effect", effect, EFFECTS))


# -- counters -------------------------------------------------------------------------------------


def _counter_set(errors: Errors, counters: Tree, path: str) -> None:
    _counters(errors, _name(counters), f"{path}.name", counters, path)


def _counter_set_name(consumption: Tree) -> str:
    return consumption.get("counterSet") or ""


def _consumption(errors: Errors, consumption: Tree, path: str) -> None:
    here = f"{path}.counterSet"
    _counters(errors, _counter_set_name(consumption), here, consumption, path)


def _counters(errors: Errors, name: str, name_path: str, tree: Tree, path: str) -> None:
    """A set of counters and its name."""
    if name:
        check_label(errors, name, name_path)
    else:
        errors.append(required(name_path))
    counters, here = tree.get("counters") or {}, f"{path}.counters"
    if not counters:
        errors.append(required(here))
    elif len(counters) > _COUNTERS_LIMIT:
        errors.append(too_many(here, len(counters), _COUNTERS_LIMIT))
    else:
        for counter in counters:
            check_label(errors, counter, here)
