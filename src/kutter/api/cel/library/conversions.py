"""From one type to another: ``int("1")``, ``string(1.5)``, ``timestamp("…")``."""

from __future__ import annotations

import math
import re
from datetime import date
from decimal import Decimal
from typing import Any

from kutter.api.cel.errors import EvaluationError, no_overload
from kutter.api.cel.values import (
    INT_MAX,
    INT_MIN,
    SECOND,
    TIME_MAX_S,
    TIME_MIN_S,
    Duration,
    Timestamp,
    UInt,
    checked_duration,
    checked_int,
    type_of,
)
from kutter.api.durations import DurationError, parse_ns

_int_form = re.compile(r"[+-]?\d+", re.ASCII).fullmatch
_uint_form = re.compile(r"\d+", re.ASCII).fullmatch
_float_form = re.compile(
    r"[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|infinity|nan)",
    re.ASCII | re.IGNORECASE,
).fullmatch
_time_form = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
).fullmatch
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
# No sensible one is longer; a longer one is cut, and so is none.
_DURATION_TEXT = 1000
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def _whole(digits: str) -> int:
    """A number of any length: of too long ones only that they do not fit matters."""
    short = digits.lstrip("+-").lstrip("0")
    return int(digits) if len(short) <= 20 else int(f"{digits[:1].strip('0123456789')}{10**20}")


def _unfit(function: str, value: Any) -> EvaluationError:
    return no_overload(f"{function}({type_of(value).name})")


def to_bool(value: Any) -> bool:
    if type(value) is bool:
        return value
    if type(value) is str:
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise EvaluationError(f'strconv.ParseBool: parsing "{value}": invalid syntax')
    raise _unfit("bool", value)


def to_bytes(value: Any) -> bytes:
    if type(value) is str:
        return value.encode("utf-8", "surrogatepass")
    if type(value) is bytes:
        return value
    raise _unfit("bytes", value)


def to_double(value: Any) -> float:
    kind = type(value)
    if kind in (float, int, UInt):
        return float(value)
    if kind is str:
        if not _float_form(value):
            raise EvaluationError(f'strconv.ParseFloat: parsing "{value}": invalid syntax')
        found = float(value)
        if math.isinf(found) and "inf" not in value.lower():
            raise EvaluationError(f'strconv.ParseFloat: parsing "{value}": value out of range')
        return found
    raise _unfit("double", value)


def to_int(value: Any) -> int:
    kind = type(value)
    if kind in (int, UInt):
        return checked_int(int(value))
    if kind is float:
        # The bounds themselves cannot be told from what lies beyond them.
        if not math.isfinite(value) or not INT_MIN < value < INT_MAX:
            raise EvaluationError("integer overflow")
        return int(value)
    if kind is str:
        if not _int_form(value):
            raise EvaluationError(f'strconv.ParseInt: parsing "{value}": invalid syntax')
        found = _whole(value)
        if not INT_MIN <= found <= INT_MAX:
            raise EvaluationError(f'strconv.ParseInt: parsing "{value}": value out of range')
        return found
    if kind is Timestamp:
        return int(value.nanos // SECOND)
    if kind is Duration:
        return int(value.nanos)
    raise _unfit("int", value)


def to_uint(value: Any) -> UInt:
    kind = type(value)
    if kind is UInt:
        return UInt(value)
    if kind is int and value >= 0:
        return UInt(value)
    if kind is float and math.isfinite(value) and 0 <= value < 2.0**64:
        return UInt(int(value))
    if kind in (int, float):
        raise EvaluationError("unsigned integer overflow")
    if kind is str:
        if not _uint_form(value):
            raise EvaluationError(f'strconv.ParseUint: parsing "{value}": invalid syntax')
        found = _whole(value)
        if found >= 1 << 64:
            raise EvaluationError(f'strconv.ParseUint: parsing "{value}": value out of range')
        return UInt(found)
    raise _unfit("uint", value)


def to_string(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind in (int, UInt):
        return str(int(value))
    if kind is float:
        return float_text(value)
    if kind is bytes:
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError:
            text = "invalid UTF-8 in bytes, cannot convert to string"
            raise EvaluationError(text) from None
    if kind in (Timestamp, Duration):
        return str(value)
    raise _unfit("string", value)


def float_text(value: float) -> str:
    """The shortest text that reads back the same, as Go's ``%g``: exponents from a million on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, power = Decimal(repr(value)).as_tuple()
    assert isinstance(power, int), "finite numbers have an exponent"
    text = "".join(map(str, digits)).lstrip("0")
    stripped = text.rstrip("0")
    power += len(text) - len(stripped)
    text = stripped or "0"
    exponent = len(text) + power - 1 if stripped else 0
    minus = "-" if sign else ""
    if -5 < exponent < 6:
        return minus + _plain_float(text, power if stripped else 0)
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{minus}{text[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _plain_float(digits: str, power: int) -> str:
    if power >= 0:
        return digits + "0" * power
    digits = digits.rjust(1 - power, "0")
    return f"{digits[:power]}.{digits[power:]}"


def to_timestamp(value: Any) -> Timestamp:
    kind = type(value)
    if kind is Timestamp:
        return Timestamp(value.nanos)
    if kind is int:
        return _in_range(value * SECOND, str(value))
    if kind is str:
        return parse_timestamp(value)
    raise _unfit("timestamp", value)


def _in_range(nanos: int, text: str) -> Timestamp:
    if not TIME_MIN_S <= nanos // SECOND <= TIME_MAX_S:
        raise EvaluationError("timestamp overflow")
    return Timestamp(nanos)


def parse_timestamp(text: str) -> Timestamp:
    """RFC 3339 with up to nine digits of a second."""
    match = _time_form(text)
    if match is None:
        raise _no_time(text)
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if hour > 23 or minute > 59 or second > 59:
        raise _no_time(text)
    try:
        days = date(year, month, day).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        raise _no_time(text) from None
    seconds = days * 86400 + hour * 3600 + minute * 60 + second
    if match[8]:
        shift = int(match[9]) * 3600 + int(match[10]) * 60
        seconds += shift if match[8] == "-" else -shift
    fraction = int((match[7] or "0")[:9].ljust(9, "0"))
    return _in_range(seconds * SECOND + fraction, text)


def _no_time(text: str) -> EvaluationError:
    shown = f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse'
    return EvaluationError(shown)


def to_duration(value: Any) -> Duration:
    kind = type(value)
    if kind is Duration:
        return Duration(value.nanos)
    if kind is int:
        return checked_duration(value)
    if kind is str:
        try:
            return checked_duration(parse_ns(value[:_DURATION_TEXT]))
        except DurationError as error:
            raise EvaluationError(str(error)) from None
    raise _unfit("duration", value)
