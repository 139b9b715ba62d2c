"""Time as the command line reads and shows it, without an event loop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

from kutter.api.durations import parse as parse_go_duration
from kutter.apiserver.printing.age import UNKNOWN, human_duration, parse_time
from kutter.base.clock import SYSTEM_CLOCK
from kutter.cli.command import CommandError


def now() -> datetime:
    return SYSTEM_CLOCK.now()


def wall() -> float:
    """Seconds since the epoch."""
    return now().timestamp()


def monotonic() -> float:
    return SYSTEM_CLOCK.monotonic()


def pause(seconds: float) -> None:
    """Block this command."""
    time.sleep(seconds)


def age(text: str | None) -> str:
    """How long ago an API time was, as kubectl shows it."""
    then = parse_time(text)
    return UNKNOWN if then is None else human_duration((now() - then).total_seconds())


def long_time(text: str | None) -> str:
    """An API time as describe shows it: ``Mon, 02 Jan 2006 15:04:05 +0000``."""
    then = parse_time(text)
    if then is None:
        return ""
    return then.strftime("%a, %d %b %Y %H:%M:%S %z")


def duration(text: str, flag: str) -> float:
    """Seconds of a flag's ``30s``, ``5m``, ``1h``, ``0``. Raises CommandError."""
    try:
        return parse_go_duration(text)
    except ValueError as error:
        raise CommandError(
            f'invalid argument "{text}" for "{flag}": not a duration', hint="write 30s, 5m or 1h"
        ) from error


def until(deadline: float, step_s: float = 0.2) -> Iterator[None]:
    """Yield, pausing in between, until ``deadline`` on the monotonic clock has passed."""
    while True:
        yield
        left = deadline - monotonic()
        if left <= 0:
            return
        pause(min(step_s, left))
