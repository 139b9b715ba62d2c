"""Watches: how soon one change is at one watcher, and at a thousand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable

from bench.api import Report
from bench.driver import Kept, Stream, Target, need
from bench.measure import cpu_s, median_figure
from bench.objects import CONFIG_MAPS

EVENTS = 20


class _Arrivals:
    """Counts the watchers that have been told of one change."""

    def __init__(self, watchers: int) -> None:
        self._watchers = watchers
        self._arrived = 0
        self.mark = b""
        self.all_there = asyncio.Event()
        self.first_s = 0.0

    def expect(self, mark: bytes) -> None:
        self.mark = mark
        self._arrived = 0
        self.first_s = 0.0
        self.all_there.clear()

    def arrive(self) -> None:
        if not self._arrived:
            self.first_s = time.perf_counter()
        self._arrived += 1
        if self._arrived == self._watchers:
            self.all_there.set()

    def watcher(self) -> Callable[[bytes], None]:
        """What takes one watcher's bytes; a server may cut an event anywhere."""
        tail = b""

        def take(data: bytes) -> None:
            nonlocal tail
            mark = self.mark
            if not mark:
                return
            if mark in data or mark in tail + data[: len(mark)]:
                self.arrive()
                tail = b""
            else:
                tail = (tail + data)[-len(mark) :]

        return take


async def bench_watch(
    target: Target, report: Report, *, watcher_counts: tuple[int, ...] = (1, 100, 1000)
) -> None:
    """From sending a change until the last watcher has it."""
    name = f"{CONFIG_MAPS}/watched"
    tree = {"metadata": {"name": "watched"}, "data": {"value": "0"}}
    await need(target, "POST", CONFIG_MAPS, tree)
    for watchers in watcher_counts:
        arrivals = _Arrivals(watchers)
        path = f"{CONFIG_MAPS}?watch=true"
        streams: list[Stream] = []
        writer = await Kept.open(target)
        try:
            for start in range(0, watchers, 50):
                opening = (
                    Stream.open(target, path, arrivals.watcher(), raw=True)
                    for _ in range(start, min(watchers, start + 50))
                )
                streams += await asyncio.gather(*opening)
            await asyncio.sleep(0.5)
            last: list[float] = []
            spread: list[float] = []
            before = cpu_s(target.pids)
            for number in range(EVENTS):
                mark = f"mark-{watchers}-{number}-"
                arrivals.expect(mark.encode())
                started_s = time.perf_counter()
                body = {"metadata": {"name": "watched"}, "data": {"value": mark}}
                await writer.send(target.request("PUT", name, json.dumps(body).encode()))
                async with asyncio.timeout(30):
                    await arrivals.all_there.wait()
                now_s = time.perf_counter()
                last.append((now_s - started_s) * 1000)
                spread.append((now_s - arrivals.first_s) * 1000)
            spent = (cpu_s(target.pids) - before) / EVENTS * 1e6
        finally:
            writer.close()
            for stream in streams:
                stream.close()
        cost = spent if target.pids else None
        ordered = sorted(last)
        report(
            median_figure(
                f"change sent until at {watchers} watchers",
                last,
                "ms",
                p50_ms=ordered[len(ordered) // 2],
                p99_ms=ordered[-1],
                cpu_us=cost,
            )
        )
        if watchers > 1:
            report(median_figure(f"first to last of {watchers} watchers", spread, "ms"))
        with contextlib.suppress(OSError):
            await asyncio.sleep(0.2)
    await need(target, "DELETE", name)
