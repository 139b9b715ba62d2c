"""Amounts as validation and defaulting need them: comparable, canonically written, cached.

The schema has refused what is no quantity before; here such a value counts as zero.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from kutter.api import quantity

NANO = 10**9
_MILLI = 10**6


@lru_cache(4096)
def amount(value: str | float) -> int:
    """Billionths of the unit."""
    try:
        return quantity.parse(value).nanos
    except quantity.QuantityError:
        return 0


@lru_cache(4096)
def canonical(value: str | float) -> str:
    """Upstream's writing of it; the text itself if it is none."""
    try:
        return str(quantity.parse(value))
    except quantity.QuantityError:
        return str(value)


def canonicalize_list(amounts: dict[str, Any] | None) -> None:
    """Write every amount of a ResourceList canonically, in place; finer than a thousandth is
    rounded up, as upstream does with every list.
    """
    if amounts:
        for name, value in amounts.items():
            amounts[name] = _in_list(value)


@lru_cache(4096)
def _in_list(value: str | float) -> str:
    try:
        parsed = quantity.parse(value)
    except quantity.QuantityError:
        return str(value)
    if parsed.nanos % _MILLI == 0:
        return str(parsed)
    return str(quantity.Quantity(parsed.milli * _MILLI, parsed.format))
