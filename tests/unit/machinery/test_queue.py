"""The keyed queue: once in line, never twice at a time, back-off per key."""

import asyncio

from kutter.machinery.queue import WorkQueue


async def test_a_key_is_in_line_once():
    queue = WorkQueue()
    for _ in range(3):
        queue.add("a")
    assert len(queue) == 1


async def test_a_key_added_while_worked_on_comes_back_afterwards():
    queue = WorkQueue()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done(key)
    assert await queue.get() == "a"


async def test_delayed_keys_come_in_order_of_their_time():
    queue = WorkQueue()
    queue.add_after("late", 0.02)
    queue.add_after("soon", 0.001)
    queue.add_after("late", 5)  # the earlier of two waits wins
    assert [await queue.get(), await queue.get()] == ["soon", "late"]


async def test_backoff_grows_until_forgotten():
    queue = WorkQueue()
    first, second = queue.retry("a"), queue.retry("a")
    assert second > first
    queue.forget("a")
    assert queue.retry("a") < second
    queue.close()


async def test_workers_share_keys_without_overlap():
    queue = WorkQueue()
    active, overlaps, seen = set(), [], []

    async def work():
        while len(seen) < 40:
            key = await queue.get()
            if key in active:
                overlaps.append(key)
            active.add(key)
            await asyncio.sleep(0)
            if len(seen) < 20:
                queue.add(key)
            active.discard(key)
            seen.append(key)
            queue.done(key)
            if len(queue) == 0:
                queue.add(key)

    for number in range(4):
        queue.add(f"k{number}")
    async with asyncio.timeout(30):
        await asyncio.gather(*(work() for _ in range(3)), return_exceptions=True)
    assert overlaps == []
