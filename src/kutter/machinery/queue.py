"""The keyed work queue: each key at most once in line, never worked on twice at a time.

A key added while it is being worked on is taken up again afterwards. Failures come back with
exponential back-off per key. The bound is the number of distinct keys.
"""

from __future__ import annotations

import asyncio
from collections import deque

from kutter.base.backoff import Backoff

RETRY_INITIAL_S = 0.005
RETRY_MAXIMUM_S = 60.0


class WorkQueue:
    """Add keys, take keys with :meth:`get`, give them back with :meth:`done`."""

    def __init__(self) -> None:
        self._ready: deque[str] = deque()
        self._waiting: set[str] = set()  # in self._ready
        self._active: set[str] = set()
        self._again: set[str] = set()  # added while active
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._wake = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: str) -> None:
        """Work on ``key`` soon."""
        if key in self._active:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: str, delay_s: float) -> None:
        """Work on ``key`` in ``delay_s`` seconds; the earlier of two waits wins."""
        if delay_s <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        known = self._timers.get(key)
        if known is not None:
            if known.when() <= loop.time() + delay_s:
                return
            known.cancel()
        self._timers[key] = loop.call_later(delay_s, self._due, key)

    def _due(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def retry(self, key: str) -> float:
        """Come back to ``key`` after its next back-off; answers the delay in seconds."""
        backoff = self._backoffs.get(key)
        if backoff is None:
            backoff = self._backoffs[key] = Backoff(
                initial_s=RETRY_INITIAL_S, maximum_s=RETRY_MAXIMUM_S
            )
        delay = backoff.next()
        self.add_after(key, delay)
        return delay

    def forget(self, key: str) -> None:
        """The key succeeded: its next failure starts with the shortest wait."""
        self._backoffs.pop(key, None)

    async def get(self) -> str:
        """The next key; raises asyncio.CancelledError when the queue is closed."""
        while not self._ready:
            if self._closed:
                raise asyncio.CancelledError
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._active.add(key)
        return key

    def done(self, key: str) -> None:
        """Work on ``key`` has ended, well or not."""
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._wake.set()
