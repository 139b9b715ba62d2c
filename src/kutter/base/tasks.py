"""The only task spawner.

A :class:`Scope` owns the tasks started in it; a long-lived component runs through
:func:`supervise`, which restarts it with bounded back-off and counts its crashes. A bug
(``AssertionError``) is never restarted: it ends the scope and travels to the parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Self

from kutter.base.backoff import Backoff
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.log import get_logger

_log = get_logger("tasks")


class Scope:
    """A set of tasks that ends together; leaving the ``async with`` block cancels the rest.

    The first task that raises cancels its siblings and its exception is raised from
    :meth:`wait_closed` (or from the block's end).
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._closing = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
        if error is None and self._failure is not None:
            raise self._failure

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start ``work`` as a task of this scope."""
        if self._closing:
            work.close()
            raise RuntimeError(f"scope {self.name} is closing, {name} not started")
        task = asyncio.get_running_loop().create_task(work, name=f"{self.name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def start_now(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        """Run ``work`` at once, up to where it first waits; from there on it is a task.

        None when it never waited: most requests are answered without a task of their own. An
        exception before the first wait is raised here. Not to be called from inside a task.
        """
        if self._closing:
            work.close()
            raise RuntimeError(f"scope {self.name} is closing, {name} not started")
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        stand_in = _StandIn()
        _enter_task(loop, stand_in)
        try:
            awaited = context.run(work.send, None)
        except StopIteration:
            return None
        finally:
            _leave_task(loop, stand_in)
        rest = _Rest(work, awaited)
        task = loop.create_task(rest, name=f"{self.name}/{name}", context=context)
        stand_in.become(task)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and self._failure is None:
            self._failure = error
            self._failed.set()

    async def wait_failed(self) -> None:
        """Wait until a task of this scope raises, then raise its exception."""
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    async def close(self) -> None:
        """Cancel what still runs and wait for it to end."""
        self._closing = True
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=10)


# asyncio lets third parties be tasks; its types do not say so.
_enter_task: Callable[[Any, Any], None] = asyncio._enter_task
_leave_task: Callable[[Any, Any], None] = asyncio._leave_task


class _StandIn:
    """The current task while work runs that may never become one.

    Time-outs and task groups keep whom they may have to cancel: they keep this, which passes
    on what they ask of it. (asyncio lets third parties be tasks: "Extending", task lifetime.)
    """

    __slots__ = ("_cancels", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._cancels = 0

    def become(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        for _ in range(self._cancels):
            task.cancel()

    def get_name(self) -> str:
        return self._task.get_name() if self._task is not None else "not a task yet"

    def done(self) -> bool:
        return self._task is not None and self._task.done()

    def cancel(self, message: Any = None) -> bool:
        if self._task is not None:
            return self._task.cancel(message)
        self._cancels += 1
        return True

    def cancelling(self) -> int:
        return self._task.cancelling() if self._task is not None else self._cancels

    def uncancel(self) -> int:
        if self._task is not None:
            return self._task.uncancel()
        self._cancels = max(0, self._cancels - 1)
        return self._cancels


class _Rest(Coroutine[Any, Any, None]):
    """What is left of a coroutine that waits for ``awaited`` already."""

    __slots__ = ("_awaited", "_fresh", "_work")

    def __init__(self, work: Coroutine[Any, Any, None], awaited: Any) -> None:
        self._work = work
        self._awaited = awaited
        self._fresh = True

    def send(self, value: Any) -> Any:
        if self._fresh:
            self._fresh = False
            awaited, self._awaited = self._awaited, None
            return awaited
        return self._work.send(value)

    def throw(self, *error: Any) -> Any:
        if self._fresh:
            # Cancelled before the task's first step: what it waits for is, as always.
            self._fresh = False
            awaited, self._awaited = self._awaited, None
            if awaited is not None and awaited.cancel():
                return awaited
        return self._work.throw(*error)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise TypeError("the rest of a started coroutine is a task's only")


async def supervise(
    name: str,
    run: Callable[[], Awaitable[None]],
    *,
    clock: Clock = SYSTEM_CLOCK,
    backoff: Backoff | None = None,
) -> None:
    """Run ``run`` until it returns; restart it with back-off when it raises."""
    delays = backoff or Backoff(initial_s=0.2, maximum_s=30.0)
    crashes = 0
    while True:
        started = clock.monotonic()
        try:
            await run()
        except AssertionError:
            raise
        except Exception as error:
            crashes += 1
            if clock.monotonic() - started > 60:
                delays.reset()
            delay = delays.next()
            _log.error(
                "component failed, restarting",
                component=name,
                crashes=crashes,
                delay_s=round(delay, 2),
                error=repr(error),
                exc_info=error,
            )
            await clock.sleep(delay)
        else:
            return


async def cancel_and_wait(task: asyncio.Task[Any] | None) -> None:
    """Cancel one task and wait for its end, whatever its outcome."""
    if task is None or task.done():
        return
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
