"""How many requests may be under way at once.

Between the pipeline and what a server can bear: two pools of seats, a bounded queue for each,
429 for what does not fit. Priority and fairness replaces this in a later issue. Watches and
other long-running requests take no seat.
"""

from __future__ import annotations

import asyncio
from collections import deque

from kutter.api.errors import too_many_requests


class Seats:
    """A bounded pool with a bounded queue in order of arrival."""

    def __init__(self, seats: int, queue: int, *, wait_s: float = 30.0) -> None:
        self._free = seats
        self._queue_limit = queue
        self._wait_s = wait_s
        self._queue: deque[asyncio.Future[None]] = deque()

    def try_take(self) -> bool:
        """Take a free seat without waiting."""
        if self._free > 0:
            self._free -= 1
            return True
        return False

    async def take(self) -> None:
        """Take a seat, waiting for one. Raises 429 when too many wait or it takes too long."""
        if self.try_take():
            return
        if len(self._queue) >= self._queue_limit:
            raise too_many_requests("too many requests, please try again later")
        seat = asyncio.get_running_loop().create_future()
        self._queue.append(seat)
        try:
            async with asyncio.timeout(self._wait_s):
                await seat
        except BaseException as error:
            if seat.done() and not seat.cancelled():
                self.give_back()
            if isinstance(error, TimeoutError):
                raise too_many_requests("too many requests, please try again later") from None
            raise

    def give_back(self) -> None:
        """Hand the seat to the next in the queue, or free it."""
        while self._queue:
            seat = self._queue.popleft()
            if not seat.done():
                seat.set_result(None)
                return
        self._free += 1
