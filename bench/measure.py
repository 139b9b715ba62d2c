"""What is measured and how it is told: medians with their spread, CPU beside wall-clock.

Wall-clock on a shared machine is noisy; the CPU time the server's processes spent on one
operation (user and system, from /proc) is not, or much less.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Figure:
    """One line of the report. Missing values are None."""

    what: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_us: float | None = None  # CPU of the server's processes, per operation
    runs: int = 1
    failed: int = 0

    def as_tree(self) -> dict[str, Any]:
        return asdict(self)


def median_figure(what: str, values: Sequence[float], unit: str, **rest: Any) -> Figure:
    """A figure of several runs: their median, and the lowest and highest."""
    return Figure(
        what,
        statistics.median(values),
        unit,
        low=min(values),
        high=max(values),
        runs=len(values),
        **rest,
    )


def cpu_s(pids: Sequence[int]) -> float:
    """User and system time the processes have used so far."""
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) * _TICK_S
    return total


def resident_mb(pids: Sequence[int]) -> float:
    """Proportional resident memory (shared pages divided among who shares them)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def busiest_wakeups(pids: Sequence[int]) -> dict[str, int]:
    """Voluntary context switches so far, of each thread: how often each woke up."""
    found: dict[str, int] = {}
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            try:
                text = (task / "status").read_text()
            except OSError:
                continue  # it has ended
            for line in text.splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    found[task.name] = int(line.split()[1])
    return found


_TIMED_OUT = re.compile(r"\[\], \d+, ([1-9]\d*), NULL, 8\) += 0$")


def timer_rates(pids: Sequence[int], seconds: float) -> dict[int, float] | None:
    """How often a second each process's loop was woken by a timer; None without strace.

    Context switches would count every hand-over between threads of one wake-up.
    """
    if shutil.which("strace") is None:
        return None
    traced = {
        pid: subprocess.Popen(
            [
                "timeout",
                str(seconds),
                "strace",
                "-f",
                "-e",
                "epoll_wait,epoll_pwait",
                "-p",
                f"{pid}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for pid in pids
    }
    rates = {}
    for pid, process in traced.items():
        _, lines = process.communicate()
        rates[pid] = sum(bool(_TIMED_OUT.search(line)) for line in lines.splitlines()) / seconds
    return rates


def pressure_ms() -> dict[str, float]:
    """How long so far anything on the machine waited for a CPU, and for the disk.

    Empty where the kernel does not tell. What a slow run waited is the machine's, not the server's.
    """
    found = {}
    for what in ("cpu", "io"):
        try:
            line = Path(f"/proc/pressure/{what}").read_text().partition("\n")[0]
        except OSError:
            continue
        found[what] = int(line.rpartition("total=")[2]) / 1000
    return found


def load_average() -> float:
    return os.getloadavg()[0]
