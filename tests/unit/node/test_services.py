"""A pod that ends waits until no new connection is led to it, and not for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kutter.api.types.discovery_v1 import EndpointSlice
from kutter.base.clock import SYSTEM_CLOCK
from kutter.node.services import GATHER_S, LISTEN_S, ServiceProgrammer


class Held:
    """An informer's face with what the test put in."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.handlers: list[Any] = []

    def items(self) -> list[Any]:
        return self.held

    def on_event(self, handler: Any) -> None:
        self.handlers.append(handler)

    async def wait_synced(self) -> None:
        return

    def put(self, *items: Any) -> None:
        self.held = list(items)
        for handler in self.handlers:
            handler(None)


class Rules:
    """Counts what was programmed."""

    def __init__(self) -> None:
        self.applied = asyncio.Semaphore(0)

    async def apply(self, ports: Any) -> None:
        self.applied.release()


def make_slice(*, terminating: bool = False, service: str = "s", pod: str = "p") -> EndpointSlice:
    import msgspec

    return msgspec.convert(
        {
            "metadata": {
                "name": f"{service}-{pod}",
                "namespace": "n",
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "endpoints": [
                {
                    "addresses": ["10.0.0.1"],
                    "conditions": {"ready": not terminating, "terminating": terminating},
                    "targetRef": {"kind": "Pod", "namespace": "n", "name": pod},
                }
            ],
        },
        EndpointSlice,
    )


@pytest.fixture
async def world() -> Any:
    slices, rules = Held(), Rules()
    programmer = ServiceProgrammer(
        Held(),  # type: ignore[arg-type]
        slices,  # type: ignore[arg-type]
        node_name="node",
        rules=rules,  # type: ignore[arg-type]
        dns=None,
        clock=SYSTEM_CLOCK,
    )
    slices.held = [make_slice(terminating=False)]
    running = asyncio.ensure_future(programmer.run())
    await rules.applied.acquire()
    await asyncio.sleep(0)
    yield programmer, slices
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_drained_waits_for_the_kernel_to_forget_the_pod(world: Any) -> None:
    programmer, slices = world
    waiting = asyncio.ensure_future(programmer.drained("n", "p", 30))
    await asyncio.sleep(0)
    assert not waiting.done()
    slices.put(make_slice(terminating=True))
    await asyncio.wait_for(waiting, 30)


async def test_drained_gives_up_in_time_and_ignores_pods_without_service(world: Any) -> None:
    programmer, _ = world
    await asyncio.wait_for(programmer.drained("n", "p", 0.01), 30)
    await asyncio.wait_for(programmer.drained("n", "other", 3600), 30)


class NotingClock:
    """Notes how long was slept, and does not."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


async def test_only_pods_that_join_others_are_given_a_moment_to_listen() -> None:
    slices, rules, clock = Held(), Rules(), NotingClock()
    programmer = ServiceProgrammer(
        Held(),  # type: ignore[arg-type]
        slices,  # type: ignore[arg-type]
        node_name="node",
        rules=rules,  # type: ignore[arg-type]
        dns=None,
        clock=clock,  # type: ignore[arg-type]
    )
    running = asyncio.ensure_future(programmer.run())

    async def slept_for(*held: EndpointSlice) -> list[float]:
        clock.slept.clear()
        slices.put(*held)
        await rules.applied.acquire()
        await asyncio.sleep(0)
        return clock.slept.copy()

    await rules.applied.acquire()
    assert clock.slept == [GATHER_S], "nothing was there"
    first = make_slice()
    assert await slept_for(first) == [GATHER_S], "nobody else could be led to meanwhile"
    other = make_slice(service="other")
    assert await slept_for(first, other) == [GATHER_S], "nor by a service that is new itself"
    second = make_slice(pod="second")
    assert await slept_for(first, second, other) == [GATHER_S, LISTEN_S]
    assert await slept_for(second, other) == [GATHER_S], "who goes is forgotten at once"
    third = make_slice(pod="third")
    assert await slept_for(third, other) == [GATHER_S, LISTEN_S], "one comes for another"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
