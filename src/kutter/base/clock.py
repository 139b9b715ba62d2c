"""The only source of time. Everything that waits or stamps takes a :class:`Clock`."""

from __future__ import annotations

import time
from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Wall and monotonic time, and a way to wait."""

    def now(self) -> datetime:
        """Wall time, timezone-aware, UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that never runs backwards."""

    async def sleep(self, delay_s: float) -> None:
        """Wait ``delay_s`` seconds."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        import asyncio  # the command line reads the clock without an event loop

        await asyncio.sleep(delay_s)


SYSTEM_CLOCK = SystemClock()


_SECOND = timedelta(seconds=1)
# The second rendered last: its start, its end, its text. Every write stamps something.
_rendered = (datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), "")


def render_time(moment: datetime) -> str:
    """RFC 3339 with whole seconds, as ``metav1.Time`` is written."""
    global _rendered  # noqa: PLW0603
    start, end, text = _rendered
    if moment.tzinfo is UTC and start <= moment < end:
        return text
    start = moment.astimezone(UTC).replace(microsecond=0)
    # isoformat is several times quicker than strftime.
    text = start.isoformat("T", "seconds")[:19] + "Z"
    if start.year < MAXYEAR:
        _rendered = (start, start + _SECOND, text)
    return text


def render_micro_time(moment: datetime) -> str:
    """RFC 3339 with six decimals, as ``metav1.MicroTime`` is written."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Read RFC 3339, with or without fractions. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no zone")
    return moment.astimezone(UTC)
