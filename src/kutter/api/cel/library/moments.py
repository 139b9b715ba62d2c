"""Parts of timestamps and durations: ``getHours()``, ``getDayOfWeek('Europe/Berlin')``."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.values import SECOND, Duration, Timestamp

_offset = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII).fullmatch


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    if name in ("", "UTC"):
        return UTC
    match = _offset(name)
    if match is not None:
        span = timedelta(hours=int(match[2]), minutes=int(match[3]))
        try:
            return timezone(-span if match[1] == "-" else span)
        except ValueError:
            raise EvaluationError(f"unknown time zone {name}") from None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise EvaluationError(f"unknown time zone {name}") from None


def _local(moment: Timestamp, zone: str) -> datetime:
    found = moment.moment()
    try:
        return found.astimezone(_zone(zone)) if zone else found
    except OverflowError:
        raise EvaluationError("timestamp overflow") from None


def _part(read: Callable[[datetime], int]) -> Callable[..., int]:
    return lambda moment, zone="": read(_local(moment, zone))


def _milliseconds(moment: Timestamp, zone: str = "") -> int:
    if zone:
        _zone(zone)
    return moment.nanos % SECOND // 10**6


PARTS: dict[str, Callable[..., int]] = {
    "getFullYear": _part(lambda m: m.year),
    "getMonth": _part(lambda m: m.month - 1),
    "getDayOfYear": _part(lambda m: m.timetuple().tm_yday - 1),
    "getDayOfMonth": _part(lambda m: m.day - 1),
    "getDate": _part(lambda m: m.day),
    "getDayOfWeek": _part(lambda m: m.isoweekday() % 7),
    "getHours": _part(lambda m: m.hour),
    "getMinutes": _part(lambda m: m.minute),
    "getSeconds": _part(lambda m: m.second),
    "getMilliseconds": _milliseconds,
}


def _whole(unit: int) -> Callable[[Duration], int]:
    def count(span: Duration) -> int:
        found = abs(span.nanos) // unit
        return -found if span.nanos < 0 else found

    return count


def _span_milliseconds(span: Duration) -> int:
    found = abs(span.nanos) % SECOND // 10**6
    return -found if span.nanos < 0 else found


SPANS: dict[str, Callable[[Duration], int]] = {
    "getHours": _whole(3600 * SECOND),
    "getMinutes": _whole(60 * SECOND),
    "getSeconds": _whole(SECOND),
    "getMilliseconds": _span_milliseconds,
}
