"""Figures of containers and sandboxes, read from cgroups and network namespaces."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from kutter.base.clock import Clock
from kutter.linux.cgroups import Cgroups
from kutter.linux.namespaces import is_pinned, read_link_counters
from kutter.runtime.cri import ContainerStats, SandboxStats
from kutter.runtime.embedded.containers import LiveContainer
from kutter.runtime.embedded.records import Phase

# Walking a writable layer is disk work: not more often than this.
_LAYER_AGE_S = 30.0
_INTERFACE = "eth0"


def measure_folder(folder: Path) -> int:
    """Bytes on disk below ``folder``; what vanishes meanwhile is left out."""
    total = 0
    pending = [str(folder)]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                facts = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            total += facts.st_blocks * 512
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
    return total


class StatsReader:
    """Reads figures; remembers only when each writable layer was last measured."""

    def __init__(self, cgroups: Cgroups, clock: Clock) -> None:
        self._cgroups = cgroups
        self._clock = clock
        self._layers: dict[str, tuple[float, int]] = {}

    async def container(self, live: LiveContainer) -> ContainerStats:
        """Zeros for a container that does not run."""
        usage = self._cgroups.read_usage(live.record.cgroup)
        return ContainerStats(
            container_id=live.record.id,
            name=live.record.config.metadata.name,
            timestamp_ns=int(self._clock.now().timestamp() * 1e9),
            cpu_usage_ns=usage.cpu_ns,
            memory_usage_bytes=usage.memory_bytes,
            memory_working_set_bytes=usage.working_set_bytes,
            writable_layer_bytes=await self._measure(live),
            pids=usage.pids,
            memory_rss_bytes=usage.rss_bytes,
            page_faults=usage.page_faults,
            major_page_faults=usage.major_page_faults,
            memory_limit_bytes=live.record.config.resources.memory_limit_bytes,
            started_at_ns=live.record.started_at_ns,
        )

    async def _measure(self, live: LiveContainer) -> int:
        now = self._clock.monotonic()
        when, size = self._layers.get(live.record.id, (-_LAYER_AGE_S, 0))
        if now - when >= _LAYER_AGE_S:
            size = await asyncio.to_thread(measure_folder, live.home / "upper")
            self._layers[live.record.id] = (now, size)
        return size

    def forget(self, container_id: str) -> None:
        """The container is removed."""
        self._layers.pop(container_id, None)

    async def sandbox(
        self, sandbox_id: str, namespace: Path | None, containers: list[LiveContainer]
    ) -> SandboxStats:
        """Figures of the running containers, and of the sandbox's interface."""
        running = [live for live in containers if live.record.phase is Phase.RUNNING]
        stats = [await self.container(live) for live in running]
        received = sent = 0
        if namespace is not None and is_pinned(namespace):
            received, sent = await asyncio.to_thread(read_link_counters, namespace, _INTERFACE)
        now = int(self._clock.now().timestamp() * 1e9)
        return SandboxStats(sandbox_id, now, tuple(stats), received, sent)
