"""Keys that delete themselves: one heap, one timer, never more than one wake a second."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable

from kutter.base.clock import Clock

ExpireKey = Callable[[str, int], Awaitable[None]]


class Expiry:
    """Calls ``expire(key, mod_revision)`` when a key's time has come.

    The caller deletes only if the key is still at that revision, so a renewed key needs no
    removal from the heap.
    """

    def __init__(self, clock: Clock, expire: ExpireKey) -> None:
        self._clock = clock
        self._expire = expire
        self._heap: list[tuple[float, str, int]] = []
        self._changed = asyncio.Event()

    def add(self, key: str, revision: int, expires_at_s: float) -> None:
        """``expires_at_s`` is wall time, seconds since the epoch."""
        heapq.heappush(self._heap, (expires_at_s, key, revision))
        if self._heap[0][2] == revision:
            self._changed.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            self._changed.clear()
            if not self._heap:
                await self._changed.wait()
                continue
            delay = self._heap[0][0] - self._clock.now().timestamp()
            if delay > 0:
                try:
                    async with asyncio.timeout(max(1.0, delay)):
                        await self._changed.wait()
                except TimeoutError:
                    pass
                continue
            _, key, revision = heapq.heappop(self._heap)
            await self._expire(key, revision)
