"""Seats of a priority level are neither lost nor given twice, whatever comes, goes or changes."""

from __future__ import annotations

import asyncio
import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.api.errors import ApiError
from kutter.apiserver.fairness.level import PriorityLevel


class Clock:
    moment = 0.0

    def monotonic(self):
        self.moment += 0.01
        return self.moment

    def now(self):
        raise AssertionError("nobody asks for the time of day")


class Requests:
    """Everything that has come to a level and not gone."""

    def __init__(self, level):
        self.level = level
        self.quick = []  # seats taken at once
        self.tasks = []
        self.held = []  # (seats, queue) after waiting
        self.refused = 0

    def arrive(self, flow, seats):
        if self.level.try_take(seats):
            self.quick.append(seats)
        else:
            self.tasks.append(asyncio.ensure_future(self._wait(flow, seats)))

    async def _wait(self, flow, seats):
        try:
            queue = await self.level.wait(seats, "f", flow, limit_s=3600)
        except ApiError:
            self.refused += 1
        else:
            self.held.append((seats, queue))

    def leave(self, number):
        if self.held and number % 2:
            seats, queue = self.held.pop(number % len(self.held))
            self.level.give_back(seats, queue, 0.5)
        elif self.quick:
            self.level.give_back(self.quick.pop(number % len(self.quick)))

    def cancel(self, number):
        if self.tasks:
            self.tasks[number % len(self.tasks)].cancel()

    @property
    def waiting(self):
        return [task for task in self.tasks if not task.done()]

    def check(self):
        level = self.level
        taken = sum(self.quick) + sum(seats for seats, _ in self.held)
        assert level.taken == taken
        assert level.executing == len(self.quick) + len(self.held)
        assert level.waiting == len(self.waiting)
        assert sum(queue.seats_taken for queue in level.queues.values()) <= taken
        queued = [item for queue in level.queues.values() for item in queue.waiting]
        assert level.seats_waiting == sum(item.seats for item in queued)
        if level.waiting and level.limit:
            # Nobody waits for nothing: whoever is next does not fit.
            active = [queue for queue in level.queues.values() if queue.waiting]
            next_one = min(active, key=lambda queue: queue.start).waiting[0]
            assert level.taken
            assert level.taken + next_one.seats > level.limit


steps = st.one_of(
    st.tuples(st.just("arrive"), st.sampled_from("abc"), st.integers(1, 4)),
    st.tuples(st.just("leave"), st.integers(0, 50)),
    st.tuples(st.just("cancel"), st.integers(0, 50)),
    # Given up in the very turn in which it is served.
    st.tuples(st.just("leave and cancel"), st.integers(0, 50), st.integers(0, 50)),
    st.tuples(st.just("limit"), st.integers(0, 8)),
    st.tuples(st.just("queues"), st.integers(0, 6)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=40))
def test_seats_are_neither_lost_nor_given_twice(taken_steps):
    asyncio.run(_play(taken_steps))


async def _play(taken_steps):
    level = PriorityLevel("x", Clock())
    level.configure(queues=4, hand_size=2, length_limit=3)
    level.set_limit(3)
    requests = Requests(level)
    for what, *values in taken_steps:
        match what:
            case "arrive":
                requests.arrive(*values)
            case "leave":
                requests.leave(*values)
            case "cancel":
                requests.cancel(*values)
            case "leave and cancel":
                requests.leave(values[0])
                requests.cancel(values[1])
            case "limit":
                level.set_limit(*values)
            case "queues":
                level.configure(queues=values[0], hand_size=2, length_limit=3)
        for _ in range(6):
            await asyncio.sleep(0)
        requests.check()
    # At the end everybody can go, and nothing is left.
    level.set_limit(100)
    for _ in range(200):
        while requests.quick or requests.held:
            requests.leave(0)
            requests.leave(1)
        await asyncio.sleep(0)
        if not requests.waiting and not (requests.quick or requests.held):
            break
    for task in requests.tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    requests.check()
    assert (level.taken, level.executing, level.waiting, level.seats_waiting) == (0, 0, 0, 0)
