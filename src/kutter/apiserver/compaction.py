"""Lets go of the past: what was there before is readable for a while, not for ever.

Between the clock and the store's history. Invariants: what was current within the last interval can
still be read; what was overwritten two intervals ago cannot. Without it a quiet cluster would keep
the history that a busy one drops by count, and a continue token would never run out there. Watches
do not notice: they start from the read caches' own history.
Upstream: the API server's flag --etcd-compaction-interval
"""

from __future__ import annotations

import contextlib

from kutter.base.clock import Clock
from kutter.store.interface import CompactedError, Store


class Compactor:
    """``run`` it for as long as the server serves."""

    def __init__(self, store: Store, *, interval_s: float, clock: Clock) -> None:
        self._store = store
        self._interval_s = interval_s
        self._clock = clock

    async def run(self) -> None:
        """Compact every interval to where the store was an interval ago. Raises OSError."""
        done, seen = 0, self._store.revision
        while True:
            await self._clock.sleep(self._interval_s)
            if seen > done:
                # A busy store may have let go of more than this by itself.
                with contextlib.suppress(CompactedError):
                    await self._store.compact(seen, at_once=False)
                done = seen
            seen = self._store.revision
