"""Waits of many that may end a little late, so that all of a while end at once.

Between those who wait long and the loop: a thousand timers that are due within a few seconds of
each other would wake an idle process a thousand times. Laws: nobody is rung early, nobody more than
a grain late; there is one timer of the loop for each grain in which anybody is due.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class CoarseTimers:
    """``call_later`` of the loop, rounded up to a whole ``grain_s``. For one loop."""

    def __init__(self, grain_s: float) -> None:
        self._grain_s = grain_s
        self._slots: dict[int, _Slot] = {}

    def __len__(self) -> int:
        """How many timers of the loop there are."""
        return len(self._slots)

    def call_later(self, delay_s: float, ring: Callable[[], object]) -> CoarseHandle:
        """Call ``ring`` once, ``delay_s`` from now or less than a grain later."""
        loop = asyncio.get_running_loop()
        number = math.ceil((loop.time() + delay_s) / self._grain_s)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = _Slot(self, number)
            slot.timer = loop.call_at(number * self._grain_s, slot.ring)
        handle = CoarseHandle(slot, ring)
        slot.waiting[handle] = None
        return handle


class _Slot:
    """One timer of the loop and who waits for it."""

    __slots__ = ("_number", "_timers", "timer", "waiting")

    def __init__(self, timers: CoarseTimers, number: int) -> None:
        self._timers = timers
        self._number = number
        self.timer: asyncio.TimerHandle | None = None
        self.waiting: dict[CoarseHandle, None] = {}

    def remove(self, handle: CoarseHandle) -> None:
        if self.waiting.pop(handle, False) is None and not self.waiting:
            self._end()

    def ring(self) -> None:
        self._end()
        while self.waiting:  # each may cancel others
            handle = next(iter(self.waiting))
            del self.waiting[handle]
            handle.ring()

    def _end(self) -> None:
        slots = self._timers._slots
        if slots.get(self._number) is self:
            del slots[self._number]
        if self.timer is not None:
            self.timer.cancel()


class CoarseHandle:
    """Of one call that is due."""

    __slots__ = ("_slot", "ring")

    def __init__(self, slot: _Slot, ring: Callable[[], object]) -> None:
        self._slot = slot
        self.ring = ring

    def cancel(self) -> None:
        """Let it not be called; idempotent."""
        self._slot.remove(self)
