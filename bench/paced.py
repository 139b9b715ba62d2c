"""Latency at half of the peak: requests at a fixed rate, whether the server keeps up or not.

A request's latency counts from when it was due, not from when a connection was free for it:
a server that stalls does not get to slow its own load down.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator

from bench.api import LANES, Report, create_pods, delete_pods
from bench.driver import Lane, LoadResult, Target, connect, run_load
from bench.measure import Figure
from bench.objects import PODS, pod_body

_TICK_S = 0.001
_PEAK_S = 2.0


class PacedLane(Lane):
    """A connection that sends when told and says when it is free again."""

    def __init__(self, result: LoadResult, free: Callable[[PacedLane], None]) -> None:
        super().__init__(iter(()), result)
        self._free = free

    def send(self, request: bytes, due_s: float) -> None:
        self._sent_s = due_s
        self._transport.write(request)

    def _send(self) -> None:
        self._free(self)


class Pace:
    """Sends ``rate`` requests a second over the free ones of its lanes."""

    def __init__(self, source: Iterator[bytes], rate: float) -> None:
        self._source = source
        self._rate = rate
        self._idle: deque[PacedLane] = deque()
        self._due: deque[float] = deque()
        self._begun_s = 0.0
        self._asked = 0

    def free(self, lane: PacedLane) -> None:
        if self._due:
            lane.send(next(self._source), self._due.popleft())
        else:
            self._idle.append(lane)

    def tick(self, now_s: float) -> None:
        wanted = int((now_s - self._begun_s) * self._rate)
        while self._asked < wanted:
            self._asked += 1
            due_s = self._begun_s + self._asked / self._rate
            if self._idle:
                self._idle.popleft().send(next(self._source), due_s)
            else:
                self._due.append(due_s)

    async def run(self, target: Target, result: LoadResult, seconds: float) -> None:
        lanes = []
        for _ in range(LANES):
            lane = await connect(target, PacedLane(result, self.free))
            lanes.append(lane)
            self._idle.append(lane)
        try:
            await self._keep_pace(seconds)
        finally:
            for lane in lanes:
                lane.done.cancel()
                lane.close()

    async def _keep_pace(self, seconds: float) -> None:
        self._begun_s = time.perf_counter()
        while (now_s := time.perf_counter()) < self._begun_s + seconds:
            self.tick(now_s)
            await asyncio.sleep(_TICK_S)
        deadline_s = time.perf_counter() + 20
        while len(self._idle) < LANES and time.perf_counter() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def bench_half(target: Target, report: Report, *, seconds: float = 6.0) -> None:
    """The peak of GET and of POST first, then the latencies at half of each."""
    await create_pods(target, "half", 100)
    gets = itertools.cycle([target.request("GET", f"{PODS}/half-{i}") for i in range(100)])
    numbers = itertools.count()
    posts = (
        target.request("POST", PODS, pod_body(f"paced-{number}"))
        for number in iter(numbers.__next__, -1)
    )
    for what, source in (("GET", gets), ("POST", posts)):
        peak = await run_load(target, source, lanes=LANES, seconds=_PEAK_S)
        rate = peak.count / peak.wall_s / 2
        result = LoadResult()
        await Pace(source, rate).run(target, result, seconds)
        p50, p99 = result.percentile_ms(0.5), result.percentile_ms(0.99)
        figure = Figure(f"{what} p99 at half of its peak", p99, "ms", p50_ms=p50, p99_ms=p99)
        figure.failed = result.failed
        report(figure)
        report(Figure(f"{what} rate at half of its peak", rate, "requests/s"))
    await delete_pods(target, [f"paced-{i}" for i in range(next(numbers))])
    await delete_pods(target, [f"half-{i}" for i in range(100)])
