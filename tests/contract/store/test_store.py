"""The laws of ``kutter.store.interface``, over every implementation."""

import asyncio

import pytest

from kutter.store.interface import (
    CompactedError,
    FutureRevisionError,
    SlowWatcherError,
    WriteConflictError,
    prefix_end,
)


async def test_revisions_grow_by_one_from_one(store):
    assert store.revision == 1
    first = await store.put("/registry/a/1", b"x")
    second = await store.put("/registry/a/2", b"y")
    assert (first.mod_revision, second.mod_revision) == (2, 3)
    assert store.revision == 3


async def test_get_answers_what_was_put(store):
    record = await store.put("/registry/a/1", b"x")
    assert await store.get("/registry/a/1") == record
    assert await store.get("/registry/a/2") is None


async def test_put_keeps_the_create_revision(store):
    created = await store.put("/registry/a/1", b"x")
    updated = await store.put("/registry/a/1", b"y", expected=created.mod_revision)
    assert updated.create_revision == created.mod_revision
    assert updated.mod_revision == created.mod_revision + 1


async def test_create_of_an_existing_key_conflicts_and_tells_what_is_there(store):
    record = await store.put("/registry/a/1", b"x", expected=0)
    with pytest.raises(WriteConflictError) as caught:
        await store.put("/registry/a/1", b"y", expected=0)
    assert caught.value.current == record
    assert store.revision == record.mod_revision


async def test_update_at_an_old_revision_conflicts(store):
    old = await store.put("/registry/a/1", b"x")
    await store.put("/registry/a/1", b"y")
    with pytest.raises(WriteConflictError):
        await store.put("/registry/a/1", b"z", expected=old.mod_revision)
    with pytest.raises(WriteConflictError):
        await store.delete("/registry/a/1", expected=old.mod_revision)
    found = await store.get("/registry/a/1")
    assert found is not None
    assert found.value == b"y"


async def test_update_of_a_missing_key_conflicts_with_nothing_there(store):
    with pytest.raises(WriteConflictError) as caught:
        await store.put("/registry/a/1", b"x", expected=7)
    assert caught.value.current is None


async def test_delete_answers_the_last_record(store):
    record = await store.put("/registry/a/1", b"x")
    assert await store.delete("/registry/a/1") == (record, record.mod_revision + 1)
    assert await store.get("/registry/a/1") is None
    assert await store.delete("/registry/a/1") is None


async def test_range_is_ordered_limited_and_counts_the_rest(store):
    for name in "cadb":
        await store.put(f"/registry/p/{name}", name.encode())
    await store.put("/registry/q/x", b"other")
    prefix = "/registry/p/"
    found = await store.range(prefix, prefix_end(prefix), limit=3)
    assert [r.value for r in found.records] == [b"a", b"b", b"c"]
    assert found.remaining == 1
    assert found.revision == store.revision
    assert await store.count(prefix, prefix_end(prefix)) == 4


async def test_range_at_an_older_revision_sees_what_was(store):
    prefix = "/registry/p/"
    await store.put("/registry/p/a", b"a1")
    await store.put("/registry/p/b", b"b1")
    then = store.revision
    await store.put("/registry/p/a", b"a2")
    await store.delete("/registry/p/b")
    await store.put("/registry/p/c", b"c1")
    found = await store.range(prefix, prefix_end(prefix), revision=then)
    assert [(r.key[-1], r.value) for r in found.records] == [("a", b"a1"), ("b", b"b1")]
    before = await store.get("/registry/p/b", revision=then)
    assert before is not None
    assert before.mod_revision == then


async def test_watch_replays_then_follows_in_order_exactly_once(store):
    await store.put("/registry/p/a", b"1")
    start = store.revision
    await store.put("/registry/p/a", b"2")
    watch = store.watch("/registry/p/", after=start)
    await store.put("/registry/q/x", b"other prefix")
    await store.put("/registry/p/b", b"3")
    await store.delete("/registry/p/a")
    seen = []
    async for batch in watch:
        seen += batch
        if len(seen) == 3:
            break
    assert [(e.kind, e.key[-1], e.value, e.previous) for e in seen] == [
        ("put", "a", b"2", b"1"),
        ("put", "b", b"3", None),
        ("delete", "a", b"2", None),
    ]
    assert [e.revision for e in seen] == sorted({e.revision for e in seen})
    watch.close()


async def test_sink_hears_of_a_write_before_it_is_acknowledged(store):
    heard = []
    store.subscribe("/registry/p/", lambda events, revision: heard.extend(events))
    record = await store.put("/registry/p/a", b"1")
    assert [e.revision for e in heard] == [record.mod_revision]


async def test_watch_from_a_compacted_or_future_revision_is_refused(store):
    for number in range(5):
        await store.put("/registry/p/a", b"%d" % number)
    await store.compact(store.revision - 1)
    with pytest.raises(CompactedError):
        store.watch("/registry/p/", after=2)
    with pytest.raises(FutureRevisionError):
        store.watch("/registry/p/", after=store.revision + 1)
    with pytest.raises(CompactedError):
        await store.range("/registry/p/", "/registry/p0", revision=2)
    found = await store.get("/registry/p/a")
    assert found is not None
    assert found.value == b"4"


async def test_history_is_bounded_by_itself(store):
    for number in range(300):
        await store.put("/registry/p/a", b"%d" % number)
    assert store.oldest_revision >= 100
    with pytest.raises(CompactedError):
        store.watch("/registry/p/", after=50)


async def test_slow_watcher_is_cut_off(store):
    watch = store.watch("/registry/p/", after=store.revision, queue_limit=3)
    for number in range(5):
        await store.put("/registry/p/a", b"%d" % number)
    with pytest.raises(SlowWatcherError):
        async for _ in watch:
            pass


async def test_closing_a_watch_ends_its_iteration(store):
    watch = store.watch("/registry/p/", after=store.revision)
    waiting = asyncio.ensure_future(anext(aiter(watch), None))
    await asyncio.sleep(0)
    watch.close()
    assert await waiting is None


async def test_concurrent_creates_of_one_key_have_one_winner(store):
    async def create(number: int) -> bool:
        try:
            await store.put("/registry/p/a", b"%d" % number, expected=0)
        except WriteConflictError:
            return False
        return True

    won = await asyncio.gather(*(create(n) for n in range(20)))
    assert sum(won) == 1


async def test_concurrent_writes_are_all_there(store):
    await asyncio.gather(*(store.put(f"/registry/p/{n:03}", b"v") for n in range(200)))
    found = await store.range("/registry/p/", "/registry/p0")
    assert len(found.records) == 200
    assert sorted(r.mod_revision for r in found.records) == list(range(2, 202))


async def test_a_key_with_a_time_to_live_goes_by_itself_unless_renewed(store):
    watch = store.watch("/registry/p/", after=store.revision)
    await store.put("/registry/p/renewed", b"1", ttl_s=0.05)
    await store.put("/registry/p/renewed", b"2", ttl_s=3600)
    await store.put("/registry/p/gone", b"1", ttl_s=0.05)
    async with asyncio.timeout(30):
        async for batch in watch:
            if any(e.kind == "delete" for e in batch):
                assert [e.key for e in batch if e.kind == "delete"] == ["/registry/p/gone"]
                break
    assert await store.get("/registry/p/renewed") is not None


async def test_a_last_value_and_the_deletion_come_as_two_changes_with_nothing_between(store):
    created = await store.put("/registry/a/1", b"x")
    watch = store.watch("/registry/a/", after=created.mod_revision)
    other = store.put("/registry/a/2", b"other")
    gone, _ = await asyncio.gather(
        store.delete("/registry/a/1", expected=created.mod_revision, last=b"y"), other
    )
    assert gone is not None
    record, revision = gone
    assert (record.value, record.mod_revision) == (b"y", created.mod_revision + 1)
    assert (record.create_revision, revision) == (created.mod_revision, created.mod_revision + 2)
    seen = []
    async for batch in watch:
        seen += [(e.kind, e.key[-1], e.value, e.previous, e.revision) for e in batch]
        if len(seen) == 3:
            break
    first = created.mod_revision
    assert seen == [
        ("put", "1", b"y", b"x", first + 1),
        ("delete", "1", b"y", None, first + 2),
        ("put", "2", b"other", None, first + 3),
    ]
    assert await store.get("/registry/a/1") is None


async def test_a_last_value_is_not_written_over_another_revision(store):
    old = await store.put("/registry/a/1", b"x")
    await store.put("/registry/a/1", b"y")
    with pytest.raises(WriteConflictError):
        await store.delete("/registry/a/1", expected=old.mod_revision, last=b"z")
    found = await store.get("/registry/a/1")
    assert found is not None
    assert found.value == b"y"


@pytest.mark.parametrize("count", [1, 2, 3, 31, 33, 1100, 2500])
async def test_any_number_of_writes_at_once_is_all_there(store, count):
    await asyncio.gather(*(store.put(f"/registry/a/{i:04}", b"%d" % i) for i in range(count)))
    await asyncio.gather(*(store.delete(f"/registry/a/{i:04}") for i in range(0, count, 2)))
    found = await store.range("/registry/a/", prefix_end("/registry/a/"))
    assert [r.value for r in found.records] == [b"%d" % i for i in range(1, count, 2)]


async def test_the_value_before_can_be_read_however_long_ago_it_was_written(store):
    first = await store.put("/registry/old/1", b"first")
    await asyncio.gather(*(store.put("/registry/a/1", b"%d" % i) for i in range(1200)))
    before = store.revision
    watch = store.watch("/registry/old/", after=before)
    await store.put("/registry/old/1", b"second", expected=first.mod_revision)
    (event,) = [e async for batch in _first_batch(watch) for e in batch]
    assert (event.value, event.previous_revision) == (b"second", first.mod_revision)
    # The value comes along if it is at hand; it is never another one.
    assert event.previous in (b"first", None)
    await store.delete("/registry/old/1", last=b"third")
    found = await store.range("/registry/old/", "/registry/old0", revision=before)
    assert found.records == [first]


async def _first_batch(watch):
    async for batch in watch:
        if batch:
            yield batch
            return
