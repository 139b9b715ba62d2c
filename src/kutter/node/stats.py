"""What pods and node use now: ``/stats/summary`` and ``/metrics/resource``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kutter.base.clock import render_time
from kutter.node.cpu_rates import Sample
from kutter.node.machine import read_disk, read_meminfo
from kutter.node.moments import render_ns
from kutter.runtime.cri import ContainerStats, CriError, SandboxStats

if TYPE_CHECKING:
    from kutter.node.agent import NodeAgent
    from kutter.node.pod_worker import PodWorker

Tree = dict[str, Any]

# How long the first asker waits for a second sample.
SECOND_LOOK_S = 0.25


async def _pod_stats(agent: NodeAgent, worker: PodWorker) -> SandboxStats | None:
    if not worker.ended:
        for sandbox in agent.view.sandboxes(worker.uid)[:1]:
            try:
                return await agent.runtime.sandbox_stats(sandbox.id)
            except CriError:
                return None  # it ended meanwhile
    return None


async def _all_stats(agent: NodeAgent) -> list[tuple[PodWorker, SandboxStats]]:
    workers = list(agent.workers.values())
    found = await asyncio.gather(*(_pod_stats(agent, worker) for worker in workers))
    return [(w, s) for w, s in zip(workers, found, strict=True) if s is not None]


def node_cpu_ns() -> int:
    """CPU time of the whole machine since boot, busy states only."""
    with open("/proc/stat") as file:
        parts = [int(n) for n in file.readline().split()[1:9]]
    idle = parts[3] + parts[4]
    return (sum(parts) - idle) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


NODE = "node"

Measured = list[tuple["PodWorker", SandboxStats]]


def _samples(agent: NodeAgent, measured: Measured) -> dict[str, Sample]:
    """CPU samples of the node and of every container."""
    now_ns = int(agent.clock.monotonic() * 1e9)
    samples = {NODE: Sample(now_ns, node_cpu_ns())}
    for _, stats in measured:
        for c in stats.containers:
            samples[c.container_id] = Sample(c.timestamp_ns, c.cpu_usage_ns)
    return samples


async def _measure(agent: NodeAgent) -> tuple[Measured, dict[str, int]]:
    """Figures of all pods, and CPU rates in nanocores by container id (and :data:`NODE`)."""
    rates = agent.cpu_rates
    measured = await _all_stats(agent)
    samples = _samples(agent, measured)
    if rates.lacks(samples):
        rates.remember(samples)
        await agent.clock.sleep(SECOND_LOOK_S)
        measured = await _all_stats(agent)
        samples = _samples(agent, measured)
    found = {key: rates.rate(key, sample) for key, sample in samples.items()}
    rates.remember(samples)
    return measured, found


def _container(stats: ContainerStats, nano_cores: int) -> Tree:
    moment = render_ns(stats.timestamp_ns)
    tree: Tree = {
        "name": stats.name,
        "startTime": render_ns(stats.started_at_ns),
        "cpu": {
            "time": moment,
            "usageNanoCores": nano_cores,
            "usageCoreNanoSeconds": stats.cpu_usage_ns,
        },
        "memory": {"time": moment, **_memory([stats])},
        "rootfs": {"time": moment, "usedBytes": stats.writable_layer_bytes},
    }
    if stats.memory_limit_bytes:
        free = stats.memory_limit_bytes - stats.memory_working_set_bytes
        tree["memory"]["availableBytes"] = max(0, free)
    return tree


def _memory(containers: Sequence[ContainerStats]) -> Tree:
    return {
        "usageBytes": sum(c.memory_usage_bytes for c in containers),
        "workingSetBytes": sum(c.memory_working_set_bytes for c in containers),
        "rssBytes": sum(c.memory_rss_bytes for c in containers),
        "pageFaults": sum(c.page_faults for c in containers),
        "majorPageFaults": sum(c.major_page_faults for c in containers),
    }


async def summary(agent: NodeAgent) -> Tree:
    """The summary API's body."""
    now = render_time(agent.clock.now())
    memory, disk = read_meminfo(), read_disk(agent.options.root)
    pods = []
    measured, rates = await _measure(agent)
    for worker, stats in measured:
        meta = worker.pod.metadata
        containers = stats.containers
        memory_now: Tree = {"time": now, **_memory(containers)}
        pods.append(
            {
                "podRef": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
                "startTime": worker.pod.status.start_time or meta.creation_timestamp,
                "containers": [_container(c, rates.get(c.container_id, 0)) for c in containers],
                "cpu": {
                    "time": now,
                    "usageNanoCores": sum(rates.get(c.container_id, 0) for c in containers),
                    "usageCoreNanoSeconds": sum(c.cpu_usage_ns for c in containers),
                },
                "memory": memory_now,
                "network": {
                    "time": now,
                    "name": "eth0",
                    "rxBytes": stats.network_rx_bytes,
                    "txBytes": stats.network_tx_bytes,
                },
                "process_stats": {"process_count": sum(c.pids for c in containers)},
            }
        )
    used = memory.get("MemTotal", 0) - memory.get("MemAvailable", 0)
    filesystem = {
        "time": now,
        "availableBytes": disk.available_bytes,
        "capacityBytes": disk.capacity_bytes,
        "usedBytes": disk.capacity_bytes - disk.available_bytes,
        "inodes": disk.inodes,
        "inodesFree": disk.inodes_free,
    }
    node = {
        "nodeName": agent.options.node_name,
        "startTime": now,
        "cpu": {
            "time": now,
            "usageNanoCores": rates.get(NODE, 0),
            "usageCoreNanoSeconds": node_cpu_ns(),
        },
        "memory": {
            "time": now,
            "availableBytes": memory.get("MemAvailable", 0),
            "usageBytes": used,
            "workingSetBytes": used,
            "rssBytes": memory.get("AnonPages", 0),
        },
        "fs": filesystem,
        "runtime": {"imageFs": filesystem},
    }
    return {"node": node, "pods": pods}


async def render_resource_metrics(agent: NodeAgent) -> bytes:
    """CPU and memory of node, pods and containers as Prometheus text."""
    memory = read_meminfo()
    used = memory.get("MemTotal", 0) - memory.get("MemAvailable", 0)
    lines = [
        "# TYPE node_cpu_usage_seconds_total counter",
        f"node_cpu_usage_seconds_total {node_cpu_ns() / 1e9}",
        "# TYPE node_memory_working_set_bytes gauge",
        f"node_memory_working_set_bytes {used}",
    ]
    cpu = ["# TYPE container_cpu_usage_seconds_total counter"]
    sets = ["# TYPE container_memory_working_set_bytes gauge"]
    starts = ["# TYPE container_start_time_seconds gauge"]
    pods_cpu = ["# TYPE pod_cpu_usage_seconds_total counter"]
    pods_memory = ["# TYPE pod_memory_working_set_bytes gauge"]
    for worker, stats in await _all_stats(agent):
        meta = worker.pod.metadata
        for c in stats.containers:
            labels = f'{{container="{c.name}",namespace="{meta.namespace}",pod="{meta.name}"}}'
            cpu.append(f"container_cpu_usage_seconds_total{labels} {c.cpu_usage_ns / 1e9}")
            sets.append(f"container_memory_working_set_bytes{labels} {c.memory_working_set_bytes}")
            starts.append(f"container_start_time_seconds{labels} {c.started_at_ns / 1e9}")
        labels = f'{{namespace="{meta.namespace}",pod="{meta.name}"}}'
        cpu_ns = sum(c.cpu_usage_ns for c in stats.containers)
        memory_bytes = sum(c.memory_working_set_bytes for c in stats.containers)
        pods_cpu.append(f"pod_cpu_usage_seconds_total{labels} {cpu_ns / 1e9}")
        pods_memory.append(f"pod_memory_working_set_bytes{labels} {memory_bytes}")
    end = ["# TYPE resource_scrape_error gauge", "resource_scrape_error 0"]
    parts = [*lines, *cpu, *sets, *starts, *pods_cpu, *pods_memory, *end]
    return ("\n".join(parts) + "\n").encode()
