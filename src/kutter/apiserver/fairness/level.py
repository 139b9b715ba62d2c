"""One priority level: its seats, its queues, and who is next.

Between a request that wants to run and the seats of its level. Laws:

* While nobody waits, a seat is a comparison and an addition.
* A flow is dealt a hand of queues by its hash and joins the least loaded: one that floods its
  queues leaves the others alone (shuffle sharding).
* The queue whose flow has had the least work is next (start-time fair queuing): a request is
  charged for its seats and the time they will be held, corrected when it is done.
* A request wider than its level runs when the level is empty.

Upstream: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#queuing
"""

from __future__ import annotations

import asyncio
from collections import deque
from hashlib import blake2b

import msgspec

from kutter.api.errors import ApiError, too_many_requests
from kutter.apiserver.fairness.allocation import Bounds
from kutter.base.clock import Clock

# What a request is charged when it is chosen; corrected by what it really took.
ESTIMATE_S = 1.0
_RETRY_MAX_S = 32
_SMOOTHING = 0.977
_QUEUES_KEPT = 1024
QUEUE_FULL, TIMED_OUT = "queue-full", "time-out"
CONCURRENCY_LIMIT, CANCELLED = "concurrency-limit", "cancelled"


class Waiting(msgspec.Struct, eq=False):
    """One request in a queue. ``detail`` is for the debug listing."""

    seat: asyncio.Future[None]
    seats: int
    arrived_s: float
    flow: str
    distinguisher: str
    detail: object


class Queue(msgspec.Struct, eq=False):
    """``start`` is how much its flows have had, in seat-seconds."""

    index: int
    waiting: deque[Waiting] = msgspec.field(default_factory=deque)
    seats_waiting: int = 0
    seats_taken: int = 0
    executing: int = 0
    start: float = 0.0

    @property
    def load(self) -> float:
        return self.seats_waiting + self.seats_taken


class PriorityLevel:
    """``try_take`` first; when that says no, ``wait``. Either way ``give_back`` at the end."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.uid = ""
        self.exempt = False
        self.limit = 0
        self.bounds = Bounds(0, 0, 0)
        self.taken = 0
        self.executing = 0
        self.waiting = 0
        self.seats_waiting = 0
        self.high = 0  # most seats wanted at once since the last adjustment
        self.smoothed = 0.0
        self.target = 0.0
        self.rejected: dict[tuple[str, str], int] = {}  # (flow, reason)
        # By number, made when first joined: a level may have millions.
        self.queues: dict[int, Queue] = {}
        self.queue_count = 0
        self.pressed = _nobody_cares
        self._clock = clock
        self._active: dict[Queue, None] = {}
        self._hand_size = 0
        self._length_limit = 0
        self._virtual = 0.0
        self._retry_after = 1
        self._dropped = deque[int](maxlen=_RETRY_MAX_S * 64)
        self._retry_changed = 0

    def configure(self, *, queues: int, hand_size: int, length_limit: int) -> None:
        """Queues that are no more are still emptied; 0: who finds no seat is refused."""
        self.queue_count, self._hand_size, self._length_limit = queues, hand_size, length_limit

    def set_limit(self, limit: int) -> None:
        self.limit = limit
        if self.waiting:
            self._dispatch()

    # -- seats ------------------------------------------------------------------

    def try_take(self, seats: int) -> bool:
        """Take seats if they are free and nobody was here before."""
        wanted = self.taken + seats
        if wanted > self.limit and (self.taken or not self.limit):
            return False
        if self.waiting:
            return False
        self.taken = wanted
        self.executing += 1
        if wanted > self.high:  # noqa: PLR1730  (a call costs more than the comparison)
            self.high = wanted
        return True

    def give_back(self, seats: int, queue: Queue | None = None, held_s: float = 0.0) -> None:
        """Free seats; ``queue`` is the one ``wait`` answered."""
        self.taken -= seats
        self.executing -= 1
        if queue is not None:
            queue.seats_taken -= seats
            queue.executing -= 1
            queue.start -= seats * (ESTIMATE_S - held_s)
        if self.waiting:
            self._dispatch()

    async def wait(
        self, seats: int, flow: str, distinguisher: str, *, limit_s: float, detail: object = None
    ) -> Queue:
        """Take seats when it is our turn. Raises 429."""
        demand = self.taken + self.seats_waiting + seats
        self.high = max(self.high, demand)
        self.pressed()
        if not self.queue_count:
            raise self._refuse(flow, CONCURRENCY_LIMIT)
        queue = self._choose(flow, distinguisher)
        if len(queue.waiting) >= self._length_limit:
            raise self._refuse(flow, QUEUE_FULL)
        seat: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        item = Waiting(seat, seats, self._clock.monotonic(), flow, distinguisher, detail)
        self._join(queue, item)
        # Nobody may be served at all when the level's limit has become smaller.
        self._dispatch()
        try:
            async with asyncio.timeout(limit_s):
                await seat
        except BaseException as error:
            if seat.done() and not seat.cancelled():
                self.give_back(seats, queue)
            else:
                self._leave(queue, item)
            if isinstance(error, TimeoutError):
                raise self._refuse(flow, TIMED_OUT) from None
            self._count(flow, CANCELLED)
            raise
        return queue

    # -- queues -----------------------------------------------------------------

    def _choose(self, flow: str, distinguisher: str) -> Queue:
        """The least loaded queue of the flow's hand."""
        hand = deal(flow, distinguisher, self.queue_count, self._hand_size)
        if len(self.queues) > _QUEUES_KEPT:
            self.queues = {i: queue for i, queue in self.queues.items() if queue.load}
        found: Queue | None = None
        for index in hand:
            queue = self.queues.get(index)
            if queue is None:
                return self.queues.setdefault(index, Queue(index))
            if found is None or queue.load < found.load:
                found = queue
        assert found is not None, "a hand is never empty"
        return found

    def _join(self, queue: Queue, item: Waiting) -> None:
        if not queue.waiting:
            # A flow that wanted nothing for a while has no claim on the past.
            queue.start = max(queue.start, self._virtual)
            self._active[queue] = None
        queue.waiting.append(item)
        queue.seats_waiting += item.seats
        self.waiting += 1
        self.seats_waiting += item.seats

    def _leave(self, queue: Queue, item: Waiting) -> None:
        try:
            queue.waiting.remove(item)
        except ValueError:  # taken out by a dispatch that saw it had given up
            return
        queue.seats_waiting -= item.seats
        self.waiting -= 1
        self.seats_waiting -= item.seats
        if not queue.waiting:
            self._active.pop(queue, None)

    def _dispatch(self) -> None:
        """Give free seats to whoever is next, in order: nobody overtakes a wide request."""
        while self._active:
            queue = min(self._active, key=_start)
            item = queue.waiting[0]
            if self.taken + item.seats > self.limit and (self.taken or not self.limit):
                return
            self._leave(queue, item)
            if item.seat.done():  # it gave up, and its own task has not run yet
                continue
            self._virtual = queue.start
            queue.start += item.seats * ESTIMATE_S
            queue.seats_taken += item.seats
            queue.executing += 1
            self.taken += item.seats
            self.executing += 1
            item.seat.set_result(None)

    # -- refusals ---------------------------------------------------------------

    def _refuse(self, flow: str, reason: str) -> ApiError:
        self._count(flow, reason)
        return too_many_requests(
            "Too many requests, please try again later.", self._retry_after_s()
        )

    def _count(self, flow: str, reason: str) -> None:
        self.rejected[flow, reason] = self.rejected.get((flow, reason), 0) + 1

    def _retry_after_s(self) -> int:
        """Longer while many are refused, shorter again when fewer are."""
        now = int(self._clock.monotonic())
        self._dropped.append(now)
        span = self._retry_after
        recent = sum(1 for moment in self._dropped if now - span <= moment < now)
        if now - self._retry_changed >= span:
            if recent >= 3 * span:
                self._retry_after, self._retry_changed = min(_RETRY_MAX_S, span * 2), now
            elif recent < span and span > 1:
                self._retry_after, self._retry_changed = span - 1, now
        return self._retry_after

    # -- borrowing --------------------------------------------------------------

    def take_demand(self) -> int:
        """The most seats wanted at once since the last call, which starts a new period."""
        found, self.high = self.high, self.taken + self.seats_waiting
        # Rises at once, sinks slowly.
        self.smoothed = max(float(found), _SMOOTHING * self.smoothed + (1 - _SMOOTHING) * found)
        return found


def _nobody_cares() -> None:
    return


def _start(queue: Queue) -> float:
    return queue.start


def deal(flow: str, distinguisher: str, queues: int, hand_size: int) -> list[int]:
    """A hand of different queues, the same one for the same flow."""
    text = f"{flow}\0{distinguisher}".encode()
    number = int.from_bytes(blake2b(text, digest_size=16).digest())
    # A deck in order but for the cards that took the place of dealt ones.
    moved: dict[int, int] = {}
    hand = []
    for left in range(queues, max(queues - hand_size, 0), -1):
        number, place = divmod(number, left)
        hand.append(moved.get(place, place))
        moved[place] = moved.get(left - 1, left - 1)
    return hand
