"""When the node runs short: signals, thresholds, whom to evict. Pure but for the reading.

https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kutter.api.types.core_v1 import Pod
from kutter.node.machine import read_disk, read_meminfo
from kutter.node.node_object import Pressure
from kutter.node.options import EvictionThresholds
from kutter.node.resources import pod_amounts

PID_AVAILABLE = 0.05


@dataclass(frozen=True, slots=True)
class Signals:
    """What the machine has left."""

    memory_available_bytes: int
    disk_capacity_bytes: int
    disk_available_bytes: int
    inodes: int
    inodes_free: int
    pids_maximum: int
    pids_used: int


class Victim(NamedTuple):
    """The pod to evict and what it is told."""

    pod: Pod
    message: str


def read_signals(root: Path) -> Signals:
    """Look at the machine now. Raises OSError."""
    disk = read_disk(root)
    maximum = int(Path("/proc/sys/kernel/pid_max").read_text())
    used = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    return Signals(
        memory_available_bytes=read_meminfo().get("MemAvailable", 0),
        disk_capacity_bytes=disk.capacity_bytes,
        disk_available_bytes=disk.available_bytes,
        inodes=disk.inodes,
        inodes_free=disk.inodes_free,
        pids_maximum=maximum,
        pids_used=used,
    )


def disk_usage_bytes(root: Path) -> int:
    """What a folder's files take on disk, not following links or leaving the file system."""
    total, device = 0, root.lstat().st_dev
    for folder, _, files in os.walk(root):
        for name in files:
            try:
                found = os.lstat(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            if found.st_dev == device:
                total += found.st_blocks * 512
    return total


def compute_pressure(signals: Signals, thresholds: EvictionThresholds) -> Pressure:
    """Which thresholds are crossed. A file system without an inode count has enough of them."""
    disk = signals.disk_available_bytes < thresholds.nodefs_available * signals.disk_capacity_bytes
    if signals.inodes:
        disk = disk or signals.inodes_free < thresholds.nodefs_inodes_free * signals.inodes
    free_pids = signals.pids_maximum - signals.pids_used
    return Pressure(
        memory=signals.memory_available_bytes < thresholds.memory_available_bytes,
        disk=disk,
        pid=free_pids < PID_AVAILABLE * signals.pids_maximum,
    )


def rank(pods: Sequence[Pod], usage: Mapping[str, int]) -> list[Pod]:
    """First to go first: over its request, then low priority, then most above its request."""

    def order(pod: Pod) -> tuple[bool, int, int]:
        request = int(pod_amounts(pod, "requests").get("memory", 0))
        used = usage.get(pod.metadata.uid, 0)
        return (used <= request, pod.spec.priority or 0, request - used)

    return sorted(pods, key=order)


def _is_critical(pod: Pod) -> bool:
    static = "kubernetes.io/config.source" in pod.metadata.annotations
    return static or (pod.spec.priority or 0) >= 2_000_000_000


def choose_victim(
    pods: Sequence[Pod], usage: Mapping[str, int], pressure: Pressure
) -> Victim | None:
    """Whom to evict now; None when nobody may be."""
    candidates = [pod for pod in pods if not _is_critical(pod)]
    if not candidates:
        return None
    resource = "memory" if pressure.memory else "pids" if pressure.pid else "ephemeral-storage"
    return Victim(rank(candidates, usage)[0], f"The node was low on resource: {resource}. ")
