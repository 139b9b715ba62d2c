"""A commit's changes reach a watcher in order, once each, and as one piece if it keeps up."""

from __future__ import annotations

import asyncio

import pytest

from kutter.api.catalog import Catalog
from kutter.apiserver import watching
from kutter.apiserver.cache import ResourceCache
from kutter.apiserver.watching import Broadcaster
from kutter.store.interface import Event


class Everything:
    """A selection of all there is."""

    namespace = ""
    select = None

    def exact(self, field):
        return None

    def seen_as(self, event):
        return event.type


class Names:
    """Frames that say what happened to whom."""

    key = "names"

    def encode(self, entry):
        return entry.name.encode()

    def frame(self, type, encoded):
        return b"%s %s;" % (type.encode(), encoded)


@pytest.fixture
def cache():
    found = Catalog().find_group_resource("", "configmaps")
    assert found is not None
    return ResourceCache(found)


def change(cache, name, revision):
    value = cache.head + b'"metadata":{"name":"%s"}}' % name.encode()
    event = Event("put", f"{cache.prefix}d/{name}", value, None, revision, revision, 0)
    cache.apply(event)


def commit(cache, *names, start=1):
    cache.batch.begin()
    for revision, name in enumerate(names, start):
        change(cache, name, revision)
    cache.batch.end()


async def reading(watcher, sent, *, keeps_up=True):
    """A stream that waits for the watcher, and whose transport takes what it is handed."""

    def take(data):
        if data is None or not keeps_up:
            return False
        sent.append(data)
        return True

    watcher.hand_over = take
    task = asyncio.ensure_future(watcher.take(20))
    await asyncio.sleep(0)
    return task


async def test_a_commit_is_one_piece(cache):
    broadcaster = Broadcaster(cache)
    watchers = [broadcaster.watcher(Everything(), Names(), 0) for _ in range(2)]
    sent = [[], []]
    tasks = []
    for watcher, taken in zip(watchers, sent, strict=True):
        broadcaster.add(watcher)
        tasks.append(await reading(watcher, taken))
    commit(cache, "a", "b", "a")
    assert sent == [[b"ADDED a;ADDED b;MODIFIED a;"]] * 2
    # Equal pieces are the same bytes: framed once, too.
    assert sent[0][0] is sent[1][0]
    change(cache, "c", 4)
    assert sent[0][1:] == [b"ADDED c;"]
    assert broadcaster.sent == 8
    for task in tasks:
        task.cancel()


async def test_a_piece_is_bounded(cache, monkeypatch):
    monkeypatch.setattr(watching, "_PIECE_BYTES", 20)
    broadcaster = Broadcaster(cache)
    watcher, sent = broadcaster.watcher(Everything(), Names(), 0), []
    broadcaster.add(watcher)
    task = await reading(watcher, sent)
    commit(cache, "a", "b", "c", "d" * 30, "e")
    assert sent == [b"ADDED a;ADDED b;", b"ADDED c;", b"ADDED %s;" % (b"d" * 30), b"ADDED e;"]
    task.cancel()


async def test_who_does_not_keep_up_holds_the_frames_of_all(cache):
    """Copies of their own would be memory for each of a thousand slow watchers."""
    broadcaster = Broadcaster(cache)
    slow, idle = (broadcaster.watcher(Everything(), Names(), 0) for _ in range(2))
    broadcaster.add(slow)
    broadcaster.add(idle)
    commit(cache, "a", "b")
    assert slow._buffer == [b"ADDED a;", b"ADDED b;"]
    assert all(x is y for x, y in zip(slow._buffer, idle._buffer, strict=True))
    assert await slow.take(20) == b"ADDED a;ADDED b;"


async def test_a_transport_that_is_full_leaves_the_order(cache):
    broadcaster = Broadcaster(cache)
    watcher, sent = broadcaster.watcher(Everything(), Names(), 0), []
    broadcaster.add(watcher)
    task = await reading(watcher, sent, keeps_up=False)
    commit(cache, "a", "b")
    change(cache, "c", 3)
    assert await task == b"ADDED a;ADDED b;ADDED c;"
    assert sent == []


async def test_what_is_cut_off_within_a_commit_is_told_no_more(cache, monkeypatch):
    monkeypatch.setattr(watching, "BUFFER_LIMIT_BYTES", 10)
    broadcaster = Broadcaster(cache)
    watcher = broadcaster.watcher(Everything(), Names(), 0)
    broadcaster.add(watcher)
    commit(cache, "a", "b", "c")
    assert watcher.closed
    assert await watcher.take(20) == b""
