from __future__ import annotations

import asyncio
from typing import Any

from kutter.base.coarse_timers import CoarseTimers


class HandLoop:
    """A loop's clock and timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[HandTimer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, due: float, ring: Any) -> HandTimer:
        self.timers.append(HandTimer(due, ring))
        return self.timers[-1]

    def move(self, seconds: float) -> int:
        """How many timers rang meanwhile."""
        self.now += seconds
        due = [t for t in self.timers if t.due <= self.now and not t.cancelled]
        self.timers = [t for t in self.timers if t not in due and not t.cancelled]
        for timer in due:
            timer.ring()
        return len(due)


class HandTimer:
    def __init__(self, due: float, ring: Any) -> None:
        self.due, self.ring, self.cancelled = due, ring, False

    def cancel(self) -> None:
        self.cancelled = True


def make(monkeypatch: Any) -> tuple[HandLoop, CoarseTimers, list[str]]:
    loop = HandLoop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop, CoarseTimers(5.0), []


def test_many_that_are_due_within_a_grain_are_one_timer(monkeypatch):
    loop, timers, rung = make(monkeypatch)
    for number in range(1000):
        loop.now += 0.004
        timers.call_later(60.0, lambda number=number: rung.append(number))
    assert len(loop.timers) == len(timers) == 1
    assert loop.move(59.9) == 0, "nobody is early"
    assert loop.move(1.2) == 1
    assert rung == list(range(1000))
    assert not timers


def test_who_is_cancelled_is_not_called_and_an_empty_grain_has_no_timer(monkeypatch):
    loop, timers, rung = make(monkeypatch)
    first = timers.call_later(7.0, lambda: rung.append("first"))
    second = timers.call_later(8.0, lambda: rung.append("second"))
    third = timers.call_later(30.0, lambda: rung.append("third"))
    assert len(timers) == 2
    first.cancel()
    first.cancel()
    third.cancel()
    assert len(timers) == 1
    assert loop.move(40.0) == 1
    assert rung == ["second"]
    second.cancel()  # late, and nothing to it
    assert not timers


def test_who_is_called_may_cancel_others_and_call_again(monkeypatch):
    loop, timers, rung = make(monkeypatch)

    def first() -> None:
        rung.append("first")
        other.cancel()
        timers.call_later(0.0, lambda: rung.append("again"))

    timers.call_later(3.0, first)
    other = timers.call_later(3.0, lambda: rung.append("other"))
    assert loop.move(5.0) == 1
    assert rung == ["first"]
    loop.move(5.0)
    assert rung == ["first", "again"]
    assert not timers
