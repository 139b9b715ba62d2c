"""The only source of time. Everything that waits or stamps takes a :class:`Clock`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
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


def render_time(moment: datetime) -> str:
    """RFC 3339 with whole seconds, as ``metav1.Time`` is written."""
    # isoformat is several times quicker than strftime, and every write stamps something.
    return moment.astimezone(UTC).isoformat("T", "seconds")[:19] + "Z"


def render_micro_time(moment: datetime) -> str:
    """RFC 3339 with six decimals, as ``metav1.MicroTime`` is written."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Read RFC 3339, with or without fractions. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no zone")
    return moment.astimezone(UTC)
