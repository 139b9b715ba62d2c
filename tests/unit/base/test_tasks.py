"""Work that becomes a task only when it has to wait."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from kutter.base.tasks import Scope

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="outside")


async def started(scope: Scope, make) -> asyncio.Task[None] | None:
    """``start_now`` where it belongs: in a callback of the loop, not in a task."""
    loop = asyncio.get_running_loop()
    found = loop.create_future()

    def call() -> None:
        try:
            found.set_result(scope.start_now(make(), "work"))
        except Exception as error:
            found.set_exception(error)

    loop.call_soon(call)
    return await found


async def test_what_never_waits_is_done_at_once_and_no_task():
    seen = []

    async def work() -> None:
        assert asyncio.current_task() is not None
        async with asyncio.timeout(1):
            seen.append("done")

    async with Scope("test") as scope:
        assert await started(scope, work) is None
    assert seen == ["done"]


async def test_what_waits_goes_on_as_a_task():
    gate = asyncio.Event()
    seen = []

    async def work() -> None:
        NAME.set("inside")
        seen.append("before")
        await gate.wait()
        seen.append(NAME.get())
        await asyncio.sleep(0)
        seen.append("after")

    async with Scope("test") as scope:
        task = await started(scope, work)
        assert task is not None
        assert seen == ["before"]
        assert NAME.get() == "outside"
        gate.set()
        await task
    assert seen == ["before", "inside", "after"]


async def test_a_time_out_begun_before_the_first_wait_ends_it():
    async def work() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.get_running_loop().create_future()

    async with Scope("test") as scope:
        task = await started(scope, work)
        assert task is not None
        await task
        assert not task.cancelling()


async def test_a_task_group_begun_before_the_first_wait_sees_its_child_fail():
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("child")

    async def work() -> None:
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.get_running_loop().create_future()

    async with Scope("test") as scope:
        task = await started(scope, work)
        assert task is not None
        await task


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_cancelling_cancels_what_is_waited_for(turns: int):
    waiting = asyncio.get_running_loop().create_future()
    seen = []

    async def work() -> None:
        try:
            await waiting
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async with Scope("test") as scope:
        task = await started(scope, work)
        assert task is not None
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert seen == ["cancelled"]
    assert waiting.cancelled()


async def test_an_error_before_the_first_wait_is_the_callers():
    async def work() -> None:
        raise ValueError("early")

    async with Scope("test") as scope:
        with pytest.raises(ValueError, match="early"):
            await started(scope, work)


async def test_an_error_later_is_the_scopes():
    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        async with Scope("test") as scope:
            await started(scope, work)
            await scope.wait_failed()


async def test_a_closing_scope_starts_nothing():
    async def work() -> None:
        raise AssertionError("started")

    scope = Scope("test")
    await scope.close()
    with pytest.raises(RuntimeError, match="closing"):
        await started(scope, work)
