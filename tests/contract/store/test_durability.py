"""What only a store on disk must keep: acknowledged writes over restarts, crashes and errors."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from kutter.store import committer
from kutter.store.committer import Committer
from kutter.store.durable import SqliteStore
from kutter.store.interface import StoreError


async def test_everything_is_there_after_reopening(tmp_path):
    path = tmp_path / "s.sqlite"
    store = await SqliteStore.open(path)
    first = await store.put("/registry/p/a", b"1")
    await store.put("/registry/p/b", b"1")
    await store.delete("/registry/p/b")
    await store.put("/registry/p/a", b"2")
    revision = store.revision
    await store.close()

    again = await SqliteStore.open(path)
    assert again.revision == revision
    found = await again.get("/registry/p/a")
    assert found is not None
    assert (found.value, found.create_revision) == (b"2", first.mod_revision)
    watch = again.watch("/registry/p/", after=first.mod_revision)
    batch = await anext(aiter(watch))
    assert [(e.kind, e.value) for e in batch] == [("put", b"1"), ("delete", b"1"), ("put", b"2")]
    assert batch[-1].previous == b"1"
    await again.close()


async def test_revisions_never_go_back_after_compaction_and_reopening(tmp_path):
    path = tmp_path / "s.sqlite"
    store = await SqliteStore.open(path)
    await store.put("/registry/p/a", b"1")
    await store.delete("/registry/p/a")
    revision = store.revision
    await store.compact(revision)
    await store.close()
    again = await SqliteStore.open(path)
    assert (await again.put("/registry/p/a", b"2")).mod_revision == revision + 1
    await again.close()


async def test_the_file_does_not_grow_without_bound(tmp_path):
    path = tmp_path / "s.sqlite"
    store = await SqliteStore.open(path, history_events=100)
    value = b"x" * 2000
    for _ in range(120):
        await asyncio.gather(*(store.put(f"/registry/p/{n}", value) for n in range(50)))
    await store.compact(store.revision - 1)
    rows = sqlite3.connect(path).execute("SELECT count(*) FROM log").fetchone()[0]
    assert rows <= 60
    await store.close()


async def test_a_failed_commit_is_told_and_leaves_nothing_behind(tmp_path):
    store = await SqliteStore.open(tmp_path / "s.sqlite")
    await store.put("/registry/p/a", b"1")
    breaker = sqlite3.connect(tmp_path / "s.sqlite")
    breaker.execute(
        "CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT raise(ABORT, 'full'); END"
    )
    breaker.commit()
    results = await asyncio.gather(
        *(store.put(f"/registry/p/{n}", b"2") for n in range(5)), return_exceptions=True
    )
    assert all(isinstance(r, OSError) for r in results)
    assert await store.get("/registry/p/0") is None
    breaker.execute("DROP TRIGGER full")
    breaker.commit()
    breaker.close()
    record = await store.put("/registry/p/0", b"3", expected=0)
    assert record.mod_revision == store.revision
    await store.close()


async def test_a_newer_schema_is_refused_by_name(tmp_path):
    path = tmp_path / "s.sqlite"
    store = await SqliteStore.open(path)
    await store.close()
    db = sqlite3.connect(path)
    db.execute("UPDATE meta SET value = 99 WHERE name = 'schema'")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="schema 99"):
        await SqliteStore.open(path)


_WRITER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from kutter.store.durable import SqliteStore
    async def main():
        store = await SqliteStore.open(Path(sys.argv[1]))
        async def one(w):
            for i in range(100000):
                r = await store.put(f"/registry/w{w}/{i % 50}", b"%d" % i)
                sys.stdout.write(f"{r.key} {i} {r.mod_revision}\\n"); sys.stdout.flush()
        await asyncio.gather(*(one(w) for w in range(8)))
    asyncio.run(main())
""")


async def test_kill_9_loses_no_acknowledged_write(tmp_path):
    path = tmp_path / "s.sqlite"
    for round_number in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        assert process.stdout is not None
        acknowledged = {}
        for _ in range(300 + 200 * round_number):
            key, number, revision = process.stdout.readline().split()
            acknowledged[key] = (int(number), int(revision))
        process.send_signal(signal.SIGKILL)
        for line in process.stdout.read().splitlines():
            if len(line.split()) == 3:
                key, number, revision = line.split()
                acknowledged[key] = (int(number), int(revision))
        process.wait()
        store = await SqliteStore.open(path)
        for key, (number, revision) in acknowledged.items():
            found = await store.get(key)
            assert found is not None
            assert found.mod_revision >= revision, (key, number)
        assert store.revision >= max(r for _, r in acknowledged.values())
        await store.close()


async def test_a_range_is_never_ahead_of_what_watchers_were_told(tmp_path):
    """Between a commit and its publication a reader could see the future: a list of it could not
    be watched from, and a list at a revision had younger things in it."""
    store = await SqliteStore.open(tmp_path / "s.sqlite")
    await store.put("/registry/p/a", b"1")
    before = store.revision
    write = asyncio.ensure_future(store.put("/registry/p/a", b"2"))
    for _ in range(2):  # decided in one turn of the loop, with the writer thread after it
        await asyncio.sleep(0)
    other = sqlite3.connect(tmp_path / "s.sqlite")
    committed = "SELECT max(revision) FROM log"
    while other.execute(committed).fetchone()[0] == before:
        pass  # the loop is held, so that the commit cannot be published
    other.close()
    assert store.revision == before
    at_before = await store.range("/registry/", "/registry0", revision=before)
    assert [(r.value, r.mod_revision) for r in at_before.records] == [(b"1", before)]
    found = await store.range("/registry/", "/registry0")
    store.watch("/registry/", after=found.revision).close()
    assert found.records[0].value == b"2"
    await write
    await store.close()


async def test_compaction_goes_in_slices_within_others_commits(tmp_path):
    """However much falls out of the window at once, no commit waits for all of it."""

    slices: list[int] = []

    class Counting(SqliteStore):
        class writes_by(Committer):  # noqa: N801
            def _compact_slice(self, writer):
                low = self.compacted
                high = super()._compact_slice(writer)
                slices.append(high - low)
                return high

    store = await Counting.open(tmp_path / "store.sqlite", history_events=100)
    try:
        for round_ in range(4):
            value = b"%d" % round_
            await asyncio.gather(*(store.put(f"/registry/a/{i}", value) for i in range(1500)))
        async with asyncio.timeout(30):
            while store._committer.compacted < store.revision - 100 - committer.COMPACT_EVERY:
                await store.put("/registry/b", b"x")
        assert slices
        assert max(slices) <= committer.COMPACT_SLICE
        assert await store.count("/registry/a/", "/registry/a0") == 1500
    finally:
        await store.close()
    again = await SqliteStore.open(tmp_path / "store.sqlite")
    try:
        found = await again.range("/registry/a/", "/registry/a0")
        assert {r.value for r in found.records} == {b"3"}
        with sqlite3.connect(tmp_path / "store.sqlite") as check:
            rows = check.execute("SELECT count(*) FROM log").fetchone()[0]
        assert rows <= 1501 + 100 + committer.COMPACT_EVERY * 2
    finally:
        await again.close()


async def test_a_compaction_that_fails_takes_no_write_with_it(tmp_path):
    class Failing(SqliteStore):
        class writes_by(Committer):  # noqa: N801
            def _compact_slice(self, writer):
                raise sqlite3.OperationalError("cannot tidy")

    store = await Failing.open(tmp_path / "store.sqlite", history_events=10)
    try:
        for number in range(20):
            await store.put("/registry/a", b"%d" % number)
        compacting = asyncio.ensure_future(store.compact(store.revision - 5))
        written = await store.put("/registry/a", b"last")
        with pytest.raises(OSError, match="cannot tidy"):
            await compacting
        assert (await store.get("/registry/a")) == written
    finally:
        await store.close()
