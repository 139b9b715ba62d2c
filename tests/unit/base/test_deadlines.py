from __future__ import annotations

import asyncio

import pytest

from kutter.base.deadlines import Deadlines


async def test_work_that_ends_in_time_leaves_nothing_behind():
    deadlines = Deadlines()
    for _ in range(3):
        with deadlines.within(30):
            await asyncio.sleep(0)
            assert len(deadlines) == 1
    assert len(deadlines) == 0


async def test_late_work_is_cancelled_and_told_so():
    deadlines = Deadlines()
    with pytest.raises(TimeoutError), deadlines.within(0.01):
        await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert len(deadlines) == 0


async def test_only_who_is_late_is_cancelled():
    deadlines = Deadlines()
    go_on = asyncio.Event()

    async def patient() -> str:
        with deadlines.within(60):
            await go_on.wait()
        return "done"

    async def late() -> None:
        with deadlines.within(0.02):
            await asyncio.Event().wait()

    first = asyncio.ensure_future(late())
    second = asyncio.ensure_future(patient())
    with pytest.raises(TimeoutError):
        await first
    assert len(deadlines) == 1
    go_on.set()
    assert await second == "done"


async def test_one_timer_follows_the_oldest_of_many():
    deadlines = Deadlines()

    async def late(limit_s: float) -> None:
        with deadlines.within(limit_s):
            await asyncio.Event().wait()

    found = await asyncio.gather(*(late(0.01 + n / 500) for n in range(10)), return_exceptions=True)
    assert [type(error) for error in found] == [TimeoutError] * 10


async def test_a_cancellation_from_elsewhere_stays_one():
    deadlines = Deadlines()

    async def work() -> None:
        with deadlines.within(60):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(deadlines) == 0


async def test_an_error_of_the_work_goes_through():
    deadlines = Deadlines()
    with pytest.raises(KeyError), deadlines.within(60):
        raise KeyError
    assert len(deadlines) == 0
