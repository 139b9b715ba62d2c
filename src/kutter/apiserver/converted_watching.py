"""Watches of a version whose objects have to be converted, which may take a while.

Between :mod:`kutter.apiserver.watching` and a :class:`Converter`. Laws: a watch's order is that
of the changes, however long one of them takes to convert; each stream waits for its own changes,
so a slow webhook holds up nobody else; what cannot be converted ends the watch with the error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from kutter.api.errors import ApiError
from kutter.apiserver.cache import CacheEvent, Entry, ResourceCache
from kutter.apiserver.converting import Converter, convert_events, ready_event
from kutter.apiserver.encoders import Encoder
from kutter.apiserver.selection import Selection
from kutter.apiserver.watching import (
    BUFFER_LIMIT_BYTES,
    Broadcaster,
    Watcher,
    error_frame,
    render,
)
from kutter.base.coarse_timers import CoarseTimers

# Changes converted at once; the first of a long list are on their way while others are made.
BATCH = 500


class ConvertingWatcher(Watcher):
    """A watcher that holds changes until its stream has had them converted."""

    __slots__ = ("_converter", "_converting", "_pending", "_pending_bytes")

    def __init__(
        self, selection: Selection, encoder: Encoder, revision: int, converter: Converter
    ) -> None:
        super().__init__(selection, encoder, revision)
        self._converter = converter
        self._converting = False
        # Changes, and the revision the initial state ends at, which has its place among them.
        self._pending: deque[CacheEvent | int] = deque()
        self._pending_bytes = 0

    @property
    def behind(self) -> bool:
        return bool(self._pending) or self._converting

    def start(self, initial: list[Entry] | None, history: Iterable[CacheEvent], end: int) -> None:
        for entry in initial or ():
            self._pending.append(CacheEvent("ADDED", entry, None, entry.revision))
        self._pending.extend(history)
        if end:
            self._pending.append(end)

    def hold(self, event: CacheEvent) -> None:
        """Take a change that is not converted yet."""
        self._pending.append(event)
        self._pending_bytes += len(event.current.tail)
        if self._pending_bytes > BUFFER_LIMIT_BYTES:
            self.close()
        self._wake()

    def close(self) -> None:
        self._pending.clear()
        super().close()

    async def take(self, timeout_s: float, timers: CoarseTimers | None = None) -> bytes:
        if self._buffer or not self._pending:
            return await super().take(timeout_s, timers)
        self._converting = True
        try:
            return await self._convert()
        except ApiError as error:
            self.close()
            return error_frame(error, self.encoder)
        finally:
            self._converting = False

    async def _convert(self) -> bytes:
        batch: list[CacheEvent] = []
        end = 0
        while self._pending and len(batch) < BATCH and not end:
            item = self._pending.popleft()
            if isinstance(item, int):
                end = item
            else:
                batch.append(item)
        if not self._pending:
            self._pending_bytes = 0
        selection = self.selection
        events = await convert_events(self._converter, batch, selects=selection.selects)
        frames = []
        for event in events:
            type = selection.seen_as(event)
            if type is not None:
                frames.append(render(self.encoder, type, event))
        if end:
            frames.append(self.end_frame(end))
        return b"".join(frames)


class ConvertingBroadcaster(Broadcaster):
    """The watchers of one version. What is converted already is shared, as ever."""

    def __init__(self, cache: ResourceCache, converter: Converter) -> None:
        super().__init__(cache)
        self._converter = converter

    def watcher(self, selection: Selection, encoder: Encoder, revision: int) -> Watcher:
        return ConvertingWatcher(selection, encoder, revision, self._converter)

    def _take(self, event: CacheEvent) -> None:
        if not self._count:
            return
        ready = ready_event(self._converter, event, selects=True)
        prompt: list[Watcher] = []
        for watcher in self._each():
            assert isinstance(watcher, ConvertingWatcher), "made by this broadcaster"
            if ready is not None and not watcher.behind:
                prompt.append(watcher)
            elif not watcher.closed:
                watcher.hold(event)
        if ready is not None and prompt:
            self._offer(ready, prompt)
