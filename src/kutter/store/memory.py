"""The store in memory: for tests and throw-away clusters. Durable means: in the dict."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort

from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.store.expiry import Expiry
from kutter.store.history import History, HistoryWatch
from kutter.store.interface import (
    Event,
    EventSink,
    RangeResult,
    Record,
    WriteConflictError,
)


class MemoryStore:
    """See :class:`kutter.store.interface.Store`."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK, history_events: int = 10_000) -> None:
        self._records: dict[str, Record] = {}
        self._keys: list[str] = []
        self._history = History(max_events=history_events)
        self._clock = clock
        self._expiry = Expiry(clock, self._expire)
        self._expiry_task: asyncio.Task[None] | None = None

    @property
    def revision(self) -> int:
        return self._history.revision

    @property
    def oldest_revision(self) -> int:
        return self._history.oldest

    @property
    def size_bytes(self) -> int:
        return 0

    async def get(self, key: str, *, revision: int = 0) -> Record | None:
        if revision:
            found = await self.range(key, key + "\0", revision=revision)
            return found.records[0] if found.records else None
        return self._records.get(key)

    async def range(
        self, start: str, end: str, *, revision: int = 0, limit: int = 0
    ) -> RangeResult:
        low, high = bisect_left(self._keys, start), bisect_left(self._keys, end)
        if not revision or revision == self.revision:
            top = min(high, low + limit) if limit else high
            records = [self._records[k] for k in self._keys[low:top]]
            return RangeResult(records, self.revision, high - top)
        self._history.check(revision, self.revision)
        records = self._history.rewind(
            [self._records[k] for k in self._keys[low:high]],
            start,
            end,
            read_at=self.revision,
            revision=revision,
        )
        shown = records[:limit] if limit else records
        return RangeResult(shown, self.revision, len(records) - len(shown))

    async def count(self, start: str, end: str) -> int:
        return bisect_left(self._keys, end) - bisect_left(self._keys, start)

    async def put(
        self, key: str, value: bytes, *, expected: int | None = None, ttl_s: float | None = None
    ) -> Record:
        old = self._records.get(key)
        if expected is not None and expected != (old.mod_revision if old else 0):
            raise WriteConflictError(key, old)
        revision = self.revision + 1
        record = Record(key, value, old.create_revision if old else revision, revision)
        self._records[key] = record
        if old is None:
            insort(self._keys, key)
        if ttl_s is not None:
            self._start_expiry()
            self._expiry.add(key, revision, self._clock.now().timestamp() + ttl_s)
        self._history.publish(
            [
                Event(
                    "put",
                    key,
                    value,
                    old.value if old else None,
                    record.create_revision,
                    revision,
                    old.mod_revision if old else 0,
                )
            ]
        )
        return record

    async def delete(
        self, key: str, *, expected: int | None = None, last: bytes | None = None
    ) -> tuple[Record, int] | None:
        old = self._records.get(key)
        if old is None:
            if expected:
                raise WriteConflictError(key, None)
            return None
        if expected is not None and expected != old.mod_revision:
            raise WriteConflictError(key, old)
        if last is not None:
            old = await self.put(key, last)
        del self._records[key]
        del self._keys[bisect_left(self._keys, key)]
        revision = self.revision + 1
        self._history.publish(
            [Event("delete", key, old.value, None, old.create_revision, revision, old.mod_revision)]
        )
        return old, revision

    def watch(self, prefix: str, *, after: int, queue_limit: int = 10_000) -> HistoryWatch:
        return self._history.watch(prefix, after, queue_limit, self.revision)

    def subscribe(self, prefix: str, sink: EventSink) -> None:
        self._history.subscribe(prefix, sink)

    def unsubscribe(self, sink: EventSink) -> None:
        self._history.unsubscribe(sink)

    async def compact(self, revision: int, *, at_once: bool = True) -> None:
        self._history.check(revision, self.revision)
        self._history.forget_before(revision)

    async def close(self) -> None:
        if self._expiry_task is not None:
            self._expiry_task.cancel()
        self._history.close()

    def _start_expiry(self) -> None:
        if self._expiry_task is None:
            loop = asyncio.get_running_loop()
            self._expiry_task = loop.create_task(self._expiry.run(), name="store/expiry")

    async def _expire(self, key: str, revision: int) -> None:
        record = self._records.get(key)
        if record is not None and record.mod_revision == revision:
            await self.delete(key, expected=revision)
