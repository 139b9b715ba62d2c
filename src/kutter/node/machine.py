"""Facts about this machine, read from ``/proc``, ``/etc`` and ``uname``."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class Machine:
    """What a node reports about its hardware and system. Sizes in bytes."""

    cpus: int
    memory_bytes: int
    swap_bytes: int
    architecture: str
    kernel_version: str
    os_image: str
    machine_id: str
    system_uuid: str
    boot_id: str


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def read_meminfo() -> dict[str, int]:
    """``/proc/meminfo`` in bytes."""
    found = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words:
            found[name] = int(words[0]) * (1024 if len(words) > 1 else 1)
    return found


def _os_image() -> str:
    for line in _read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def read_machine() -> Machine:
    """Look at the machine now."""
    memory = read_meminfo()
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=memory.get("MemTotal", 0),
        swap_bytes=memory.get("SwapTotal", 0),
        architecture=_ARCHITECTURES.get(platform.machine(), platform.machine()),
        kernel_version=platform.release(),
        os_image=_os_image(),
        machine_id=_read("/etc/machine-id") or _read("/var/lib/dbus/machine-id"),
        system_uuid=_read("/sys/class/dmi/id/product_uuid") or _read("/etc/machine-id"),
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
    )


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """One file system: bytes and inodes, whole and available to us."""

    capacity_bytes: int
    available_bytes: int
    inodes: int
    inodes_free: int


def read_disk(path: Path) -> DiskUsage:
    """The file system ``path`` is on. Raises OSError."""
    found = os.statvfs(path)
    return DiskUsage(
        found.f_blocks * found.f_frsize,
        found.f_bavail * found.f_frsize,
        found.f_files,
        found.f_favail,
    )
