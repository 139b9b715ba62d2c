"""Scale-out by simulation: thousands of nodes sending leases, a hundred thousand pods, one server.

``nice python -m bench.scale [--nodes 5000] [--pods 150000] [--watches 5000] [--json FILE]``. Not a
part of ``make bench``: it takes a quarter of an hour and a few gigabytes. Each node renews its
lease every ten seconds and, as a kubelet does, watches the pods bound to it, both under its own
name, so that priority and fairness seats it where kubelets are; pods are created bound.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench import report
from bench.api import LANES, MERGE, fixed, measure
from bench.driver import LoadResult, Stream, Target, need, run_load
from bench.measure import Figure, busiest_wakeups, cpu_s, resident_mb
from bench.objects import PODS, pod_tree
from bench.paced import Pace
from bench.scheduling import make_nodes
from bench.target import own_target

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
RENEW_EVERY_S = 10.0
QUIET_S = 20.0
STAGES = 3


def lease_body(name: str) -> bytes:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}
    return json.dumps({"metadata": {"name": name}, "spec": spec}).encode()


class Heartbeats:
    """Renews every node's lease, evenly spread over the period."""

    def __init__(self, target: Target, nodes: int) -> None:
        self._target, self._nodes = target, nodes
        self.result = LoadResult()
        self._task: asyncio.Task[None] | None = None

    def _renewals(self) -> Iterator[bytes]:
        for number in itertools.count():
            name = f"bench-{number % self._nodes}"
            node = replace(self._target, node=name)
            yield node.request("PATCH", f"{LEASES}/{name}", lease_body(name), MERGE)

    async def start(self) -> None:
        posts = (
            self._target.request("POST", LEASES, lease_body(f"bench-{n}"))
            for n in range(self._nodes)
        )
        await run_load(self._target, posts, lanes=LANES)
        pace = Pace(self._renewals(), self._nodes / RENEW_EVERY_S)
        self._task = asyncio.ensure_future(pace.run(self._target, self.result, 1e9))

    def latencies(self) -> tuple[float, float, int]:
        """p50 and p99 in ms and the failures since the last call."""
        result = self.result
        found = result.percentile_ms(0.5), result.percentile_ms(0.99), result.failed
        result.latencies_s.clear()
        result.statuses.clear()
        return found

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class Simulation:
    """One server under growing weight; every stage is measured alike."""

    def __init__(self, target: Target, options: argparse.Namespace) -> None:
        self._target = target
        self._options = options
        self._beats = Heartbeats(target, options.nodes)
        self._streams: list[Stream] = []
        self._told = 0
        self.figures: list[Figure] = []

    def report(self, figure: Figure) -> None:
        self.figures.append(figure)
        report.print_row(figure)

    def _count(self, data: bytes) -> None:
        self._told += len(data)

    async def run(self) -> None:
        options, target = self._options, self._target
        report.print_head(f"{options.nodes} nodes, {options.pods} pods, {options.watches} watches")
        before_s, started_s = cpu_s(target.pids), time.perf_counter()
        await make_nodes(target, options.nodes)
        self.report(
            Figure(
                f"{options.nodes} nodes made",
                options.nodes / (time.perf_counter() - started_s),
                "nodes/s",
                cpu_us=(cpu_s(target.pids) - before_s) / options.nodes * 1e6,
            )
        )
        await self._beats.start()
        await self._open_watches()
        await self._stage(0)
        for stage in range(STAGES):
            low = options.pods * stage // STAGES
            high = options.pods * (stage + 1) // STAGES
            await self._create(low, high)
            await self._stage(high)
        await self._beats.stop()
        for stream in self._streams:
            stream.close()

    async def _open_watches(self) -> None:
        watches = self._options.watches
        started_s = time.perf_counter()
        for start in range(0, watches, 50):
            self._streams += await asyncio.gather(
                *(
                    Stream.open(
                        replace(self._target, node=f"bench-{n}"),
                        f"/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dbench-{n}",
                        self._count,
                        raw=True,
                    )
                    for n in range(start, min(watches, start + 50))
                )
            )
        if watches:
            rate = watches / (time.perf_counter() - started_s)
            self.report(Figure(f"{watches} watches opened", rate, "watches/s"))

    async def _create(self, low: int, high: int) -> None:
        def posts() -> Iterator[bytes]:
            for number in range(low, high):
                tree = pod_tree(f"sim-{number}")
                tree["spec"]["nodeName"] = f"bench-{number % self._options.nodes}"
                yield self._target.request("POST", PODS, json.dumps(tree).encode())

        self._beats.latencies()
        before_s = cpu_s(self._target.pids)
        result = await run_load(self._target, posts(), lanes=LANES)
        spent = (cpu_s(self._target.pids) - before_s) / result.count * 1e6
        self.report(
            Figure(
                f"POST, from {low} to {high} pods",
                result.count / result.wall_s,
                "requests/s",
                p50_ms=result.percentile_ms(0.5),
                p99_ms=result.percentile_ms(0.99),
                cpu_us=spent,
                failed=result.failed,
            )
        )
        p50, p99, failed = self._beats.latencies()
        what = f"lease renewal meanwhile, {low} to {high} pods"
        self.report(Figure(what, p50, "ms", None, None, p50, p99, failed=failed))

    async def _stage(self, pods: int) -> None:
        target = self._target
        await asyncio.sleep(5)
        self._beats.latencies()
        before_s, woken = cpu_s(target.pids), busiest_wakeups(target.pids)
        await asyncio.sleep(QUIET_S)
        spent = (cpu_s(target.pids) - before_s) / QUIET_S * 100
        wakes = sum(n - woken.get(t, n) for t, n in busiest_wakeups(target.pids).items())
        p50, p99, failed = self._beats.latencies()
        self.report(Figure(f"memory with {pods} pods", resident_mb(target.pids), "MB"))
        self.report(Figure(f"CPU, leases only, {pods} pods", spent, "% of a core"))
        self.report(Figure(f"wake-ups, leases only, {pods} pods", wakes / QUIET_S, "1/s"))
        self.report(
            Figure(
                f"lease renewal with {pods} pods", p50, "ms", None, None, p50, p99, failed=failed
            )
        )
        if not pods:
            return
        get = fixed(target.request("GET", f"{PODS}/sim-0"))
        self.report(await measure(target, f"GET among {pods}", get, lanes=4, seconds=2.0, runs=1))
        page = fixed(target.request("GET", f"{PODS}?limit=500"))
        self.report(
            await measure(target, f"page of 500 of {pods}", page, lanes=1, seconds=2.0, runs=1)
        )
        node = fixed(target.request("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dbench-1"))
        what = f"one node's pods of {pods}"
        self.report(await measure(target, what, node, lanes=1, seconds=2.0, runs=1))
        whole = fixed(target.request("GET", "/api/v1/pods"))
        what = f"LIST of all {pods}"
        self.report(await measure(target, what, whole, lanes=1, seconds=3.0, runs=1))
        p50, p99, failed = self._beats.latencies()
        what = f"lease renewal while that is read, {pods} pods"
        self.report(Figure(what, p50, "ms", None, None, p50, p99, failed=failed))


async def _main(options: argparse.Namespace) -> None:
    before = report.machine()
    async with own_target() as target:
        simulation = Simulation(target, options)
        try:
            await simulation.run()
            await need(target, "GET", "/readyz")
        finally:
            if options.json is not None:
                report.write_json(options.json, {"scale": simulation.figures}, before)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=150_000)
    parser.add_argument("--watches", type=int, default=5000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(_main(options))


if __name__ == "__main__":
    main()
