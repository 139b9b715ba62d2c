"""Metrics of this process, named as every Prometheus client names them; read when asked for.

https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from kutter.base.metrics import Gauge, Registry, Total

_SELF = Path("/proc/self")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/self/stat after the command's name, counted from there.
_STARTED_AT = 19


def add_process_metrics(registry: Registry) -> None:
    """Let ``registry`` tell of the process it is in."""
    registry.add(
        Total(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            read=_cpu_s,
        )
    )
    for name, text, read in (
        ("process_resident_memory_bytes", "Resident memory size in bytes.", _resident_bytes),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", _virtual_bytes),
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            _started_at,
        ),
        ("process_open_fds", "Number of open file descriptors.", _open_files),
        ("process_max_fds", "Maximum number of open file descriptors.", _most_files),
    ):
        registry.add(Gauge(name, text, read=read))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory_pages() -> list[int]:
    return [int(text) for text in (_SELF / "statm").read_text().split()]


def _virtual_bytes() -> float:
    return _memory_pages()[0] * _PAGE_BYTES


def _resident_bytes() -> float:
    return _memory_pages()[1] * _PAGE_BYTES


def _started_at() -> float:
    ticks = int((_SELF / "stat").read_text().rpartition(") ")[2].split()[_STARTED_AT])
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return int(line.split()[1]) + ticks / _TICKS_PER_S
    return 0.0


def _open_files() -> float:
    return len(os.listdir(_SELF / "fd"))


def _most_files() -> float:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
