"""Bodies of large lists, kept for a moment: many callers ask for the same list at once.

Between the list verb and the encoder. A server that comes back is asked for everything by
everybody; copying a large list together again for each of them costs more than sending it. Laws:
a body is given out only while the cluster is at the very revision it was made at; what is held is
bounded and let go after a moment, so that bytes are not kept twice while nobody asks.
"""

from __future__ import annotations

import asyncio

HOLD_S = 2.0
SMALL_BYTES = 64 << 10
LIMIT_BYTES = 64 << 20

Key = tuple[object, ...]


class ListBodies:
    """Finished lists by what was asked, all of one revision."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._revision = 0
        self._bodies: dict[Key, bytes] = {}
        self._size_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._bodies)

    def get(self, revision: int, key: Key) -> bytes | None:
        return self._bodies.get(key) if revision == self._revision else None

    def put(self, revision: int, key: Key, body: bytes) -> None:
        """Hold a body made at ``revision``; small ones are made anew as quickly."""
        if len(body) < SMALL_BYTES or len(body) > self._limit_bytes:
            return
        if revision != self._revision or self._size_bytes + len(body) > self._limit_bytes:
            self.clear()
        self._revision = revision
        self._size_bytes += len(body)
        self._bodies[key] = body
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HOLD_S, self._let_go)

    def clear(self) -> None:
        """Let everything go."""
        self._bodies.clear()
        self._size_bytes = 0

    def stop(self) -> None:
        """Let everything go, and the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.clear()

    def _let_go(self) -> None:
        self._timer = None
        self.clear()
