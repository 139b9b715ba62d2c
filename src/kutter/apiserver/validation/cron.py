"""Cron schedules: five fields or a descriptor, in a named time zone."""

from __future__ import annotations

import zoneinfo

from kutter.api import durations

_RANGES = (("minute", 0, 59), ("hour", 0, 23), ("dom", 1, 31), ("month", 1, 12), ("dow", 0, 6))
_MONTH_NAMES = "jan feb mar apr may jun jul aug sep oct nov dec"
_MONTHS = {m: i for i, m in enumerate(_MONTH_NAMES.split(), 1)}
_DAYS = {d: i for i, d in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_DESCRIPTORS = frozenset(
    {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
)


def schedule_problem(schedule: str) -> str:
    """What is wrong with a schedule; empty when nothing is."""
    if schedule.startswith(("TZ=", "CRON_TZ=")):
        zone, space, schedule = schedule.partition(" ")
        if not space:
            return "invalid schedule format: runtime error: slice bounds out of range [:-1]"
        name = zone.partition("=")[2]
        if not _known(name):
            return f"provided bad location {name}: unknown time zone {name}"
        schedule = schedule.strip()
    if schedule.startswith("@"):
        return _descriptor_problem(schedule)
    fields = schedule.split()
    if len(fields) != 5:
        listed = " ".join(fields)
        return f"expected exactly 5 fields, found {len(fields)}: [{listed}]"
    for field, (name, low, high) in zip(fields, _RANGES, strict=True):
        names = _MONTHS if name == "month" else _DAYS if name == "dow" else {}
        for part in filter(None, field.split(",")):
            problem = _part_problem(part, low, high, names)
            if problem:
                return problem
    return ""


def _descriptor_problem(schedule: str) -> str:
    if schedule.startswith("@every "):
        try:
            durations.parse(schedule.removeprefix("@every "))
        except ValueError as error:
            return f"failed to parse duration {schedule}: {error}"
        return ""
    return "" if schedule in _DESCRIPTORS else f"unrecognized descriptor: {schedule}"


def _number_problem(text: str) -> str:
    """Why Go would not read it as a number; empty: it would."""
    cause = "invalid syntax"
    if text.isascii() and text.isdigit():
        if int(text) < 1 << 63:
            return ""
        cause = "value out of range"
    return f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": {cause}'


def _part_problem(part: str, low: int, high: int, names: dict[str, int]) -> str:
    span, slash, step = part.partition("/")
    if slash:
        if "/" in step:
            return f"too many slashes: {part}"
        problem = _number_problem(step)
        if problem:
            return problem
        if int(step) == 0:
            return f"step of range should be a positive number: {part}"
    if span in ("*", "?"):
        return ""
    ends: list[int] = []
    for end in span.split("-"):
        number = names.get(end.lower())
        if number is None:
            problem = _number_problem(end)
            if problem:
                return problem
            number = int(end)
        ends.append(number)
    if len(ends) > 2:
        return f"too many hyphens: {part}"
    if ends[0] < low:
        return f"beginning of range ({ends[0]}) below minimum ({low}): {part}"
    if ends[-1] > high:
        return f"end of range ({ends[-1]}) above maximum ({high}): {part}"
    if ends[0] > ends[-1]:
        return f"beginning of range ({ends[0]}) beyond end of range ({ends[-1]}): {part}"
    return ""


def time_zone_problems(zone: str) -> list[str]:
    """What is wrong with a time zone."""
    if not zone:
        return ["timeZone must be nil or non-empty string"]
    if zone.lower() == "local":
        explicit = (
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
        return [explicit] if zone == "Local" else [explicit, f"unknown time zone {zone}"]
    return [] if _known(zone) else [f"unknown time zone {zone}"]


def _known(zone: str) -> bool:
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
