"""Pods waiting for a node: active by priority, then backing off, then waiting for a change.

Laws: a pod is in exactly one place; higher priority first, then longer waiting; a pod that fits
nowhere comes back when something changes that could help, not before its back-off has passed.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field

from kutter.base.clock import Clock
from kutter.scheduler.snapshot import PodInfo

BACKOFF_INITIAL_S = 1.0
BACKOFF_MAXIMUM_S = 10.0
# A pod that nothing woke is tried again after this long, in case an event was missed.
FLUSH_S = 300.0


@dataclass(slots=True)
class Waiting:
    """One pod in the queue."""

    info: PodInfo
    since: float
    attempts: int = 0
    parked_at: float = 0.0
    wakes_at: float = 0.0


@dataclass(order=True, slots=True)
class _Entry:
    rank: tuple[int, float, int]
    uid: str = field(compare=False)


class SchedulingQueue:
    """Take with :meth:`pop`; give back with :meth:`park` when nothing fits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pods: dict[str, Waiting] = {}
        self._active: list[_Entry] = []
        self._in_active: set[str] = set()
        self._parked: dict[str, None] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._in_flight: dict[str, int] = {}
        self._moves = 0
        self._order = itertools.count()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pods)

    def add(self, info: PodInfo) -> None:
        """A new pod, or a new state of a waiting one (which may make it fit)."""
        known = self._pods.get(info.uid)
        if known is None:
            known = self._pods[info.uid] = Waiting(info, self._clock.monotonic())
        else:
            known.info = info
            if info.uid in self._in_flight:
                return
        self._unpark(info.uid)
        self._activate(info.uid)

    def refresh(self, info: PodInfo) -> None:
        """Take in a state that cannot make a difference (status only)."""
        known = self._pods.get(info.uid)
        if known is not None:
            known.info = info

    def remove(self, uid: str) -> None:
        """The pod is bound or gone."""
        self._pods.pop(uid, None)
        self._in_active.discard(uid)
        self._in_flight.pop(uid, None)
        self._unpark(uid)

    def __contains__(self, uid: str) -> bool:
        return uid in self._pods

    async def pop(self) -> Waiting:
        """The next pod to decide on."""
        while True:
            while self._active:
                uid = heapq.heappop(self._active).uid
                if uid in self._in_active:
                    self._in_active.discard(uid)
                    found = self._pods[uid]
                    found.attempts += 1
                    self._in_flight[uid] = self._moves
                    return found
            self._wake.clear()
            await self._wake.wait()

    def park(self, waiting: Waiting) -> None:
        """Nothing fits now: wait for a change, but at least the back-off."""
        uid = waiting.info.uid
        moves = self._in_flight.pop(uid, self._moves)
        if uid not in self._pods:
            return
        now = self._clock.monotonic()
        delay = min(BACKOFF_INITIAL_S * 2 ** (waiting.attempts - 1), BACKOFF_MAXIMUM_S)
        waiting.parked_at, waiting.wakes_at = now, now + delay
        self._parked[uid] = None
        if moves != self._moves:
            # Something changed while we were deciding: that may have been the help needed.
            self._schedule(uid, delay)
        else:
            self._schedule(uid, FLUSH_S)

    def settle(self, uid: str) -> None:
        """A decision was made: the pod is assumed on a node."""
        self._in_flight.pop(uid, None)

    def retry(self, waiting: Waiting) -> None:
        """Binding failed: try again after the back-off."""
        uid = waiting.info.uid
        self._in_flight.pop(uid, None)
        if uid in self._pods:
            self._parked[uid] = None
            self._schedule(uid, BACKOFF_INITIAL_S)

    def wake_all(self) -> None:
        """Something changed that may make room: parked pods come back after their back-off."""
        self._moves += 1
        now = self._clock.monotonic()
        for uid in list(self._parked):
            left = self._pods[uid].wakes_at - now
            if left <= 0:
                self._unpark(uid)
                self._activate(uid)
            else:
                self._schedule(uid, left)

    def _schedule(self, uid: str, delay_s: float) -> None:
        old = self._timers.pop(uid, None)
        if old is not None:
            old.cancel()
        loop = asyncio.get_running_loop()
        self._timers[uid] = loop.call_later(delay_s, self._due, uid)

    def _due(self, uid: str) -> None:
        self._timers.pop(uid, None)
        if uid in self._parked:
            del self._parked[uid]
            self._activate(uid)

    def _unpark(self, uid: str) -> None:
        self._parked.pop(uid, None)
        timer = self._timers.pop(uid, None)
        if timer is not None:
            timer.cancel()

    def _activate(self, uid: str) -> None:
        if uid in self._in_active or uid not in self._pods:
            return
        waiting = self._pods[uid]
        priority = waiting.info.pod.spec.priority or 0
        self._in_active.add(uid)
        entry = _Entry((-priority, waiting.since, next(self._order)), uid)
        heapq.heappush(self._active, entry)
        self._wake.set()
