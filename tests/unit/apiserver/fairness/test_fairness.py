"""Seats move to the level that needs them, and back; nothing runs when nobody waits."""

from __future__ import annotations

import asyncio

import pytest

from kutter.apiserver.authn.identity import User
from kutter.apiserver.fairness import fairness as module
from kutter.apiserver.fairness.defaults import SUGGESTED_LEVELS, SUGGESTED_SCHEMAS
from kutter.apiserver.fairness.fairness import Fairness
from kutter.apiserver.request_info import parse_request_info
from kutter.base.clock import SYSTEM_CLOCK

ANN = User("ann", groups=("system:authenticated",))
PODS = parse_request_info("GET", "/api/v1/pods", {})


@pytest.fixture
async def fairness():
    made = Fairness(600, lambda *_: 1, SYSTEM_CLOCK)
    made.configure(SUGGESTED_LEVELS, SUGGESTED_SCHEMAS)
    yield made
    made.close()


async def crowd(fairness, count):
    flow = fairness.flow_of(ANN, PODS)
    leaving = asyncio.Event()
    served = []

    async def one():
        async with fairness.seated(flow, ANN, PODS, 1):
            served.append(1)
            await leaving.wait()

    tasks = [asyncio.ensure_future(one()) for _ in range(count)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks, served, leaving


async def test_a_level_borrows_what_others_do_not_need(fairness):
    level = fairness.levels["global-default"]
    assert level.limit == level.bounds.nominal == 49
    tasks, served, leaving = await crowd(fairness, 200)
    assert len(served) == 49
    assert fairness.adjust()
    await asyncio.sleep(0)
    assert len(served) == 200
    # What is guaranteed to the others stays theirs.
    for name, other in fairness.levels.items():
        assert other.limit >= other.bounds.lower, name
    assert sum(other.limit for other in fairness.levels.values()) <= 610
    leaving.set()
    await asyncio.gather(*tasks)
    assert level.taken == 0


async def test_seats_come_back_when_nobody_wants_them(fairness, monkeypatch):
    tasks, _, leaving = await crowd(fairness, 100)
    fairness.adjust()
    leaving.set()
    await asyncio.gather(*tasks)
    level = fairness.levels["global-default"]
    for _ in range(2000):
        if not fairness.adjust():
            break
    else:
        pytest.fail("adjusting never ends")
    assert {n: x.limit for n, x in fairness.levels.items()} == {
        n: x.bounds.nominal for n, x in fairness.levels.items()
    }
    assert level.limit == 49


async def test_nothing_is_timed_until_somebody_waits(fairness, monkeypatch):
    monkeypatch.setattr(module, "ADJUSTMENT_PERIOD_S", 0.01)
    level = fairness.levels["global-default"]
    for _ in range(49):
        assert level.try_take(1)
    assert fairness._timer is None
    tasks, served, leaving = await crowd(fairness, 3)
    assert fairness._timer is not None
    async with asyncio.timeout(20):
        while len(served) < 3:
            await asyncio.sleep(0.005)
    leaving.set()
    await asyncio.gather(*tasks)


async def test_schemas_without_a_level_are_not_used(fairness):
    schema = {
        "metadata": {"name": "lost"},
        "spec": {
            "matchingPrecedence": 2,
            "priorityLevelConfiguration": {"name": "none"},
            "rules": SUGGESTED_SCHEMAS[-1]["spec"]["rules"],
        },
    }
    fairness.configure(SUGGESTED_LEVELS, (schema,))
    assert fairness.flow_of(ANN, PODS).name == "catch-all"


async def test_a_level_that_is_gone_serves_who_is_in_it(fairness):
    tasks, served, leaving = await crowd(fairness, 60)
    assert len(served) == 49
    fairness.configure((), ())
    assert fairness.flow_of(ANN, PODS).level.name == "catch-all"
    leaving.set()
    async with asyncio.timeout(20):
        await asyncio.gather(*tasks)
    assert len(served) == 60
