"""Seats and queues of one priority level."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from kutter.api.errors import ApiError
from kutter.apiserver.fairness.level import PriorityLevel, deal
from kutter.base.clock import SYSTEM_CLOCK


class Clock:
    moment = 100.0

    def monotonic(self):
        return self.moment

    def now(self):
        return SYSTEM_CLOCK.now()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def level(clock):
    made = PriorityLevel("x", clock)
    made.set_limit(2)
    made.configure(queues=16, hand_size=4, length_limit=3)
    return made


class Crowd:
    """Requests of one level, by name, in the order they were served."""

    def __init__(self, level, limit_s=20.0):
        self.level = level
        self.limit_s = limit_s
        self.served = []
        self.refused = {}
        self.tasks = {}
        self.queues = {}

    async def arrive(self, name, flow="f", who="", seats=1):
        async def wait():
            try:
                queue = await self.level.wait(seats, flow, who, limit_s=self.limit_s)
            except ApiError as error:
                self.refused[name] = error
            else:
                self.served.append(name)
                self.queues[name] = (queue, seats)

        self.tasks[name] = asyncio.ensure_future(wait())
        await asyncio.sleep(0)

    async def leave(self, name, held_s=1.0):
        queue, seats = self.queues.pop(name)
        self.level.give_back(seats, queue, held_s)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_free_seats_are_taken_at_once_until_there_are_none(level):
    assert level.try_take(1)
    assert level.try_take(1)
    assert not level.try_take(1)
    level.give_back(1)
    assert level.try_take(1)
    assert (level.taken, level.executing, level.high) == (2, 2, 2)


async def test_whoever_comes_first_is_served_first(level):
    level.try_take(2)
    crowd = Crowd(level)
    for name in "abc":
        await crowd.arrive(name)
    assert crowd.served == []
    # A seat that comes free is not for newcomers.
    level.give_back(2)
    assert not level.try_take(1)
    await asyncio.sleep(0)
    assert crowd.served == ["a", "b"]
    await crowd.leave("a")
    assert crowd.served == ["a", "b", "c"]
    await crowd.leave("b")
    await crowd.leave("c")
    assert (level.taken, level.executing, level.waiting, level.seats_waiting) == (0, 0, 0, 0)


async def test_a_flood_leaves_room_for_others(level):
    level.configure(queues=64, hand_size=2, length_limit=50)
    level.try_take(2)
    crowd = Crowd(level)
    for number in range(60):
        await crowd.arrive(f"flood-{number}", who="elephant")
    await crowd.arrive("mouse", who="mouse")
    level.give_back(2)
    await asyncio.sleep(0)
    for _ in range(4):
        if "mouse" in crowd.served:
            break
        await crowd.leave(crowd.served[len(crowd.served) - len(crowd.queues)])
    assert "mouse" in crowd.served
    for task in crowd.tasks.values():
        task.cancel()
    await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)


async def test_two_flows_share_evenly_whoever_was_first(level):
    level.set_limit(1)
    level.configure(queues=512, hand_size=1, length_limit=50)
    assert deal("f", "a", 512, 1) != deal("f", "b", 512, 1)
    level.try_take(1)
    crowd = Crowd(level)
    for number in range(20):
        await crowd.arrive(f"a{number}", who="a")
    for number in range(20):
        await crowd.arrive(f"b{number}", who="b")
    level.give_back(1)
    await asyncio.sleep(0)
    for _ in range(19):
        await crowd.leave(crowd.served[-1])
    counts = Counter(name[0] for name in crowd.served)
    assert abs(counts["a"] - counts["b"]) <= 1
    for task in crowd.tasks.values():
        task.cancel()
    await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)


async def test_long_requests_are_charged_for_their_time(level):
    level.set_limit(1)
    level.configure(queues=512, hand_size=1, length_limit=50)
    level.try_take(1)
    crowd = Crowd(level)
    for number in range(20):
        await crowd.arrive(f"a{number}", who="a")
        await crowd.arrive(f"b{number}", who="b")
    level.give_back(1)
    await asyncio.sleep(0)
    for _ in range(20):
        name = crowd.served[-1]
        await crowd.leave(name, held_s=4.0 if name[0] == "a" else 1.0)
    counts = Counter(name[0] for name in crowd.served)
    assert counts["b"] >= 3 * counts["a"]
    for task in crowd.tasks.values():
        task.cancel()
    await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)


async def test_a_full_queue_refuses(level):
    level.configure(queues=4, hand_size=1, length_limit=3)
    level.try_take(2)
    crowd = Crowd(level)
    for name in "abcd":
        await crowd.arrive(name)
    await asyncio.sleep(0)
    error = crowd.refused["d"]
    assert (error.code, error.reason) == (429, "TooManyRequests")
    assert error.headers["Retry-After"] == "1"
    assert error.message == "Too many requests, please try again later."
    assert level.rejected == {("f", "queue-full"): 1}
    for task in crowd.tasks.values():
        task.cancel()
    await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)
    assert (level.waiting, level.seats_waiting) == (0, 0)
    assert level.rejected["f", "cancelled"] == 3


async def test_waiting_ends_in_time(level):
    level.try_take(2)
    crowd = Crowd(level, limit_s=0.01)
    await crowd.arrive("a")
    await asyncio.wait_for(crowd.tasks["a"], 20)
    assert crowd.refused["a"].code == 429
    assert level.rejected == {("f", "time-out"): 1}
    level.give_back(2)
    assert level.try_take(2)


async def test_without_queues_there_is_no_waiting(level):
    level.configure(queues=0, hand_size=0, length_limit=0)
    level.try_take(2)
    crowd = Crowd(level)
    await crowd.arrive("a")
    await asyncio.sleep(0)
    assert level.rejected == {("f", "concurrency-limit"): 1}


async def test_whoever_gives_up_when_it_is_served_gives_the_seat_back(level):
    level.try_take(2)
    crowd = Crowd(level)
    await crowd.arrive("a")
    level.give_back(2)  # a is served, but does not know yet
    crowd.tasks["a"].cancel()
    await asyncio.gather(crowd.tasks["a"], return_exceptions=True)
    assert (level.taken, level.waiting) == (0, 0)


async def test_a_wide_request_is_not_overtaken_and_runs_alone_if_need_be(level):
    level.try_take(1)
    crowd = Crowd(level)
    await crowd.arrive("wide", seats=5)
    assert not level.try_take(1)
    level.give_back(1)
    await asyncio.sleep(0)
    assert crowd.served == ["wide"]
    assert not level.try_take(1)
    await crowd.leave("wide")
    assert level.taken == 0


async def test_more_seats_serve_who_waits(level):
    level.try_take(2)
    crowd = Crowd(level)
    await crowd.arrive("a")
    level.set_limit(3)
    await asyncio.sleep(0)
    assert crowd.served == ["a"]


async def test_retrying_is_asked_for_later_while_many_are_refused(level, clock):
    level.configure(queues=0, hand_size=0, length_limit=0)
    level.try_take(2)
    told = []
    for _ in range(12):
        for _ in range(40):
            with pytest.raises(ApiError) as caught:
                await level.wait(1, "f", "", limit_s=1)
        told.append(int(caught.value.headers["Retry-After"]))
        clock.moment += 1
    assert told[0] == 1
    assert told[-1] >= 4
    assert max(told) <= 32
    clock.moment += 60
    with pytest.raises(ApiError) as caught:
        await level.wait(1, "f", "", limit_s=1)
    assert int(caught.value.headers["Retry-After"]) < told[-1]


def test_hands_differ_between_flows_and_are_the_same_for_one():
    hands = [tuple(deal("f", f"user-{n}", 64, 6)) for n in range(200)]
    assert hands == [tuple(deal("f", f"user-{n}", 64, 6)) for n in range(200)]
    assert all(len(set(hand)) == 6 and set(hand) <= set(range(64)) for hand in hands)
    assert len(set(hands)) == 200
    # No queue is nobody's.
    assert len({card for hand in hands for card in hand}) == 64


def test_a_hand_is_dealt_from_decks_of_any_size():
    assert sorted(deal("f", "", 3, 8)) == [0, 1, 2]
    assert len(set(deal("f", "", 10_000_000, 2))) == 2
