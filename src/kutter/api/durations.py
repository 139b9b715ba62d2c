"""Durations as Go writes them: ``1h30m``, ``300ms``, ``1.5s``. Values are seconds."""

from __future__ import annotations

import re

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9}
_UNITS |= {"m": 60 * 10**9, "h": 3600 * 10**9}
_part = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")


class DurationError(ValueError):
    """The text is no duration; the message is Go's."""


def parse(text: str) -> float:
    """Seconds. ``0`` needs no unit. Raises DurationError."""
    return parse_ns(text) / 10**9


def parse_ns(text: str) -> int:
    """Nanoseconds, exactly. Raises DurationError."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest:
        raise DurationError(f'time: invalid duration "{text}"')
    total = 0
    position = 0
    while position < len(rest):
        match = _part.match(rest, position)
        if match is None or not (match[1] or match[2]):
            missing = re.fullmatch(r"[0-9.]+", rest[position:])
            what = "missing unit in" if missing else "invalid"
            raise DurationError(f'time: {what} duration "{text}"')
        whole, fraction, unit = match[1] or "0", match[2] or "", _UNITS[match[3]]
        total += int(whole) * unit
        if fraction:
            total += int(fraction) * unit // 10 ** len(fraction)
        position = match.end()
    return -total if text[0] == "-" else total


def render(seconds: float) -> str:
    """Go's form: ``1h0m0s``, ``1.5s``, ``300ms``, ``0s``."""
    nanos = round(seconds * 10**9)
    if nanos == 0:
        return "0s"
    sign = "-" if nanos < 0 else ""
    nanos = abs(nanos)
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if nanos < size * 1000:
            return f"{sign}{_decimal(nanos, size)}{unit}"
    minutes, nanos = divmod(nanos, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(nanos, 10**9)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def _decimal(number: int, unit: int) -> str:
    whole, part = divmod(number, unit)
    if not part:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{part:0{digits}d}".rstrip("0")
