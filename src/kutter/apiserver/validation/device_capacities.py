"""How a device's capacity may be shared: the amounts a request for a part of it may name."""

from __future__ import annotations

from typing import Any

from kutter.api import quantity
from kutter.api.errors import forbidden_field, invalid, required
from kutter.api.quantity import Quantity
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation.devices import Errors, check_list

_VALUES_LIMIT = 10


def check_capacity(errors: Errors, capacity: Tree, path: str, *, shared: bool) -> None:
    """``shared``: whether the device may be allocated more than once."""
    policy = capacity.get("requestPolicy")
    if policy is None:
        return
    here = f"{path}.requestPolicy"
    if not shared:
        errors.append(forbidden_field(here, "allowMultipleAllocations must be true"))
        return
    most, default = _read(capacity.get("value") or 0), policy.get("default")
    values, span = policy.get("validValues") or [], policy.get("validRange")
    if values and span is not None:
        detail = (
            'exactly one policy can be specified, cannot specify "validValues" and "validRange" '
            "at the same time"
        )
        errors.append(forbidden_field(here, detail))
    elif values or span is not None:
        field = "validValues" if values else "validRange"
        if default is None:
            errors.append(required(f"{here}.default", f"required when {field} is defined"))
        elif values:
            _values(errors, list(map(_read, values)), _read(default), most, f"{here}.{field}")
        else:
            _span(errors, span, _read(default), most, f"{here}.{field}")


def _read(value: Any) -> Quantity:
    """The schema has refused what is none."""
    return quantity.parse(value)


def _values(
    errors: Errors, values: list[Quantity], default: Quantity, most: Quantity, path: str
) -> None:
    for i in range(1, len(values)):
        if values[i] < values[i - 1]:
            detail = "values must be sorted in ascending order"
            errors.append(invalid(f"{path}[{i}]", str(values[i]), detail))

    def check(errors: Errors, value: Quantity, here: str) -> None:
        if value > most:
            detail = f"option is larger than capacity value: {most}"
            errors.append(invalid(here, str(value), detail))

    check_list(errors, values, _VALUES_LIMIT, check, path, key=lambda value: str(value.value))
    if len(values) > _VALUES_LIMIT or default not in values:
        detail = "default value is not valid according to the requestPolicy"
        errors.append(invalid(path, str(default), detail))


def _span(errors: Errors, span: Tree, default: Quantity, most: Quantity, path: str) -> None:
    least, upper = span.get("min"), span.get("max")
    if least is None:
        errors.append(required(f"{path}.min", "required when validRange is defined"))
        return
    low = _read(least)
    for bad, here, found, detail in (
        (low > most, "min", low, f"min is larger than capacity value: {most}"),
        (default < low, "min", default, f"default is less than min: {low}"),
    ):
        if bad:
            errors.append(invalid(f"{path}.{here}", str(found), detail))
    high = None if upper is None else _read(upper)
    if high is not None:
        for bad, found, detail in (
            (low > high, low, f"min is larger than max: {high}"),
            (high > most, high, f"max is larger than capacity value: {most}"),
            (default > high, default, f"default is more than max: {high}"),
        ):
            if bad:
                errors.append(invalid(f"{path}.max", str(found), detail))
    if span.get("step") is not None:
        values = [default] if high is None else [default, high]
        step, here = _read(span["step"]), f"{path}.step"
        if low + step > most:
            detail = f"one step {low + step} is larger than capacity value: {most}"
            errors.append(invalid(here, str(step), detail))
        _steps(errors, values, low, step, here)


def _steps(
    errors: Errors, values: list[Quantity], low: Quantity, step: Quantity, path: str
) -> None:
    for value in values:
        # Upstream's server fails on a step of nothing; no value is one of its multiples.
        if not step.value or (value.value - low.value) % step.value:
            detail = f"value is not a multiple of a given step ({step}) from ({low})"
            errors.append(invalid(path, str(value), detail))
