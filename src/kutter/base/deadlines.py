"""Time limits of many pieces of work that all get about the same time.

Between requests, each of which must end within a minute, and the loop's timers: a timer made and
cancelled for every request is dear, and hardly one of them ever fires. Here one timer follows the
oldest limit. Laws: work is cancelled within its limit's second; a cancellation by somebody else
stays one; who has ended is forgotten at once.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any


class Deadlines:
    """``with deadlines.within(limit_s): ...`` raises TimeoutError once the time is over.

    Only for limits of about the same length, given in the order they end.
    """

    def __init__(self) -> None:
        # In the order they were given; a dict forgets from the middle at no cost.
        self._running: dict[_Limit, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._running)

    def within(self, limit_s: float) -> _Limit:
        return _Limit(self, limit_s)

    def _enter(self, limit: _Limit, loop: asyncio.AbstractEventLoop) -> None:
        self._running[limit] = None
        if self._timer is None:
            self._timer = loop.call_at(limit.ends, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for limit in list(self._running):
            if limit.ends > now:
                self._timer = loop.call_at(limit.ends, self._ring, loop)
                return
            del self._running[limit]
            limit.expire()


class _Limit:
    __slots__ = ("_cancelling", "_deadlines", "_limit_s", "_task", "ends", "expired")

    def __init__(self, deadlines: Deadlines, limit_s: float) -> None:
        self._deadlines = deadlines
        self._limit_s = limit_s
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self.ends = 0.0
        self.expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "only a task can be late"
        self._task = task
        self._cancelling = task.cancelling()
        loop = asyncio.get_running_loop()
        self.ends = loop.time() + self._limit_s
        self._deadlines._enter(self, loop)

    def expire(self) -> None:
        self.expired = True
        assert self._task is not None, "entered before it can expire"
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.expired:
            del self._deadlines._running[self]
            return
        assert self._task is not None, "entered before it can be left"
        ours = self._task.uncancel() <= self._cancelling
        if ours and kind is asyncio.CancelledError:
            raise TimeoutError from error
