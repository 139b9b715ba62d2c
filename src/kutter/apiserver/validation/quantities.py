"""Amounts as validation needs them: comparable, and in upstream's canonical writing.

``amount`` is an integer count of billionths (the finest step upstream knows; finer values are
rounded away from zero as upstream does). ``canonical`` writes a quantity as upstream's encoder
would: ``0.5`` becomes ``500m``, ``1024Mi`` becomes ``1Gi``.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

_FORM = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?[0-9]+)?"
)
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()} | {0: ""}
NANO = 10**9


def is_quantity(value: object) -> bool:
    """Whether ``value`` can be read as a quantity at all."""
    if isinstance(value, bool) or value is None:
        return False
    if isinstance(value, int | float):
        return True
    return isinstance(value, str) and _FORM.fullmatch(value.strip()) is not None


@lru_cache(4096)
def amount(value: str | float) -> int:
    """Billionths. ``0`` for what is no quantity: the schema has refused that before."""
    return _parse(str(value))[0]


@lru_cache(4096)
def canonical(value: str | float) -> str:
    """Upstream's writing of the quantity; the text itself if it is none."""
    nanos, style = _parse(str(value))
    if style == "invalid":
        return str(value)
    if style == "binary" and abs(nanos) >= 1024 * NANO and nanos % NANO == 0:
        whole, power = nanos // NANO, 0
        while power < 6 and whole % 1024 == 0 and whole != 0:
            whole //= 1024
            power += 1
        return f"{whole}{_BINARY_SUFFIX[power]}"
    if nanos == 0:
        return "0"
    digits, power = nanos, -9
    while power < 18 and digits % 1000 == 0:
        digits //= 1000
        power += 3
    if style == "exponent":
        return f"{digits}e{power}" if power else str(digits)
    return f"{digits}{_DECIMAL_SUFFIX[power]}"


@lru_cache(4096)
def _parse(text: str) -> tuple[int, str]:
    match = _FORM.fullmatch(text.strip())
    if match is None:
        return 0, "invalid"
    number, suffix = Fraction(match[1]), match[2] or ""
    style = "decimal"
    if suffix in _BINARY:
        number *= 1024 ** _BINARY[suffix]
        style = "binary"
    elif suffix in _DECIMAL:
        number *= Fraction(10) ** _DECIMAL[suffix]
    else:
        exponent = int(suffix[1:])
        if abs(exponent) > 60:
            return 0, "invalid"
        number *= Fraction(10) ** exponent
        style = "exponent"
    scaled = number * NANO
    whole = abs(scaled.numerator) // scaled.denominator
    if whole * scaled.denominator != abs(scaled.numerator):
        whole += 1
    return (-whole if scaled < 0 else whole), style


def canonicalize_list(amounts: dict[str, object] | None) -> None:
    """Write every amount of a ResourceList canonically, in place."""
    if not amounts:
        return
    for name, value in amounts.items():
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            amounts[name] = canonical(value)
