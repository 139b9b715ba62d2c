"""Quantities: ``100m``, ``1.5Gi``, ``12e6``. Exact, with upstream's canonical forms.

Amounts are whole nano-units, rounded away from zero when finer ones are given, so arithmetic
never drifts. The format a quantity was written in (decimal SI, binary SI, decimal exponent) is
kept and decides how it is written again.
Upstream: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from functools import total_ordering

from kutter.base.memo import remember

_PATTERN = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
_split = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)").fullmatch

_NANO = 10**9
_BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_MAX_BINARY = (2**63 - 1) * _NANO
# Guards against "1e999999999": nothing real is that large, and computing it would hang us.
_MAX_EXPONENT = 100
# Reading digits takes time that grows with the square of how many there are.
_MAX_DIGITS = 1000


class QuantityError(ValueError):
    """The text is no quantity; the message is upstream's."""


@total_ordering
class Quantity:
    """An exact amount. Compares, adds and subtracts by value; the left one's format stays."""

    __slots__ = ("format", "nanos")

    def __init__(self, nanos: int, format: str = "DecimalSI") -> None:
        self.nanos = nanos
        self.format = format

    def __str__(self) -> str:
        nanos, format = self.nanos, self.format
        if nanos == 0:
            return "0"
        if format == "BinarySI":
            whole, part = divmod(abs(nanos), _NANO)
            if part == 0 and whole >= 1024:
                return ("-" if nanos < 0 else "") + _binary_text(whole)
            format = "DecimalSI"  # keep precision rather than the format
        mantissa, exponent = nanos, -9
        while mantissa % 10 == 0:
            mantissa //= 10
            exponent += 1
        shift = exponent % 3
        mantissa *= 10**shift
        exponent -= shift
        if format == "DecimalExponent" or exponent > 18:
            return f"{mantissa}e{exponent}" if exponent else str(mantissa)
        return f"{mantissa}{_SUFFIX[exponent]}"

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nanos, self.format)

    @property
    def value(self) -> int:
        """Whole units (bytes, cores, pods), rounded away from zero."""
        return _scaled(self.nanos, _NANO)

    @property
    def milli(self) -> int:
        """Thousandths, rounded away from zero."""
        return _scaled(self.nanos, 10**6)


def _scaled(nanos: int, unit: int) -> int:
    return -(-nanos // unit) if nanos >= 0 else nanos // unit


def _binary_text(whole: int) -> str:
    power = 0
    while whole >= 1024 and whole % 1024 == 0 and power < 6:
        whole >>= 10
        power += 1
    return f"{whole}{_BINARY_SUFFIX[power]}"


@remember(4096, longest=64)
def _parse_text(text: str) -> Quantity:
    match = _split(text)
    if match is None or not text:
        raise QuantityError(f"quantities must match the regular expression '{_PATTERN}'")
    sign, whole, fraction, suffix = match.groups()
    fraction = fraction or ""
    if not whole and not fraction:
        # "." and "+" reach this point; so does "Ki", which has no number at all.
        raise QuantityError("unable to parse numeric part of quantity")
    if len(whole) + len(fraction) > _MAX_DIGITS:
        raise QuantityError("unable to parse numeric part of quantity")
    digits = int(whole + fraction)
    format, scale, factor = _interpret(suffix)
    scale -= len(fraction)
    nanos = _times_power(digits * factor, scale + 9)
    if format == "BinarySI":
        nanos = min(nanos, _MAX_BINARY)
        if 0 < nanos < _NANO:
            format = "DecimalSI"
    return Quantity(-nanos if sign == "-" else nanos, format)


def _interpret(suffix: str) -> tuple[str, int, int]:
    """(format, power of ten, factor) of a suffix."""
    if suffix in _DECIMAL:
        return "DecimalSI", _DECIMAL[suffix], 1
    if suffix in _BINARY:
        return "BinarySI", 0, _BINARY[suffix]
    if suffix[0] in "eE":
        try:
            exponent = int(suffix[1:])
        except ValueError:
            raise QuantityError("unable to parse quantity's suffix") from None
        if abs(exponent) > _MAX_EXPONENT:
            raise QuantityError("unable to parse quantity's suffix")
        return "DecimalExponent", exponent, 1
    raise QuantityError("unable to parse quantity's suffix")


def _times_power(number: int, power: int) -> int:
    """``number * 10**power``, rounded up."""
    factor: int = 10 ** abs(power)
    return number * factor if power >= 0 else -(-number // factor)


def parse(value: str | float) -> Quantity:
    """Read a quantity as JSON carries it (a number is read by its text). Raises QuantityError."""
    return _parse_text(value if isinstance(value, str) else number_text(value))


def number_text(value: float) -> str:
    """A JSON number's text; ``1.5`` → ``1.5``, ``1e+22`` → ``1e22``."""
    return repr(value).replace("e+", "e")


@remember(8192, longest=64)
def canonical_text(text: str) -> str:
    """The form upstream stores: ``1000m`` → ``1``. Raises QuantityError."""
    return str(_parse_text(text.strip()))


def milli(value: str | float) -> int:
    """Thousandths of a unit, rounded up: what CPU is counted in."""
    return parse(value).milli


def whole(value: str | float) -> int:
    """Whole units, rounded up: bytes of memory, pods, devices."""
    return parse(value).value


def is_quantity(value: object) -> bool:
    """Whether a JSON value reads as a quantity."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    try:
        parse(value)
    except QuantityError:
        return False
    return True
