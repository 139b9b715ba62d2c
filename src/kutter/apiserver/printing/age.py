"""How long ago something was, as ``kubectl get`` says it (``util/duration``)."""

from __future__ import annotations

from datetime import datetime

UNKNOWN = "<unknown>"


def human_duration(seconds: float) -> str:
    """``90s``, ``5m30s``, ``3h20m``, ``2d3h``, ``400d``, ``3y20d``: two units while it matters."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 2920:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def parse_time(text: str | None) -> datetime | None:
    """An RFC 3339 time; None for an absent or unreadable one."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def age(text: str | None, now: datetime) -> str:
    """The time from ``text`` to now."""
    then = parse_time(text)
    return UNKNOWN if then is None else human_duration((now - then).total_seconds())
