"""Events are counted, not repeated; a full queue drops and says so; each names its component."""

import asyncio

import pytest

from kutter.api.errors import not_found
from kutter.machinery import events
from kutter.machinery.events import EventRecorder

POD = {"kind": "Pod", "namespace": "d", "name": "p", "uid": "u"}


class Server:
    """Takes events as a client would send them."""

    def __init__(self):
        self.events = {}

    async def create(self, target, tree, namespace):
        self.events[tree["metadata"]["name"]] = tree

    async def patch(self, target, name, body, namespace, *, kind):
        if name not in self.events:
            raise not_found("events", name)
        self.events[name].update(body)


@pytest.fixture
async def play():
    server = Server()
    recorder = EventRecorder(server, "kubelet", host="n1")
    task = asyncio.ensure_future(recorder.run())
    yield server, recorder
    task.cancel()


async def test_equal_events_are_counted(play):
    server, recorder = play
    for _ in range(3):
        recorder.event(POD, "Normal", "Pulled", "there")
    recorder.event(POD, "Normal", "Started", "on")
    await recorder.drain()
    facts = sorted((e["reason"], e["count"], e["source"]["host"]) for e in server.events.values())
    assert facts == [("Pulled", 3, "n1"), ("Started", 1, "n1")]


async def test_an_event_that_was_deleted_is_made_again(play):
    server, recorder = play
    recorder.event(POD, "Normal", "Pulled", "there")
    await recorder.drain()
    server.events.clear()
    recorder.event(POD, "Normal", "Pulled", "there")
    await recorder.drain()
    assert [e["count"] for e in server.events.values()] == [1]


async def test_a_named_twin_shares_the_queue_but_not_the_name(play):
    server, recorder = play
    recorder.named("deployment-controller").event(POD, "Normal", "ScalingReplicaSet", "up")
    recorder.event(POD, "Normal", "ScalingReplicaSet", "up")
    await recorder.drain()
    sources = sorted(e["source"]["component"] for e in server.events.values())
    assert sources == ["deployment-controller", "kubelet"]


async def test_a_full_queue_drops_and_counts(monkeypatch):
    monkeypatch.setattr(events, "QUEUE_LIMIT", 2)
    recorder = EventRecorder(Server(), "kubelet")
    for _ in range(5):
        recorder.event(POD, "Normal", "Pulled", "there")
    assert recorder.dropped == recorder.named("x").dropped == 3
