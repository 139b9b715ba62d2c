"""The window of recent changes, and everyone who listens to them.

Sits between a store's commit and its watchers. Laws: events enter in order of revision without
gaps; the window is bounded by count and by bytes; what falls out raises ``oldest``; a range at
an older revision is today's range with the newer events undone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

from kutter.store.interface import (
    CompactedError,
    Event,
    EventSink,
    FutureRevisionError,
    Record,
    SlowWatcherError,
)


class HistoryWatch:
    """A watch fed by :class:`History`; see :class:`kutter.store.interface.Watch`."""

    def __init__(self, history: History, prefix: str, after: int, queue_limit: int) -> None:
        self.revision = after
        self._history = history
        self._prefix = prefix
        self._limit = queue_limit
        self._queue: deque[list[Event]] = deque()
        self._queued = 0
        self._wake = asyncio.Event()
        self._error: Exception | None = None
        self._closed = False

    def feed(self, events: list[Event], revision: int) -> None:
        """Take one commit's events. Too many waiting ends the watch."""
        mine = [e for e in events if e.revision > self.revision and e.key.startswith(self._prefix)]
        if mine:
            self._queue.append(mine)
            self._queued += len(mine)
            if self._queued > self._limit:
                self._error = SlowWatcherError(f"more than {self._limit} events waiting")
                self._queue.clear()
                self._history.drop(self)
            self._wake.set()
        elif not self._queue:
            self.revision = max(self.revision, revision)

    def __aiter__(self) -> HistoryWatch:
        return self

    async def __anext__(self) -> list[Event]:
        while not self._queue:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        batch = self._queue.popleft()
        self._queued -= len(batch)
        self.revision = batch[-1].revision
        return batch

    def close(self) -> None:
        self._closed = True
        self._history.drop(self)
        self._wake.set()


class History:
    """Recent events in order, with their listeners."""

    def __init__(self, *, max_events: int = 10_000, max_bytes: int = 32 << 20) -> None:
        self._events: deque[Event] = deque()
        self._bytes = 0
        self.max_events = max_events
        self._max_bytes = max_bytes
        # Told in the order they came, so that a run can be repeated.
        self._watches: dict[HistoryWatch, None] = {}
        self._sinks: list[tuple[str, EventSink]] = []
        self.revision = 1  # newest acknowledged
        self.oldest = 1  # oldest revision that can still be read or watched from

    def restore(self, events: Iterable[Event], *, revision: int, oldest: int) -> None:
        """Fill the window at start, before anyone listens."""
        self.revision = revision
        self.oldest = oldest
        for event in events:
            self._remember(event)
        self._trim()

    def publish(self, events: list[Event]) -> None:
        """Remember one commit's events and hand them to every listener."""
        for event in events:
            self._remember(event)
        self.revision = events[-1].revision
        self._trim()
        for prefix, sink in self._sinks:
            mine = [e for e in events if e.key.startswith(prefix)]
            if mine:
                sink(mine, self.revision)
        for watch in tuple(self._watches):
            watch.feed(events, self.revision)

    def _remember(self, event: Event) -> None:
        self._events.append(event)
        self._bytes += len(event.value)

    def _trim(self) -> None:
        while self._events and (
            len(self._events) > self.max_events or self._bytes > self._max_bytes
        ):
            dropped = self._events.popleft()
            self._bytes -= len(dropped.value)
            self.oldest = dropped.revision

    def forget_before(self, revision: int) -> None:
        """Compact: events up to ``revision`` can no longer be replayed."""
        while self._events and self._events[0].revision <= revision:
            self._bytes -= len(self._events.popleft().value)
        self.oldest = max(self.oldest, revision)

    def check(self, revision: int, newest: int) -> None:
        """Raise when ``revision`` is outside what can be read or watched from."""
        if revision > newest:
            raise FutureRevisionError(revision, newest)
        if revision < self.oldest:
            raise CompactedError(revision, self.oldest)

    def value_at(self, revision: int) -> bytes | None:
        """What the put of ``revision`` wrote, if that is still remembered."""
        events = self._events
        if not events:
            return None
        place = revision - events[0].revision
        if not 0 <= place < len(events):
            return None
        event = events[place]
        return event.value if event.kind == "put" else None

    def since(self, revision: int) -> list[Event]:
        """Events newer than ``revision``, in order."""
        if not self._events or self._events[-1].revision <= revision:
            return []
        # Revisions have no gaps, so the place of one is known.
        start = max(0, revision + 1 - self._events[0].revision)
        return list(islice(self._events, start, None))

    def rewind(
        self,
        records: list[Record],
        start: str,
        end: str,
        *,
        read_at: int,
        revision: int,
        value_at: Callable[[int], bytes] | None = None,
    ) -> list[Record]:
        """Turn a range read at ``read_at`` into the range as it was at ``revision``.

        ``value_at`` is asked for values that were not at hand when they were changed.
        """
        table = {r.key: r for r in records}
        for event in reversed(self.since(revision)):
            if event.revision > read_at or not start <= event.key < end:
                continue
            if event.kind == "put" and not event.previous_revision:
                table.pop(event.key, None)
            elif event.kind == "delete":
                table[event.key] = Record(
                    event.key, event.value, event.create_revision, event.previous_revision
                )
            else:
                before = event.previous
                if before is None:
                    assert value_at is not None, "who leaves values out knows where they are"
                    before = value_at(event.previous_revision)
                table[event.key] = Record(
                    event.key, before, event.create_revision, event.previous_revision
                )
        return [table[key] for key in sorted(table)]

    def watch(self, prefix: str, after: int, queue_limit: int, newest: int) -> HistoryWatch:
        """A watch that starts with the remembered events after ``after``."""
        self.check(after, newest)
        watch = HistoryWatch(self, prefix, after, queue_limit)
        backlog = self.since(after)
        if backlog:
            watch.feed(backlog, self.revision)
        self._watches[watch] = None
        return watch

    def drop(self, watch: HistoryWatch) -> None:
        self._watches.pop(watch, None)

    def subscribe(self, prefix: str, sink: EventSink) -> None:
        self._sinks.append((prefix, sink))

    def unsubscribe(self, sink: EventSink) -> None:
        self._sinks = [(p, s) for p, s in self._sinks if s != sink]

    def close(self) -> None:
        """End every watch."""
        for watch in tuple(self._watches):
            watch.close()
