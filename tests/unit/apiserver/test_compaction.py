"""How long the past stays readable."""

from __future__ import annotations

import asyncio

import pytest

from kutter.apiserver.compaction import Compactor
from kutter.base.clock import SystemClock
from kutter.base.tasks import Scope
from kutter.store.interface import CompactedError
from kutter.store.memory import MemoryStore

PREFIX, END = "/registry/p/", "/registry/p0"


class Ticks(SystemClock):
    """Time passes by ``tick`` alone."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    async def sleep(self, delay_s: float) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    async def tick(self) -> None:
        """Let one wait end, and come back when the next one has begun."""
        while self._waiting is None:
            await asyncio.sleep(0)
        ended, self._waiting = self._waiting, None
        ended.set_result(None)
        while self._waiting is None:
            await asyncio.sleep(0)


async def test_what_was_overwritten_two_intervals_ago_is_gone_and_younger_is_not() -> None:
    store, clock = MemoryStore(), Ticks()
    async with Scope("test") as scope:
        scope.start(Compactor(store, interval_s=300, clock=clock).run(), "compaction")
        first = (await store.put("/registry/p/a", b"1")).mod_revision
        await clock.tick()
        second = (await store.put("/registry/p/a", b"2")).mod_revision
        found = await store.range(PREFIX, END, revision=first)
        assert [record.value for record in found.records] == [b"1"]
        third = (await store.put("/registry/p/a", b"3")).mod_revision
        await clock.tick()
        # What was current an interval ago is readable, what was old then is not.
        found = await store.range(PREFIX, END, revision=second)
        assert [record.value for record in found.records] == [b"2"]
        await clock.tick()
        with pytest.raises(CompactedError):
            await store.range(PREFIX, END, revision=second)
        found = await store.range(PREFIX, END, revision=third)
        assert [record.value for record in found.records] == [b"3"]
    await store.close()


async def test_a_store_that_let_go_of_more_by_itself_is_no_mishap() -> None:
    store, clock = MemoryStore(history_events=2), Ticks()
    async with Scope("test") as scope:
        task = scope.start(Compactor(store, interval_s=300, clock=clock).run(), "compaction")
        await store.put("/registry/p/a", b"0")
        await clock.tick()
        for number in range(10):
            await store.put("/registry/p/a", b"%d" % number)
        for _ in range(3):
            await clock.tick()
        assert not task.done()
    await store.close()
