"""Watches: from the cache's changes to frames on the wire.

Between :class:`ResourceCache` and a watch's stream. Laws: a watcher is told each change that
concerns it once, in order; a frame is encoded once for all watchers of equal form; a watcher
that does not keep up is cut off rather than allowed to hold memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

from kutter.api.errors import ApiError
from kutter.api.protobuf import ProtobufError
from kutter.apiserver.cache import CacheEvent, Entry, EventType, ResourceCache
from kutter.apiserver.caches import BOOKMARK_GRAIN_S, Caches
from kutter.apiserver.encoders import Encoder
from kutter.apiserver.selection import Selection
from kutter.base.clock import Clock
from kutter.base.coarse_timers import CoarseHandle, CoarseTimers
from kutter.base.log import get_logger
from kutter.http.messages import Push

# Frames of one commit that go out as one piece, each a write to the socket: as large as a piece may
# be that is not copied once more.
_PIECE_BYTES = 64 << 10
# A watcher may have this many bytes waiting; the initial state does not count.
BUFFER_LIMIT_BYTES = 16 << 20
BOOKMARK_PERIOD_S = 60.0
_log = get_logger("apiserver")
_INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}
# Fields whose exact selection by many watchers is common: kubelets and single-object watches.
_INDEXED = ("spec.nodeName", "metadata.name")


def error_frame(error: ApiError, encoder: Encoder) -> bytes:
    """An ERROR event."""
    return encoder.frame("ERROR", encoder.status(error.to_status()))


class Watcher:
    """One watch's buffer. Fed synchronously, read by one stream."""

    __slots__ = (
        "_alarm",
        "_buffer",
        "_buffered",
        "_waiter",
        "closed",
        "encoder",
        "hand_over",
        "revision",
        "selection",
    )

    def __init__(self, selection: Selection, encoder: Encoder, revision: int) -> None:
        self.selection = selection
        self.encoder = encoder
        self.revision = revision  # every change up to here has been offered
        self.closed = False
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._waiter: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | CoarseHandle | None = None
        # Where frames go while the stream's reader waits; None: they wait for the reader.
        self.hand_over: Push | None = None

    @property
    def behind(self) -> bool:
        """Whether changes wait that are not frames yet."""
        return False

    def start(self, initial: list[Entry] | None, history: Iterable[CacheEvent], end: int) -> None:
        """Buffer what the watch begins with, which does not count as slowness: the state, or the
        changes since; then the bookmark that ends the state at revision ``end`` (0: none).
        """
        frame, encode = self.encoder.frame, self.encoder.encode
        chunks: list[bytes] = []
        if initial is not None:
            chunks += [frame("ADDED", encode(entry)) for entry in initial]
        for event in history:
            type = self.selection.seen_as(event)
            if type is not None:
                chunks.append(render(self.encoder, type, event))
        if end:
            chunks.append(self.end_frame(end))
        if chunks:
            self._buffer.append(b"".join(chunks))

    def end_frame(self, revision: int) -> bytes:
        """The bookmark after the initial state."""
        return self.encoder.frame("BOOKMARK", self.encoder.bookmark(revision, _INITIAL_EVENTS_END))

    def push(self, encoded: bytes) -> None:
        """Hand a frame over, at once if its reader has everything before it and keeps up."""
        hand_over, waiter = self.hand_over, self._waiter
        waits = waiter is not None and not waiter.done() and not self._buffer
        if waits and hand_over is not None and hand_over(encoded):
            return
        self._buffer.append(encoded)
        self._buffered += len(encoded)
        if self._buffered > BUFFER_LIMIT_BYTES:
            self.close()
            if hand_over is not None:
                hand_over(None)  # what it was sent and does not read is let go, too
        self._wake()

    def push_all(self, frames: list[bytes], joined: Callable[[list[bytes]], list[bytes]]) -> None:
        """As :meth:`push`, of several; ``joined`` makes few of many if they go out at once."""
        if self.hand_over is not None and self._waiter is not None and not self._waiter.done():
            frames = joined(frames)
        for frame in frames:
            if self.closed:
                break
            self.push(frame)

    def close(self) -> None:
        """End the stream; what is buffered by a slow reader is dropped."""
        self.closed = True
        self._buffer.clear()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self, timeout_s: float, timers: CoarseTimers | None = None) -> bytes:
        """All that is buffered; ``b""`` after the timeout (or sooner) or at the end.

        With ``timers`` the timeout is theirs, so a little later.
        """
        if not self._buffer and not self.closed:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            if self._alarm is None:
                # It outlives this call: most end by an event, and a timer for each is dear.
                later = loop.call_later if timers is None else timers.call_later
                self._alarm = later(timeout_s, self._ring)
            try:
                await self._waiter
            finally:
                self._waiter = None
        taken = b"".join(self._buffer) if len(self._buffer) != 1 else self._buffer[0]
        self._buffer.clear()
        self._buffered = 0
        return taken

    def _ring(self) -> None:
        self._alarm = None
        self._wake()


class Broadcaster:
    """The watchers of one resource, indexed by what they pin."""

    def __init__(self, cache: ResourceCache) -> None:
        self.cache = cache
        self._all: dict[Watcher, None] = {}
        self._pinned: dict[str, dict[str, dict[Watcher, None]]] = {f: {} for f in _INDEXED}
        self._count = 0
        # Events given to watchers, each counted for each of them.
        self.sent = 0
        # Frames of the commit that is being taken, for whom they are.
        self._gathered: dict[Watcher, list[bytes]] = {}
        cache.listeners.append(self._take)

    def __len__(self) -> int:
        return self._count

    def watcher(self, selection: Selection, encoder: Encoder, revision: int) -> Watcher:
        """A watcher of the kind this feeds; ``add`` it."""
        return Watcher(selection, encoder, revision)

    def _home(self, watcher: Watcher) -> tuple[dict[str, dict[Watcher, None]], str] | None:
        for field in _INDEXED:
            value = watcher.selection.exact(field)
            if value is not None:
                return self._pinned[field], value
        return None

    def add(self, watcher: Watcher) -> None:
        home = self._home(watcher)
        if home is None:
            self._all[watcher] = None
        else:
            home[0].setdefault(home[1], {})[watcher] = None
        self._count += 1

    def remove(self, watcher: Watcher) -> None:
        home = self._home(watcher)
        if home is None:
            found = self._all.pop(watcher, False)
        else:
            group = home[0].get(home[1], {})
            found = group.pop(watcher, False)
            if not group:
                home[0].pop(home[1], None)
        if found is None:  # dict values are None: it was there
            self._count -= 1

    def close(self) -> None:
        """End every watch (the server stops)."""
        for watcher in list(self._each()):
            watcher.close()

    def scopes(self) -> dict[str, int]:
        """How many watch everything, one namespace, one object."""
        found = {"cluster": 0, "namespace": 0, "resource": 0}
        for watcher in self._each():
            selection = watcher.selection
            if selection.exact("metadata.name") is not None:
                found["resource"] += 1
            else:
                found["namespace" if selection.namespace else "cluster"] += 1
        return found

    def _each(self) -> list[Watcher]:
        pinned = [w for index in self._pinned.values() for group in index.values() for w in group]
        return [*self._all, *pinned]

    def _concerned(self, event: CacheEvent) -> list[Watcher]:
        watchers = list(self._all)
        names = self._pinned["metadata.name"].get(event.current.name)
        if names:
            watchers += names
        by_node = self._pinned["spec.nodeName"]
        if by_node:
            select = next(iter(next(iter(by_node.values())))).selection.select
            assert select is not None
            values = {event.current.fields(select).get("spec.nodeName", "")}
            if event.previous is not None:
                values.add(event.previous.fields(select).get("spec.nodeName", ""))
            for value in values:
                watchers += by_node.get(value, ())
        return watchers

    def _take(self, event: CacheEvent) -> None:
        if self._count:
            self._offer(event, self._concerned(event))

    def _offer(self, event: CacheEvent, watchers: list[Watcher]) -> None:
        batch = self.cache.batch
        gathered = self._gathered if batch.active else None
        frames: dict[tuple[object, EventType], bytes] = {}
        for watcher in watchers:
            if watcher.closed:
                continue
            type = watcher.selection.seen_as(event)
            if type is None:
                continue
            key = (watcher.encoder.key, type)
            encoded = frames.get(key)
            if encoded is None:
                try:
                    encoded = frames[key] = render(watcher.encoder, type, event)
                except ProtobufError as error:
                    # A bug, but one watcher's: the store's feed and the others go on.
                    _log.error("no frame for a change", key=event.current.key, error=str(error))
                    watcher.close()
                    continue
            if gathered is None:
                watcher.push(encoded)
            elif (held := gathered.get(watcher)) is not None:
                held.append(encoded)
            else:
                if not gathered:
                    batch.at_end(self._deliver)
                gathered[watcher] = [encoded]
            self.sent += 1

    def _deliver(self) -> None:
        """The commit has been taken: each watcher is written to once, not for each change."""
        gathered, self._gathered = self._gathered, {}
        joined = _Joined()
        for watcher, frames in gathered.items():
            watcher.push_all(frames, joined)


class _Joined:
    """Frames as pieces. Who has the same ones as the one before shares the pieces."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._pieces: list[bytes] = []

    def __call__(self, frames: list[bytes]) -> list[bytes]:
        if len(frames) == 1:
            return frames
        # Mostly the very same bytes, which are equal without a look at them.
        if frames != self._frames:
            self._frames, self._pieces = frames, list(_pieces(frames))
        return self._pieces


def _pieces(frames: list[bytes]) -> Iterator[bytes]:
    piece: list[bytes] = []
    size = 0
    for frame in frames:
        if piece and size + len(frame) > _PIECE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(frame)
        size += len(frame)
    yield b"".join(piece)


def render(encoder: Encoder, type: EventType, event: CacheEvent) -> bytes:
    """The frame of one change as seen with ``type``."""
    entry = event.current
    if type == "DELETED" and event.type != "DELETED":
        # The object left the selection: the last state that was in it, at this revision.
        assert event.previous is not None
        entry = event.previous.moved(event.revision)
    return encoder.frame(type, encoder.encode(entry))


class WatchStream:
    """One watch from its start to its timeout, as an iterator over chunks of frames."""

    def __init__(
        self,
        broadcaster: Broadcaster,
        caches: Caches,
        watcher: Watcher,
        *,
        clock: Clock,
        timeout_s: float,
        bookmarks: bool,
    ) -> None:
        self._broadcaster = broadcaster
        self._caches = caches
        self._watcher = watcher
        self._clock = clock
        self._timeout_s = timeout_s
        self._bookmarks = bookmarks
        self._frames = self._run()
        broadcaster.add(watcher)

    def start(self, initial: list[Entry] | None, *, send_end: bool, revision: int) -> None:
        """Buffer the state (or the history) the watch begins with, without a gap before live."""
        watcher = self._watcher
        if initial is None:
            watcher.start(None, self._broadcaster.cache.history_after(watcher.revision), 0)
        else:
            watcher.start(initial, (), revision if send_end else 0)

    def __aiter__(self) -> WatchStream:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return self._frames.__anext__()

    async def _run(self) -> AsyncIterator[bytes]:
        watcher = self._watcher
        clock = self._clock
        end = clock.monotonic() + self._timeout_s
        next_bookmark = clock.monotonic() + BOOKMARK_PERIOD_S if self._bookmarks else end
        try:
            while not watcher.closed:
                now = clock.monotonic()
                if now >= end:
                    break
                # Before the end a last bookmark, so that the next watch starts from here.
                due = min(end, next_bookmark)
                timers = self._caches.bookmark_timers if due + BOOKMARK_GRAIN_S < end else None
                chunk = await watcher.take(max(0.0, due - now), timers)
                if chunk:
                    yield chunk
                elif watcher.behind:
                    # What waits is older than a bookmark would say.
                    continue
                elif self._bookmarks and not watcher.closed and clock.monotonic() >= due:
                    next_bookmark = clock.monotonic() + BOOKMARK_PERIOD_S
                    revision = self._caches.newest
                    encoder = watcher.encoder
                    yield encoder.frame("BOOKMARK", encoder.bookmark(revision, None))
        finally:
            self.close()

    def attach(self, push: Push | None) -> None:
        """See :class:`kutter.http.messages.PushStream`."""
        self._watcher.hand_over = push

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        self._broadcaster.remove(self._watcher)
        self._watcher.close()


async def single_frame(encoded: bytes) -> AsyncIterator[bytes]:
    """A stream of one frame: a watch that ends with an error."""
    yield encoded
