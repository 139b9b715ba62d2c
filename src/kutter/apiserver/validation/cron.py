"""Cron schedules: five fields or a descriptor, in a named time zone."""

from __future__ import annotations

import zoneinfo

_RANGES = (("minute", 0, 59), ("hour", 0, 23), ("dom", 1, 31), ("month", 1, 12), ("dow", 0, 6))
_MONTH_NAMES = "jan feb mar apr may jun jul aug sep oct nov dec"
_MONTHS = {m: i for i, m in enumerate(_MONTH_NAMES.split(), 1)}
_DAYS = {d: i for i, d in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_DESCRIPTORS = frozenset(
    {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
)


def schedule_problem(schedule: str) -> str:
    """What is wrong with a schedule; empty when nothing is."""
    if "TZ" in schedule:
        return "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
    if schedule.startswith("@"):
        if schedule in _DESCRIPTORS or schedule.startswith("@every "):
            return ""
        return f"unrecognized descriptor: {schedule}"
    fields = schedule.split()
    if len(fields) != 5:
        listed = " ".join(fields)
        return f"expected exactly 5 fields, found {len(fields)}: [{listed}]"
    for field, (name, low, high) in zip(fields, _RANGES, strict=True):
        names = _MONTHS if name == "month" else _DAYS if name == "dow" else {}
        for part in field.split(","):
            problem = _part_problem(part, low, high, names)
            if problem:
                return problem
    return ""


def _part_problem(part: str, low: int, high: int, names: dict[str, int]) -> str:
    span, slash, step = part.partition("/")
    if slash:
        if not step.isascii() or not step.isdigit():
            return (
                f'failed to parse int from {step}: strconv.Atoi: parsing "{step}": invalid syntax'
            )
        if int(step) == 0:
            return f"step of range should be a positive number: {part}"
    if span in ("*", "?"):
        return ""
    ends: list[int] = []
    for end in span.split("-"):
        number = names.get(end.lower())
        if number is None:
            if not end.isascii() or not end.isdigit():
                return (
                    f'failed to parse int from {end}: strconv.Atoi: parsing "{end}": invalid syntax'
                )
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


def time_zone_problem(zone: str) -> str:
    if not zone:
        return "timeZone must be nil or non-empty string"
    if zone.lower() == "local":
        return (
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return f"unknown time zone {zone}"
    return ""
