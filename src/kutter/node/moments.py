"""Between the three ways the agent meets time: nanoseconds, seconds and RFC 3339 text."""

from __future__ import annotations

from datetime import UTC, datetime

from kutter.base.clock import parse_time, render_time


def from_seconds(seconds: float) -> datetime:
    """A moment from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def render_ns(nanoseconds: int) -> str:
    """RFC 3339 of nanoseconds since the epoch; 0 stays the epoch's start."""
    return render_time(datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC))


def to_seconds(text: str | None) -> float:
    """Seconds since the epoch of RFC 3339 text; 0 for none."""
    return parse_time(text).timestamp() if text else 0.0


def render_duration(seconds: float) -> str:
    """Whole seconds as Go prints a duration: ``10s``, ``1m20s``, ``5m0s``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s"
