"""Batches: their size, what does not fit, what cannot be delivered."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from kutter.apiserver.audit import webhook
from kutter.apiserver.audit.webhook import BatchOptions, WebhookSink
from kutter.base.clock import SYSTEM_CLOCK


class Collector:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.batches = []
        self.closed = False

    async def send(self, body):
        tree = orjson.loads(body)
        assert (tree["kind"], tree["apiVersion"]) == ("EventList", "audit.k8s.io/v1")
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, OSError):
            raise answer
        if answer < 300:
            self.batches.append([item["auditID"] for item in tree["items"]])
        return answer

    async def close(self):
        self.closed = True


class Impatient:
    """A clock that does not wait, and remembers for how long it was asked to."""

    def __init__(self):
        self.waits = []
        self.moment = 0.0

    def now(self):
        return SYSTEM_CLOCK.now()

    def monotonic(self):
        return self.moment

    async def sleep(self, delay_s):
        self.waits.append(delay_s)
        self.moment += delay_s
        await asyncio.sleep(0)


def event(name):
    return b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"%b"}' % name.encode()


async def until(check):
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.001)


@pytest.fixture
def lost():
    return []


async def running(sink):
    task = asyncio.ensure_future(sink.run())
    await asyncio.sleep(0)
    return task


async def test_a_full_batch_goes_at_once_a_small_one_waits_for_company(lost):
    collector = Collector()
    options = BatchOptions(max_size=2, max_wait_s=0.05)
    sink = WebhookSink(collector, options, dropped=lost.append, clock=Impatient())
    for name in "abc":
        sink.take(event(name))
    task = await running(sink)
    await until(lambda: len(collector.batches) == 2)
    assert collector.batches == [["a", "b"], ["c"]]
    task.cancel()


async def test_what_does_not_fit_is_dropped_and_counted(lost):
    collector = Collector()
    sink = WebhookSink(collector, BatchOptions(buffer_size=2), dropped=lost.append)
    for name in "abcd":
        sink.take(event(name))
    assert lost == [1, 1]
    await sink.close()
    assert collector.batches == [["a", "b"]]
    assert collector.closed


async def test_a_batch_is_tried_again_then_given_up(lost):
    clock = Impatient()
    collector = Collector(OSError("refused"), 503, 429, OSError(), 500, 200)
    options = BatchOptions(max_size=1, throttle=False, initial_backoff_s=10)
    sink = WebhookSink(collector, options, dropped=lost.append, clock=clock)
    sink.take(event("a"))
    sink.take(event("b"))
    task = await running(sink)
    await until(lambda: collector.batches)
    assert collector.batches == [["b"]]
    assert lost == [1]
    assert len(clock.waits) == 4
    assert clock.waits[0] >= 10
    assert clock.waits == sorted(clock.waits)
    task.cancel()


async def test_a_collector_that_refuses_is_not_asked_again(lost):
    collector = Collector(400)
    clock = Impatient()
    sink = WebhookSink(collector, BatchOptions(max_size=1), dropped=lost.append, clock=clock)
    sink.take(event("a"))
    task = await running(sink)
    await until(lambda: lost)
    assert (lost, clock.waits) == ([1], [])
    task.cancel()


async def test_batches_are_throttled(lost):
    clock = Impatient()
    collector = Collector()
    options = BatchOptions(max_size=1, throttle_qps=2, throttle_burst=3)
    sink = WebhookSink(collector, options, dropped=lost.append, clock=clock)
    for name in "abcde":
        sink.take(event(name))
    task = await running(sink)
    await until(lambda: len(collector.batches) == 5)
    assert clock.waits == [0.5, 0.5]
    task.cancel()


async def test_a_batch_under_way_at_the_end_is_sent_by_close(lost):
    class Stuck(Collector):
        stuck = True

        async def send(self, body):
            if self.stuck:
                await asyncio.Event().wait()
            return await super().send(body)

    collector = Stuck()
    sink = WebhookSink(collector, BatchOptions(max_size=1), dropped=lost.append)
    sink.take(event("a"))
    sink.take(event("b"))
    task = await running(sink)
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    collector.stuck = False
    await sink.close()
    assert collector.batches == [["a"], ["b"]]
    assert not lost


async def test_bytes_are_bounded_beside_events(lost, monkeypatch):
    monkeypatch.setattr(webhook, "BUFFER_BYTES", 200)
    monkeypatch.setattr(webhook, "BATCH_BYTES", 130)
    collector = Collector()
    sink = WebhookSink(collector, BatchOptions(), dropped=lost.append)
    assert len(event("a")) == 61
    for name in "abcd":
        sink.take(event(name))
    assert lost == [1]
    await sink.close()
    assert collector.batches == [["a", "b"], ["c"]]
    sink.take(event("e"))
    assert lost == [1]
