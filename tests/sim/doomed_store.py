"""The process that dies: a SQLite store, seeded writers and watchers, one seeded moment of death.

Run as ``python -m tests.sim.doomed_store FILE SEED ROUND RESUME``. Everything that happens goes to
standard output, one JSON array a line, the moment it happens. The process kills itself (SIGKILL)
before a statement of the writer's connection or right after a commit, as the seed says.

A seed does the same thing every time: the writer thread gets the writes of a wave all at once
(:class:`Gate`), it begins when the loop has nothing left to do (:func:`settled`), and where a
commit is to overlap with further writes, it waits before its COMMIT until they are decided.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import random
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from kutter.store.committer import Committer
from kutter.store.durable import SqliteStore
from kutter.store.interface import CompactedError, WriteConflictError

ROOT, END = "/registry/", "/registry0"
KEYS = [f"{ROOT}{kind}/{name}" for kind in "ab" for name in range(6)]
WAVES = 60


def tell(*what: Any) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


async def settled() -> None:
    """The loop has run all that followed from what it knows; it waits for the writer now."""
    for _ in range(40):
        await asyncio.sleep(0)


def wait_settled(loop: asyncio.AbstractEventLoop) -> None:
    """From the writer's thread."""
    asyncio.run_coroutine_threadsafe(settled(), loop).result()


class Gate(queue.SimpleQueue[Any]):
    """An inbox that opens once the loop has run everything that is ready."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._held: list[Any] = []

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if not self._held:
            self._loop.call_soon(self.open)
        self._held.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if not block:
            # Whether there is nothing to do is known once nobody is about to ask for something.
            wait_settled(self._loop)
        return super().get(block, timeout)

    def open(self) -> None:
        held, self._held = self._held, []
        for item in held:
            super().put(item)


class DoomedCommitter(Committer):
    """Dies before its ``statements``-th statement or after its ``commits``-th commit.

    ``overlap`` is run on the loop before some COMMITs, which wait for it.
    """

    statements = commits = 0
    overlap: Callable[[], Awaitable[None]] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._inbox = Gate(self._loop)
        self.chance = random.Random(0)
        connect = self._connect

        def watched() -> sqlite3.Connection:
            connection = connect()
            connection.set_trace_callback(self._before_statement)
            return connection

        self._connect = watched

    def _before_statement(self, statement: str) -> None:
        if statement.startswith(("BEGIN", "PRAGMA")):
            wait_settled(self._loop)
        if statement == "COMMIT" and self.overlap is not None and self.chance.random() < 0.4:
            asyncio.run_coroutine_threadsafe(self.overlap(), self._loop).result()
        self.statements -= 1
        if self.statements == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _commit(self, writer: sqlite3.Connection, batch: Any) -> Exception | None:
        error = super()._commit(writer, batch)
        self.commits -= 1
        if self.commits == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return error


class DoomedStore(SqliteStore):
    """A store whose writer dies."""

    writes_by = DoomedCommitter


class Life:
    """One round: from opening the store to death, or to the end of the waves."""

    def __init__(self, store: SqliteStore, rng: random.Random, round_number: int) -> None:
        self.store = store
        self.rng = rng
        self.round = round_number
        self.counter = 0
        self.known: dict[str, int] = {}  # key -> the revision the writers believe in
        self.watches: dict[str, tuple[asyncio.Task[None], Any]] = {}
        self.seen: dict[str, int] = {}
        self.overlapping: list[asyncio.Task[None]] = []

    async def overlap(self) -> None:
        """Decide further writes on top of those that are being committed."""
        tasks = [asyncio.ensure_future(self.write()) for _ in range(self.rng.randrange(1, 5))]
        self.overlapping += tasks
        await settled()

    def watch(self, name: str, after: int) -> None:
        try:
            watch = self.store.watch(ROOT, after=after, queue_limit=100_000)
        except CompactedError:
            after = self.store.revision
            watch = self.store.watch(ROOT, after=after, queue_limit=100_000)
        tell("session", name, after)
        self.seen[name] = after
        self.watches[name] = (asyncio.ensure_future(self._follow(name, watch)), watch)

    async def _follow(self, name: str, watch: Any) -> None:
        async for batch in watch:
            for event in batch:
                value = event.value.decode() if event.kind == "put" else None
                tell("event", name, event.key, value, event.revision)
                self.seen[name] = event.revision

    async def unwatch(self, name: str) -> None:
        task, watch = self.watches.pop(name)
        watch.close()
        await task

    async def write(self) -> None:
        rng, key = self.rng, self.rng.choice(KEYS)
        believed = self.known.get(key, 0)
        expected = rng.choice([None, believed, believed, max(0, believed - 1)])
        deletes = rng.random() < 0.25
        self.counter += 1
        value = None if deletes else f"{self.round}.{self.counter}{'x' * rng.randrange(200)}"
        tell("write", self.counter, key, value, expected)
        number = self.counter
        try:
            if value is None:
                found = await self.store.delete(key, expected=expected)
                revision = found[1] if found else 0
                self.known[key] = 0
            else:
                record = await self.store.put(key, value.encode(), expected=expected)
                revision = self.known[key] = record.mod_revision
        except WriteConflictError as error:
            self.known[key] = error.current.mod_revision if error.current else 0
            tell("refused", number)
            return
        if revision:
            tell("acknowledged", number, revision)
        else:
            tell("refused", number)  # there was nothing to delete

    async def list(self) -> None:
        found = await self.store.range(ROOT, END)
        values = {r.key: (r.value.decode(), r.mod_revision) for r in found.records}
        tell("list", found.revision, values)

    async def live(self) -> None:
        rng = self.rng
        for _ in range(WAVES):
            await asyncio.gather(*(self.write() for _ in range(rng.randrange(1, 9))))
            while self.overlapping:
                await self.overlapping.pop()
            chance = rng.random()
            if chance < 0.15:
                name = rng.choice(sorted(self.watches))
                after = self.seen[name]
                await self.unwatch(name)
                self.watch(name, after)
            elif chance < 0.25:
                await self.list()
            elif chance < 0.3:
                oldest, newest = self.store.oldest_revision, self.store.revision
                await self.store.compact(rng.randrange(oldest, newest + 1))


async def main(file: str, seed: str, round_number: int, resume: dict[str, int]) -> None:
    rng = random.Random(f"{seed}/{round_number}")
    store = await DoomedStore.open(Path(file), history_events=rng.choice([20, 200, 10_000]))
    doomed = store._committer
    assert isinstance(doomed, DoomedCommitter)
    life = Life(store, rng, round_number)
    await life.list()
    for name in ("early", "late", "restless"):
        life.watch(name, min(resume.get(name, 1), store.revision))
    doomed.chance = random.Random(f"{seed}/{round_number}/overlaps")
    doomed.overlap = life.overlap
    if rng.random() < 0.7:
        doomed.statements = rng.randrange(1, 900)
    else:
        doomed.commits = rng.randrange(1, WAVES)
    await life.live()
    for name in list(life.watches):
        await life.unwatch(name)
    await store.close()


if __name__ == "__main__":
    sys.setswitchinterval(1000)
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])))
