"""The embedded store: SQLite in WAL mode, one writer thread, commits shared by waiting writes.

Two tables. ``log`` has one row per revision (a put's value, or NULL for a deletion) and is the
history; ``live`` says which revision each existing key is at. Here, on the loop, conflicts are
decided and revisions assigned, from an in-memory copy of ``live``; the writer thread
(:mod:`kutter.store.committer`) appends what has gathered and commits with fsync, and only then are
events published and writers answered. Readers use their own connection and never wait for it.

If a commit fails (full or failing disk) every write in it is answered with the error and the
in-memory copy is read again from disk: nothing unacknowledged stays visible.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import ClassVar

from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.log import get_logger
from kutter.store.committer import COMPACT_EVERY, STATEMENTS, Committer, Compact, Write
from kutter.store.expiry import Expiry
from kutter.store.history import History, HistoryWatch
from kutter.store.interface import (
    Event,
    EventSink,
    RangeResult,
    Record,
    StoreError,
    WriteConflictError,
)

_log = get_logger("store")

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    revision INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    create_revision INTEGER NOT NULL,
    previous_revision INTEGER NOT NULL,
    expires_at REAL,
    value BLOB
);
CREATE TABLE IF NOT EXISTS live (
    key TEXT PRIMARY KEY,
    revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


class SqliteStore:
    """See :class:`kutter.store.interface.Store`. Make it with :meth:`open`."""

    writes_by: ClassVar[type[Committer]] = Committer

    def __init__(
        self, path: Path, *, clock: Clock, history_events: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._path = path
        self._clock = clock
        self._loop = loop
        self._history = History(max_events=history_events)
        self._expiry = Expiry(clock, self._expire)
        self._expiry_task: asyncio.Task[None] | None = None
        self._live: dict[str, tuple[int, int]] = {}  # key -> (mod, create), unacknowledged too
        self._pending: dict[int, bytes] = {}  # revision -> value not yet committed
        self._assigned = 1
        # Decided in this turn of the loop; handed to the writer together at its end.
        self._gathered: list[Write] = []
        self._reader = self._connect()
        self._committer = self.writes_by(self._connect, loop=loop, committed=self._committed)
        self._compacting = False
        self._closed = False
        self._published: asyncio.Future[None] | None = None  # the next publication, if awaited

    @classmethod
    async def open(
        cls, path: Path, *, clock: Clock = SYSTEM_CLOCK, history_events: int = 10_000
    ) -> SqliteStore:
        """Open or create the database at ``path``. Raises OSError or StoreError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            store = cls(
                path,
                clock=clock,
                history_events=history_events,
                loop=asyncio.get_running_loop(),
            )
            store._load()
        except sqlite3.DatabaseError as error:
            raise StoreError(f"cannot open the store {path}: {error}") from error
        store._committer.start()
        store._expiry_task = store._loop.create_task(store._expiry.run(), name="store/expiry")
        return store

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            isolation_level=None,
            check_same_thread=False,
            timeout=30,
            cached_statements=STATEMENTS,
        )
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -4096")
        self._path.chmod(0o600)
        return connection

    def _load(self) -> None:
        """Read keys, recent history and expiries into memory."""
        reader = self._reader
        reader.executescript(_SCHEMA)
        meta = dict(reader.execute("SELECT name, value FROM meta"))
        if meta.setdefault("schema", SCHEMA_VERSION) != SCHEMA_VERSION:
            raise StoreError(
                f"the store {self._path} has schema {meta['schema']}, "
                f"this version of Kutter reads {SCHEMA_VERSION}"
            )
        reader.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (SCHEMA_VERSION,))
        self._committer.compacted = compacted = meta.get("compacted", 1)
        self._assigned = max(
            1,
            compacted,
            reader.execute("SELECT coalesce(max(revision), 1) FROM log").fetchone()[0],
        )
        self._load_live()
        oldest, events = self._recent_events()
        self._history.restore(events, revision=self._assigned, oldest=oldest)
        expiring = reader.execute(
            "SELECT live.key, live.revision, log.expires_at FROM live"
            " JOIN log ON log.revision = live.revision WHERE log.expires_at IS NOT NULL"
        )
        for key, revision, expires_at in expiring:
            self._expiry.add(key, revision, expires_at)

    def _load_live(self) -> None:
        rows = self._reader.execute(
            "SELECT live.key, live.revision, log.create_revision FROM live"
            " JOIN log ON log.revision = live.revision"
        )
        self._live = {key: (revision, created) for key, revision, created in rows}

    def _recent_events(self) -> tuple[int, list[Event]]:
        """(oldest revision that can be replayed, the events after it)."""
        oldest = max(self._committer.compacted, self._assigned - self._history.max_events)
        rows = self._reader.execute(
            "SELECT l.revision, l.key, l.create_revision, l.previous_revision, l.value, p.value"
            " FROM log l LEFT JOIN log p ON p.revision = l.previous_revision"
            " WHERE l.revision > ? ORDER BY l.revision",
            (oldest,),
        )
        events = []
        for revision, key, created, before, value, previous in rows:
            if value is None:
                events.append(Event("delete", key, previous, None, created, revision, before))
            else:
                events.append(Event("put", key, value, previous, created, revision, before))
        return oldest, events

    # Reading

    @property
    def revision(self) -> int:
        return self._history.revision

    @property
    def oldest_revision(self) -> int:
        return self._history.oldest

    @property
    def size_bytes(self) -> int:
        # With the write-ahead log, which is part of what a full disk has to hold.
        found = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        return sum(path.stat().st_size for path in found if path.exists())

    async def get(self, key: str, *, revision: int = 0) -> Record | None:
        if revision and revision != self.revision:
            found = await self.range(key, key + "\0", revision=revision)
            return found.records[0] if found.records else None
        row = self._reader.execute(
            "SELECT log.value, log.create_revision, log.revision FROM live"
            " JOIN log ON log.revision = live.revision WHERE live.key = ?",
            (key,),
        ).fetchone()
        return Record(key, *row) if row else None

    async def range(
        self, start: str, end: str, *, revision: int = 0, limit: int = 0
    ) -> RangeResult:
        if revision:
            self._history.check(revision, self.revision)
        if not revision or revision == self.revision:
            records, read_at, remaining = self._read_range(start, end, limit)
            await self._wait_published(read_at)
            if not revision or revision == read_at:
                return RangeResult(records, read_at, remaining)
        records, read_at, _ = self._read_range(start, end, 0)
        await self._wait_published(read_at)
        self._history.check(revision, self.revision)
        records = self._history.rewind(
            records, start, end, read_at=read_at, revision=revision, value_at=self._value_at
        )
        shown = records[:limit] if limit else records
        return RangeResult(shown, read_at, len(records) - len(shown))

    async def _wait_published(self, revision: int) -> None:
        """What was read may be committed before the loop has told the watchers of it. Whoever
        gets a revision may watch from it, so it is not handed out sooner.
        """
        while self._history.revision < revision and not self._closed:
            if self._published is None:
                self._published = self._loop.create_future()
            await asyncio.shield(self._published)

    def _read_range(self, start: str, end: str, limit: int) -> tuple[list[Record], int, int]:
        reader = self._reader
        reader.execute("BEGIN")
        try:
            read_at = reader.execute("SELECT coalesce(max(revision), 1) FROM log").fetchone()[0]
            rows = reader.execute(
                "SELECT live.key, log.value, log.create_revision, log.revision FROM live"
                " JOIN log ON log.revision = live.revision"
                " WHERE live.key >= ? AND live.key < ? ORDER BY live.key LIMIT ?",
                (start, end, limit or -1),
            ).fetchall()
            remaining = 0
            if limit and len(rows) == limit:
                total = reader.execute(
                    "SELECT count(*) FROM live WHERE key > ? AND key < ?", (rows[-1][0], end)
                )
                remaining = total.fetchone()[0]
        finally:
            reader.execute("COMMIT")
        return [Record(*row) for row in rows], max(read_at, self.revision), remaining

    async def count(self, start: str, end: str) -> int:
        row = self._reader.execute(
            "SELECT count(*) FROM live WHERE key >= ? AND key < ?", (start, end)
        ).fetchone()
        found: int = row[0]
        return found

    # Writing

    async def put(
        self, key: str, value: bytes, *, expected: int | None = None, ttl_s: float | None = None
    ) -> Record:
        mod, created = self._live.get(key, (0, 0))
        if expected is not None and expected != mod:
            raise WriteConflictError(key, await self._current(key))
        previous = self._remembered(mod) if mod else None
        revision = self._assigned + 1
        event = Event("put", key, value, previous, created or revision, revision, mod)
        expires_at = self._clock.now().timestamp() + ttl_s if ttl_s is not None else None
        self._live[key] = (revision, event.create_revision)
        self._pending[revision] = value
        await self._submit(event, expires_at)
        if expires_at is not None:
            self._expiry.add(key, revision, expires_at)
        return Record(key, value, event.create_revision, revision)

    async def delete(
        self, key: str, *, expected: int | None = None, last: bytes | None = None
    ) -> tuple[Record, int] | None:
        mod, created = self._live.get(key, (0, 0))
        if expected is not None and expected != mod:
            raise WriteConflictError(key, await self._current(key))
        if not mod:
            return None
        value = self._value_at(mod) if last is None else self._remembered(mod)
        marked: asyncio.Future[None] | None = None
        if last is not None:
            revision = self._assigned + 1
            self._pending[revision] = last
            event = Event("put", key, last, value, created, revision, mod)
            marked = self._submit(event, None)
            mod, value = revision, last
        assert value is not None, "read above, or given"
        revision = self._assigned + 1
        del self._live[key]
        event = Event("delete", key, value, None, created, revision, mod)
        done = self._submit(event, None, marked)
        await done
        return Record(key, value, created, mod), revision

    def _submit(
        self,
        event: Event,
        expires_at_s: float | None,
        done: asyncio.Future[None] | None = None,
    ) -> asyncio.Future[None]:
        """Hand a decided write to the writer; wait for the answer.

        ``done``: that of another write of this turn of the loop, which shares its commit whatever
        comes. A caller that is cancelled does not cancel the write: it is on its way to the disk.
        """
        if self._closed:
            raise StoreError("the store is closed")
        self._assigned = event.revision
        if done is None:
            done = self._loop.create_future()
        gathered = self._gathered
        if not gathered:
            self._loop.call_soon(self._hand_over)
        gathered.append(Write(event, expires_at_s, done))
        return done

    def _hand_over(self) -> None:
        """Give the writer what this turn of the loop has decided: one commit, not one for each.

        The writer is woken once, and not while the loop is in the middle of its requests.
        """
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._committer.write(gathered)

    async def _current(self, key: str) -> Record | None:
        """What is at ``key`` now, committed or about to be."""
        mod, created = self._live.get(key, (0, 0))
        return Record(key, self._value_at(mod), created, mod) if mod else None

    def _remembered(self, revision: int) -> bytes | None:
        """What ``revision`` wrote, if it is at hand: asking SQLite holds up the loop.

        Whoever changes an object that was not changed for long would ask for each. The value is
        needed only to undo the change for somebody who reads the past, and it is in the log for as
        long as that is possible.
        """
        pending = self._pending.get(revision)
        return pending if pending is not None else self._history.value_at(revision)

    def _value_at(self, revision: int) -> bytes:
        remembered = self._remembered(revision)
        if remembered is not None:
            return remembered
        row = self._reader.execute(
            "SELECT value FROM log WHERE revision = ?", (revision,)
        ).fetchone()
        value: bytes = row[0]
        return value

    async def _expire(self, key: str, revision: int) -> None:
        if self._live.get(key, (0, 0))[0] == revision and not self._closed:
            try:
                await self.delete(key, expected=revision)
            except WriteConflictError:
                return  # renewed in between

    def _committed(self, batch: list[Write], error: Exception | None) -> None:
        """On the loop: publish and acknowledge, or take everything back."""
        if error is not None:
            self._roll_back(batch, error)
            return
        for write in batch:
            self._pending.pop(write.event.revision, None)
        self._history.publish([write.event for write in batch])
        if self._published is not None:
            self._published.set_result(None)
            self._published = None
        for write in batch:
            if not write.done.done():
                write.done.set_result(None)
        self._maybe_compact()

    def _roll_back(self, batch: list[Write], error: Exception) -> None:
        """Fail this batch and everything queued behind it, which was decided on top of it."""
        _log.error("commit failed", writes=len(batch), error=str(error))
        failed = list(batch)
        self._hand_over()
        failed += self._committer.take_back(error)
        self._pending.clear()
        self._load_live()
        newest = self._reader.execute("SELECT coalesce(max(revision), 1) FROM log").fetchone()[0]
        self._assigned = max(newest, self._history.revision)
        for write in failed:
            if not write.done.done():
                write.done.set_exception(OSError(f"the store could not write: {error}"))
        self._committer.go_on()

    # Compaction

    def _maybe_compact(self) -> None:
        """Compact by itself once enough has fallen out of the window."""
        if self._compacting or self._history.oldest - self._committer.compacted < COMPACT_EVERY:
            return
        self._compacting = True
        done: asyncio.Future[None] = self._loop.create_future()
        done.add_done_callback(self._compaction_done)
        self._committer.compact(Compact(self._history.oldest, done))

    def _compaction_done(self, done: asyncio.Future[None]) -> None:
        self._compacting = False
        if not done.cancelled() and done.exception() is not None:
            _log.error("compaction failed", error=str(done.exception()))

    async def compact(self, revision: int, *, at_once: bool = True) -> None:
        self._history.check(revision, self.revision)
        self._history.forget_before(revision)
        done: asyncio.Future[None] = self._loop.create_future()
        self._hand_over()
        self._committer.compact(Compact(revision, done, at_once))
        await done

    # Watching

    def watch(self, prefix: str, *, after: int, queue_limit: int = 10_000) -> HistoryWatch:
        return self._history.watch(prefix, after, queue_limit, self.revision)

    def subscribe(self, prefix: str, sink: EventSink) -> None:
        self._history.subscribe(prefix, sink)

    def unsubscribe(self, sink: EventSink) -> None:
        self._history.unsubscribe(sink)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._expiry_task is not None:
            self._expiry_task.cancel()
        self._hand_over()
        self._committer.stop()
        await asyncio.to_thread(self._committer.join)
        # The thread's last acknowledgements are callbacks of this loop; let them run.
        await asyncio.sleep(0)
        if self._published is not None:
            self._published.set_result(None)
            self._published = None
        self._history.close()
        self._reader.close()
