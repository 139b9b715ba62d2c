"""Reads the facts of this machine that specs depend on."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kutter.linux.cgroups import Cgroups, Layout
from kutter.runtime.cri import CreateContainerError, Device
from kutter.runtime.embedded.spec import ALL_CAPABILITIES, DeviceNode, Host

_CAP_SYS_RESOURCE = 24
# Made anew in each container by the OCI runtime, or a terminal of ours.
_NOT_PASSED = ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/.lxc", "/dev/fd")  # noqa: S108
_MADE_ANEW = frozenset(
    f"/dev/{name}"
    for name in ("null", "zero", "full", "tty", "urandom", "random", "console", "ptmx")
)
_DEVICES_MAX = 4096


def _read_status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1], 16)
    return 0


def describe_device(path: Path, container_path: str, permissions: str = "rwm") -> DeviceNode:
    """One device node. Raises OSError, CreateContainerError when it is none."""
    facts = path.stat()
    if stat.S_ISCHR(facts.st_mode):
        kind = "c"
    elif stat.S_ISBLK(facts.st_mode):
        kind = "b"
    else:
        raise CreateContainerError(f"{path} is not a device")
    return DeviceNode(
        container_path,
        kind,
        os.major(facts.st_rdev),
        os.minor(facts.st_rdev),
        permissions,
        stat.S_IMODE(facts.st_mode),
        facts.st_uid,
        facts.st_gid,
    )


def list_device_nodes(folder: Path = Path("/dev")) -> tuple[DeviceNode, ...]:
    """Every device below ``folder`` a privileged container gets."""
    nodes: list[DeviceNode] = []
    for current, folders, names in os.walk(folder):
        folders[:] = [n for n in folders if f"{current}/{n}" not in _NOT_PASSED]
        for name in names:
            path = f"{current}/{name}"
            if path in _MADE_ANEW or os.path.islink(path) or len(nodes) >= _DEVICES_MAX:
                continue
            mode = os.lstat(path).st_mode
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                nodes.append(describe_device(Path(path), path))
    return tuple(nodes)


def resolve_devices(devices: tuple[Device, ...]) -> tuple[DeviceNode, ...]:
    """Devices a container asks for; a folder stands for the devices in it."""
    nodes: list[DeviceNode] = []
    for device in devices:
        try:
            if device.host_path.is_dir():
                for path in sorted(device.host_path.iterdir()):
                    if stat.S_ISCHR(path.stat().st_mode) or stat.S_ISBLK(path.stat().st_mode):
                        target = f"{device.container_path}/{path.name}"
                        nodes.append(describe_device(path, target, device.permissions))
            else:
                nodes.append(
                    describe_device(device.host_path, device.container_path, device.permissions)
                )
        except OSError as error:
            raise CreateContainerError(f"device {device.host_path}: {error.strerror}") from None
    return tuple(nodes)


def inspect_host(cgroups: Cgroups) -> Host:
    """Facts that do not change while we run (devices are read anew when needed)."""
    bounding = _read_status("CapBnd")
    effective = _read_status("CapEff")
    own_adjust = int(Path("/proc/self/oom_score_adj").read_text())
    return Host(
        capabilities=tuple(
            name for number, name in enumerate(ALL_CAPABILITIES) if bounding >> number & 1
        ),
        # Without this capability a process may not go below where it is.
        oom_score_adj_min=-1000 if effective >> _CAP_SYS_RESOURCE & 1 else own_adjust,
        cgroup_v2=cgroups.layout is Layout.V2,
        seccomp=Path("/proc/sys/kernel/seccomp/actions_avail").exists(),
    )
