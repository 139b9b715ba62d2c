"""The writer thread of the SQLite store: what is decided becomes durable, what is old goes away.

Between the loop, which decides and publishes, and the disk. Laws: writes are committed in the
order they were handed over, with fsync; a commit is shared by all that wait for one; compaction
goes along with others' commits a slice at a time, and what fails of it takes no write with it;
after a failed commit nothing is written until the loop has taken back what it decided on top of it.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kutter.store.interface import Event

BATCH_LIMIT = 1024
# Rows of one statement. Up to the first there is a statement for every number of rows, so that a
# commit is one statement; beyond, powers of two up to the second (SQLite takes 32 000 values).
_ROWS_EXACT = 64
_ROWS_MAX = 1024
# So many statements the writer's connection has to remember.
STATEMENTS = 2 * _ROWS_EXACT
# Compaction begins when this many revisions have fallen out of the window, and goes through so
# many of them at a time, within the commits of others, so that it never holds one up.
COMPACT_EVERY = 2000
COMPACT_SLICE = 250
# Pages given back to the file system at a time, and only when they are a quarter of the file:
# free pages are mostly written again soon.
_VACUUM_PAGES = 256

# The writer's own: a row of the log says what is live. One statement then does all of a commit.
_FOLLOW_LOG = """
CREATE TEMP TRIGGER follow_puts AFTER INSERT ON main.log WHEN new.value IS NOT NULL BEGIN
    INSERT INTO live VALUES (new.key, new.revision)
        ON CONFLICT (key) DO UPDATE SET revision = excluded.revision;
END;
CREATE TEMP TRIGGER follow_deletions AFTER INSERT ON main.log WHEN new.value IS NULL BEGIN
    DELETE FROM live WHERE key = new.key;
END;
"""


class Write:
    """One accepted write on its way to the disk."""

    __slots__ = ("done", "event", "expires_at_s")

    def __init__(
        self, event: Event, expires_at_s: float | None, done: asyncio.Future[None]
    ) -> None:
        self.event = event
        self.expires_at_s = expires_at_s
        self.done = done


class _Stop:
    """Nothing comes after it."""


_STOP = _Stop()


@dataclass(slots=True)
class Compact:
    """``at_once`` for somebody who waits for it; else it goes along with others' commits."""

    revision: int
    done: asyncio.Future[None]
    at_once: bool = False


def _sizes(count: int) -> Iterable[int]:
    """How many rows each of the statements takes that write ``count`` of them."""
    while count > _ROWS_EXACT:
        size = min(_ROWS_MAX, 1 << (count.bit_length() - 1))
        yield size
        count -= size
    if count:
        yield count


@lru_cache(maxsize=_ROWS_EXACT + 8)
def _insert(rows: int) -> str:
    """The statement that appends ``rows`` revisions."""
    return "INSERT INTO log VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?)"] * rows)  # noqa: S608  (no value)


class Committer:
    """Made and fed on the loop; ``committed`` is called there with each batch and its failure.

    ``connect`` opens the writer's own connection.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        loop: asyncio.AbstractEventLoop,
        committed: Callable[[list[Write], Exception | None], None],
    ) -> None:
        self._connect = connect
        self._loop = loop
        self._committed = committed
        self.compacted = 1  # how far compaction has come
        self._inbox: queue.SimpleQueue[list[Write] | Compact | _Stop] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_loop, name="store-writer", daemon=True)
        self._goals: list[Compact] = []  # the thread's: what it is compacting towards
        # Set while writes may be taken; cleared by a failed commit.
        self._sound = threading.Event()
        self._sound.set()

    # The loop's side

    def start(self) -> None:
        self._thread.start()

    def write(self, writes: list[Write]) -> None:
        """Commit these, together if nothing hinders."""
        self._inbox.put(writes)

    def compact(self, goal: Compact) -> None:
        self._inbox.put(goal)

    def stop(self) -> None:
        """Write what was handed over, then end."""
        self._inbox.put(_STOP)

    def join(self) -> None:
        """Wait for the thread's end; blocks."""
        self._thread.join()

    def take_back(self, error: Exception) -> list[Write]:
        """After a failed commit: the writes that were handed over since. Compactions fail."""
        taken: list[Write] = []
        while True:
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                return taken
            if isinstance(item, list):
                taken += item
            elif isinstance(item, Compact):
                self._answer(item.done, error)
            else:
                self._inbox.put(item)
                return taken

    def go_on(self) -> None:
        """The loop has taken back what a failed commit spoilt."""
        self._sound.set()

    # The thread

    def _write_loop(self) -> None:
        writer = self._connect()
        writer.executescript(_FOLLOW_LOG)
        item: list[Write] | Compact | _Stop | None
        try:
            while True:
                self._sound.wait()
                try:
                    item = self._inbox.get(block=not self._goals)
                except queue.Empty:
                    self._compact_some(writer)
                    continue
                if isinstance(item, list):
                    item = self._write_batch(writer, item)
                if isinstance(item, Compact):
                    self._goals.append(item)
                if isinstance(item, _Stop) or (isinstance(item, Compact) and item.at_once):
                    while self._goals:
                        self._compact_some(writer)
                if isinstance(item, _Stop):
                    return
        finally:
            writer.close()

    def _write_batch(
        self, writer: sqlite3.Connection, batch: list[Write]
    ) -> Compact | _Stop | None:
        """Commit what waits, and answer what came behind it that is no write."""
        after: Compact | _Stop | None = None
        while len(batch) < BATCH_LIMIT:
            try:
                more = self._inbox.get_nowait()
            except queue.Empty:
                break
            if isinstance(more, list):
                batch += more
                continue
            after = more
            break
        error = self._commit(writer, batch)
        if error is not None:
            self._sound.clear()
        self._loop.call_soon_threadsafe(self._committed, batch, error)
        return after

    def _commit(self, writer: sqlite3.Connection, batch: list[Write]) -> Exception | None:
        """Append the batch's revisions, durably; what is live follows by trigger."""
        rows: list[Any] = []
        for write in batch:
            kind, key, value, _, created, revision, previous_revision = write.event
            rows += (
                revision,
                key,
                created,
                previous_revision,
                write.expires_at_s,
                value if kind == "put" else None,
            )

        if len(batch) <= _ROWS_EXACT and not self._goals:
            # One statement is a transaction of its own: written and synced in a single step, in
            # which the writer does not ask for the interpreter's lock once.
            try:
                writer.execute(_insert(len(batch)), rows)
            except sqlite3.Error as failure:
                return failure
            return None

        def write_rows() -> None:
            done = 0
            for size in _sizes(len(batch)):
                end = done + 6 * size
                writer.execute(_insert(size), rows[done:end])
                done = end

        error = self._transact(writer, write_rows)
        if error is not None and self._goals:
            # It may have been the compaction's: that fails alone, the writes are tried again.
            self._give_up_compaction(error)
            error = self._transact(writer, write_rows)
        return error

    def _transact(self, writer: sqlite3.Connection, write: Callable[[], None]) -> Exception | None:
        """One commit: of what ``write`` writes and of the next slice of a compaction."""
        try:
            writer.execute("BEGIN IMMEDIATE")
            write()
            reached = self._compact_slice(writer) if self._goals else self.compacted
            writer.execute("COMMIT")
        except sqlite3.Error as error:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            return error
        self.compacted = reached
        while self._goals and self._goals[0].revision <= reached:
            self._answer(self._goals.pop(0).done, self._vacuum(writer))
        return None

    def _answer(self, done: asyncio.Future[None], error: Exception | None) -> None:
        def finish() -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(OSError(f"the store could not write: {error}"))

        self._loop.call_soon_threadsafe(finish)

    def _compact_some(self, writer: sqlite3.Connection) -> None:
        """A slice while there is nothing to write."""
        error = self._transact(writer, lambda: None)
        if error is not None:
            self._give_up_compaction(error)

    def _give_up_compaction(self, error: Exception) -> None:
        while self._goals:
            self._answer(self._goals.pop(0).done, error)

    def _compact_slice(self, writer: sqlite3.Connection) -> int:
        """Delete what was superseded in the next slice; answers the revision that reaches to."""
        low = self.compacted
        high = min(self._goals[0].revision, low + COMPACT_SLICE)
        if high <= low:
            return low
        writer.execute(
            "DELETE FROM log WHERE revision IN (SELECT previous_revision FROM log"
            " WHERE revision > ? AND revision <= ? AND previous_revision > 0)",
            (low, high),
        )
        writer.execute(
            "DELETE FROM log WHERE revision > ? AND revision <= ? AND value IS NULL"
            " AND revision < (SELECT max(revision) FROM log)",
            (low, high),
        )
        writer.execute("INSERT OR REPLACE INTO meta VALUES ('compacted', ?)", (high,))
        return high

    def _vacuum(self, writer: sqlite3.Connection) -> Exception | None:
        """Give some free pages back if they are many."""
        try:
            free = writer.execute("PRAGMA freelist_count").fetchone()[0]
            pages = writer.execute("PRAGMA page_count").fetchone()[0]
            if free * 4 > pages:
                writer.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
        except sqlite3.Error as error:
            return error
        return None
