"""What a runtime test may leave behind: nothing."""

from __future__ import annotations

import os
from pathlib import Path

from kutter.linux.cgroups import Cgroups
from kutter.linux.mounts import mounts_below


def find_leaks(base: Path, cgroup: str, cgroups: Cgroups) -> list[str]:
    """Mounts, processes and cgroups that speak of ``base`` or are in ``cgroup``."""
    leaks = [f"mount {point}" for point in mounts_below(base)]
    leaks += [f"process {pid} in {cgroup}" for pid in cgroups.list_pids(cgroup)]
    if cgroups.exists(cgroup):
        leaks.append(f"cgroup {cgroup}")
    wanted = str(base).encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            command = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if wanted in command:
            leaks.append(f"process {name}: {command.replace(bytes(1), b' ').decode()[:200]}")
    return leaks
