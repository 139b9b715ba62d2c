"""Pods created and bound on nodes that run nothing."""

from __future__ import annotations

import asyncio
import json
import time

from bench.api import LANES, Report, delete_pods
from bench.driver import Stream, Target, run_load
from bench.measure import cpu_s, median_figure
from bench.objects import PODS, node_status, node_tree, pod_body

NODES = "/api/v1/nodes"
STRATEGIC = "application/strategic-merge-patch+json"


class _Bindings:
    """Counts pods whose node is set, from a watch."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._rest = b""
        self._bound: set[str] = set()
        self.done = asyncio.Event()

    def take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if b'"nodeName":"' in line and line.startswith(b'{"type":"MODIFIED"'):
                at = line.find(b'"name":"')
                self._bound.add(line[at : line.find(b'"', at + 8)].decode())
        if len(self._bound) >= self._wanted:
            self.done.set()


async def make_nodes(target: Target, count: int) -> None:
    names = [f"bench-{i}" for i in range(count)]
    await run_load(
        target,
        (target.request("POST", NODES, json.dumps(node_tree(n)).encode()) for n in names),
        lanes=LANES,
    )
    await run_load(
        target,
        (
            target.request(
                "PATCH", f"{NODES}/{n}/status", json.dumps(node_status(n)).encode(), STRATEGIC
            )
            for n in names
        ),
        lanes=LANES,
    )


async def bench_scheduling(
    target: Target, report: Report, *, nodes: int = 1000, pods: int = 3000, runs: int = 3
) -> None:
    """From the first POST to the last binding; nodes are fresh, so none is out of contact yet."""
    await make_nodes(target, nodes)
    rates: list[float] = []
    costs: list[float] = []
    for run in range(runs):
        bindings = _Bindings(pods)
        path = f"{PODS}?watch=true&allowWatchBookmarks=false"
        stream = await Stream.open(target, path, bindings.take)
        before = cpu_s(target.pids)
        started_s = time.perf_counter()
        requests = (
            target.request("POST", PODS, pod_body(f"bind-{run}-{i}", scheduler="default-scheduler"))
            for i in range(pods)
        )
        loaded = await run_load(target, requests, lanes=LANES)
        try:
            async with asyncio.timeout(120):
                await bindings.done.wait()
            rates.append(pods / (time.perf_counter() - started_s))
            costs.append((cpu_s(target.pids) - before) / pods * 1e6)
        finally:
            stream.close()
        if loaded.failed:
            raise RuntimeError(f"{loaded.failed} pods were refused: {loaded.statuses}")
        await delete_pods(target, (f"bind-{run}-{i}" for i in range(pods)))
    report(
        median_figure(
            f"{pods} pods created and bound, {nodes} nodes",
            rates,
            "pods/s",
            cpu_us=sorted(costs)[len(costs) // 2] if target.pids else None,
        )
    )
    await run_load(
        target, (target.request("DELETE", f"{NODES}/bench-{i}") for i in range(nodes)), lanes=LANES
    )
