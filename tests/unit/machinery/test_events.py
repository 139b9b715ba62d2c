"""Events are counted, not repeated; a full queue drops and says so; each names its component."""

import asyncio
from datetime import UTC, datetime

import pytest

from kutter.api.errors import not_found
from kutter.base.clock import SystemClock
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


class SlowServer(Server):
    """Keeps each request until it is let go, and the order requests came and ended in."""

    def __init__(self):
        super().__init__()
        self.begun, self.gates = [], {}

    async def create(self, target, tree, namespace):
        about = (tree["involvedObject"]["name"], tree["reason"])
        self.begun.append(about)
        self.gates[about] = asyncio.get_running_loop().create_future()
        await self.gates[about]
        await super().create(target, tree, namespace)

    async def until_begun(self, *wanted):
        for _ in range(100):
            await asyncio.sleep(0)
        assert self.begun == list(wanted)


def told(recorder, name, reason, kind="Pod"):
    reference = {"kind": kind, "namespace": "d", "name": name, "uid": kind + name}
    recorder.event(reference, "Normal", reason, "so it is")


async def running(server, writers):
    recorder = EventRecorder(server, "kubelet", writers=writers)
    return recorder, asyncio.ensure_future(recorder.run())


async def test_events_of_different_objects_are_written_beside_each_other_those_of_one_in_order(
    monkeypatch,
):
    server = SlowServer()
    monkeypatch.setattr(events, "_QUIET_S", 0.0)
    recorder, task = await running(server, 3)
    for name, reason in (("a", "One"), ("a", "Two"), ("b", "One"), ("c", "One"), ("d", "One")):
        told(recorder, name, reason)
    await server.until_begun(("a", "One"), ("b", "One"), ("c", "One"))
    server.gates["a", "One"].set_result(None)
    # Others have waited longer than what is new at the head of a line.
    await server.until_begun(("a", "One"), ("b", "One"), ("c", "One"), ("d", "One"))
    server.gates["b", "One"].set_result(None)
    await server.until_begun(*server.begun[:4], ("a", "Two"))
    for gate in server.gates.values():
        if not gate.done():
            gate.set_result(None)
    await recorder.drain()
    assert len(server.events) == 5
    task.cancel()


async def test_objects_of_one_name_wait_for_each_other():
    """Their events are named by it, and by the time."""
    server = SlowServer()
    recorder, task = await running(server, 3)
    told(recorder, "web", "Scaled", "Deployment")
    told(recorder, "web", "Made", "ReplicaSet")
    await server.until_begun(("web", "Scaled"))
    server.gates["web", "Scaled"].set_result(None)
    await server.until_begun(("web", "Scaled"), ("web", "Made"))
    task.cancel()


async def test_equal_events_told_at_once_are_counted_by_any_number_of_writers():
    server = Server()
    recorder, task = await running(server, 8)
    for _ in range(20):
        told(recorder, "a", "One")
        told(recorder, "b", "One")
    await recorder.drain()
    assert [e["count"] for e in server.events.values()] == [20, 20]
    task.cancel()


async def test_what_a_bug_ended_is_taken_up_where_it_was():
    class Broken(Server):
        async def create(self, target, tree, namespace):
            if tree["reason"] == "Two":
                raise ZeroDivisionError
            await super().create(target, tree, namespace)

    server = Broken()
    recorder = EventRecorder(server, "kubelet", writers=2)
    for reason in ("One", "Two", "Three"):
        told(recorder, "a", reason)
    with pytest.raises(ZeroDivisionError):
        await recorder.run()
    again = asyncio.ensure_future(recorder.run())
    await recorder.drain()
    assert [e["reason"] for e in server.events.values()] == ["One", "Three"]
    again.cancel()


async def test_what_a_writer_has_in_hand_counts_as_waiting(monkeypatch):
    monkeypatch.setattr(events, "QUEUE_LIMIT", 2)
    server = SlowServer()
    recorder, task = await running(server, 1)
    told(recorder, "a", "One")
    await server.until_begun(("a", "One"))
    told(recorder, "a", "Two")
    told(recorder, "b", "One")
    assert recorder.dropped == 1
    server.gates["a", "One"].set_result(None)
    await server.until_begun(("a", "One"), ("a", "Two"))
    told(recorder, "b", "One")
    assert recorder.dropped == 1
    task.cancel()


async def test_an_event_says_when_it_was_told_and_none_is_named_as_another(monkeypatch):
    class Still(SystemClock):
        time = datetime(2026, 1, 1, 12, tzinfo=UTC)

        def now(self):
            return self.time

    server, clock = Server(), Still()
    recorder = EventRecorder(server, "kubelet", clock=clock)
    for reason in ("One", "Two"):
        told(recorder, "a", reason)
    told(recorder, "a", "One")
    clock.time = datetime(2026, 1, 1, 13, tzinfo=UTC)
    told(recorder, "b", "One")
    told(recorder, "a", "One")
    clock.time = datetime(2026, 1, 1, 14, tzinfo=UTC)
    task = asyncio.ensure_future(recorder.run())
    await recorder.drain()
    task.cancel()
    found = [
        (
            e["involvedObject"]["name"],
            e["reason"],
            e["count"],
            e["firstTimestamp"][11:13],
            e["lastTimestamp"][11:13],
        )
        for e in server.events.values()
    ]
    assert sorted(found) == [
        ("a", "One", 3, "12", "13"),
        ("a", "Two", 1, "12", "12"),
        ("b", "One", 1, "13", "13"),
    ]


async def test_nobody_waits_for_writers_that_have_stuck():
    server = SlowServer()
    recorder, task = await running(server, 4)
    for number in range(6):
        told(recorder, f"p{number}", "One")
    await server.until_begun(("p0", "One"), ("p1", "One"))
    async with asyncio.timeout(20):
        while len(server.begun) < 4:
            await asyncio.sleep(0.01)
    task.cancel()


async def test_all_write_once_it_is_quiet(monkeypatch):
    class Still(SystemClock):
        time_s = 1.0

        def monotonic(self):
            return self.time_s

    clock, server = Still(), SlowServer()
    recorder = EventRecorder(server, "kubelet", clock=clock, writers=4)
    task = asyncio.ensure_future(recorder.run())
    for number in range(9):
        told(recorder, f"p{number}", "One")
    await server.until_begun(("p0", "One"), ("p1", "One"))
    server.gates["p0", "One"].set_result(None)
    await server.until_begun(("p0", "One"), ("p1", "One"), ("p2", "One"))
    clock.time_s += 1.0
    server.gates["p1", "One"].set_result(None)
    await server.until_begun(*((f"p{number}", "One") for number in range(6)))
    # One more is told: it waits until fewer are at work.
    told(recorder, "late", "One")
    for number in (2, 3):
        server.gates[f"p{number}", "One"].set_result(None)
    await server.until_begun(*((f"p{number}", "One") for number in range(6)))
    for number in (4, 5):
        server.gates[f"p{number}", "One"].set_result(None)
    await server.until_begun(*((f"p{number}", "One") for number in range(8)))
    task.cancel()


async def test_more_writers_are_at_work_the_more_waits(monkeypatch):
    """A few as long as little waits: what is told of goes first."""
    monkeypatch.setattr(events, "_WRITERS_MIN", 2)
    monkeypatch.setattr(events, "_WAITING_PER_WRITER", 4)
    monkeypatch.setattr(events, "_QUIET_S", 1e9)
    server = SlowServer()
    recorder, task = await running(server, 5)
    for number in range(7):
        told(recorder, f"p{number}", "One")
    await server.until_begun(*((f"p{number}", "One") for number in range(2)))
    for number in range(7, 100):
        told(recorder, f"p{number}", "One")
    await server.until_begun(*((f"p{number}", "One") for number in range(5)))
    # Fewer again as it becomes less, and none is forgotten.
    for number in range(100):
        for _ in range(50):
            if (f"p{number}", "One") in server.gates:
                break
            await asyncio.sleep(0)
        running_now = sum(not gate.done() for gate in server.gates.values())
        assert running_now <= max(2, min(5, (100 - number) // 4 + 1))
        server.gates[f"p{number}", "One"].set_result(None)
        await asyncio.sleep(0)
    await recorder.drain()
    assert len(server.events) == 100
    task.cancel()


async def test_a_writer_that_is_cancelled_takes_no_call_with_it():
    server = Server()
    recorder, task = await running(server, 3)
    await asyncio.sleep(0)
    task.cancel()
    told(recorder, "a", "One")  # before the writers have heard of it
    await asyncio.gather(task, return_exceptions=True)
    told(recorder, "b", "One")
    again = asyncio.ensure_future(recorder.run())
    async with asyncio.timeout(20):
        await recorder.drain()
    assert len(server.events) == 2
    again.cancel()
