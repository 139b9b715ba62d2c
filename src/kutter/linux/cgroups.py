"""Between the node and cgroups: one face over version 1, hybrid and version 2.

A *group* is an absolute path below the hierarchy's root (``/kutter/pod1``). On version 1 and
hybrid hosts it exists in every controller's hierarchy; on version 2 once. Calls on a group
that does not exist read as zeros and remove nothing. Files: cgroups(7),
https://docs.kernel.org/admin-guide/cgroup-v2.html.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from kutter.linux.mounts import MountEntry, list_mounts


class Layout(Enum):
    """How the host mounts cgroups. On ``HYBRID`` the controllers are on version 1."""

    V1 = "v1"
    HYBRID = "hybrid"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be written; None leaves a value alone, -1 of a maximum means no limit."""

    cpu_shares: int | None = None
    cpu_quota_us: int | None = None
    cpu_period_us: int | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    hugepages: Mapping[str, int] = field(default_factory=dict)  # "2MB": bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """Cumulative CPU time and page faults, memory now, tasks.

    The working set is without inactive file pages, ``rss`` without all file pages.
    """

    cpu_ns: int = 0
    memory_bytes: int = 0
    working_set_bytes: int = 0
    pids: int = 0
    oom_kills: int = 0
    rss_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0


def _is_group(group: str) -> bool:
    return group.startswith("/") and ".." not in group


def shares_to_weight(shares: int) -> int:
    """cpu.shares (2..262144) as cpu.weight (1..10000), as the kubelet maps them since v1.35.

    A curve through the least, the default (1024 is 100) and the largest value; before, a straight
    line made the default a 39th, and containers lost to everything else on the machine.
    """
    if shares <= 0:
        return 0
    bits = math.log2(min(max(shares, 2), 262144))
    if bits <= 1:
        return 1
    return min(10000, math.ceil(10 ** ((bits * bits + 125 * bits) / 612 - 7 / 34)))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return ""
        raise


def _read_int(path: Path) -> int:
    text = _read(path).strip()
    return int(text) if text.lstrip("-").isdigit() else 0


def _read_keyed(path: Path) -> dict[str, int]:
    values = {}
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        with contextlib.suppress(ValueError):
            values[key] = int(value)
    return values


class Cgroups:
    """The cgroup hierarchies of this host."""

    def __init__(self, layout: Layout, roots: Mapping[str, Path]) -> None:
        """``roots``: controller (or ``name=x``, ``unified``) to mount point."""
        self.layout = layout
        self.roots = dict(roots)

    # Paths

    def path(self, controller: str, group: str) -> Path:
        """The folder of a group for a controller."""
        assert _is_group(group), group
        root = self.roots.get("unified" if self.layout is Layout.V2 else controller)
        if root is None:
            raise FileNotFoundError(errno.ENOENT, "no such cgroup controller", controller)
        return root / group.lstrip("/")

    def has(self, controller: str) -> bool:
        """Whether the host offers this controller."""
        if self.layout is Layout.V2:
            return controller in _read(self.roots["unified"] / "cgroup.controllers").split()
        return controller in self.roots

    def _folders(self, group: str) -> list[Path]:
        assert _is_group(group), group
        # cpu and cpuacct may be one mount.
        return [root / group.lstrip("/") for root in dict.fromkeys(self.roots.values())]

    def exists(self, group: str) -> bool:
        """Whether the group is there in any hierarchy."""
        return any(folder.is_dir() for folder in self._folders(group))

    # Making and removing

    def create(self, group: str) -> None:
        """Make the group and its parents everywhere; on v2 controllers are handed down."""
        assert _is_group(group), group
        if self.layout is Layout.V2:
            self._create_v2(group)
            return
        for name, root in self.roots.items():
            folder = root / group.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            if name == "cpuset":
                self._fill_cpuset(root, folder)

    def _create_v2(self, group: str) -> None:
        folder = self.roots["unified"]
        for part in group.strip("/").split("/"):
            offered = _read(folder / "cgroup.controllers").split()
            enabled = set(_read(folder / "cgroup.subtree_control").split())
            for controller in offered:
                if controller not in enabled:
                    # A controller that cannot be handed down (rt tasks) is not fatal.
                    with contextlib.suppress(OSError):
                        (folder / "cgroup.subtree_control").write_text(f"+{controller}")
            folder = folder / part
            folder.mkdir(exist_ok=True)

    @staticmethod
    def _fill_cpuset(root: Path, folder: Path) -> None:
        """Version 1: an empty cpuset takes no process; copy the parent's, top down."""
        chain = [folder, *folder.parents]
        for current in reversed(chain[: chain.index(root)]):
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not _read(current / name).strip():
                    (current / name).write_text(_read(current.parent / name))

    def remove(self, group: str) -> bool:
        """Remove the group and those below it; False while processes are in one of them."""
        clean = True
        for folder in self._folders(group):
            for below in self._walk_up(folder):
                try:
                    below.rmdir()
                except FileNotFoundError:
                    continue
                except OSError as error:
                    if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                        raise
                    clean = False
        return clean

    @staticmethod
    def _walk_up(folder: Path) -> Iterator[Path]:
        for current, _, _ in os.walk(folder, topdown=False):
            yield Path(current)

    def list_groups(self, group: str) -> list[str]:
        """Names of the groups directly below, over all hierarchies."""
        names: set[str] = set()
        for folder in self._folders(group):
            with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
                names.update(entry.name for entry in entries if entry.is_dir())
        return sorted(names)

    # Processes

    def list_pids(self, group: str, *, recursive: bool = True) -> list[int]:
        """Processes in the group (and below), from every hierarchy."""
        pids: set[int] = set()
        for folder in self._folders(group):
            for current in self._walk_up(folder) if recursive else (folder,):
                pids.update(int(line) for line in _read(current / "cgroup.procs").split())
        pids.discard(0)  # of another pid namespace
        return sorted(pids)

    def add_process(self, group: str, pid: int, controllers: tuple[str, ...] = ()) -> None:
        """Move a process into the group (of these controllers only, when given)."""
        if self.layout is Layout.V2:
            (self.path("unified", group) / "cgroup.procs").write_text(str(pid))
            return
        done: set[Path] = set()
        for name, root in self.roots.items():
            if (controllers and name not in controllers) or root in done:
                continue
            done.add(root)
            (root / group.lstrip("/") / "cgroup.procs").write_text(str(pid))

    def prepare_moves(self) -> None:
        """Make moves of the next milliseconds cheap; blocks about 10 ms, changes nothing.

        The first move after a pause waits for every reader of a kernel lock (an RCU grace
        period), those after it do not. Moving ourselves to where we are is such a first move,
        and can be waited for while other things are made.
        """
        name = "unified" if self.layout is Layout.V2 else next(iter(self.roots))
        group = parse_own_group(Path("/proc/self/cgroup").read_text(), name)
        if group and _is_group(group):
            with contextlib.suppress(OSError):  # a saving, no more
                (self.roots[name] / group.lstrip("/") / "cgroup.procs").write_text("0")

    def kill_all(self, group: str) -> int:
        """SIGKILL every process in the group and below; answers how many were there."""
        if self.layout is Layout.V2:
            with contextlib.suppress(FileNotFoundError):
                pids = self.list_pids(group)
                (self.path("unified", group) / "cgroup.kill").write_text("1")
                return len(pids)
        pids = self.list_pids(group)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(pids)

    def freeze(self, group: str, *, frozen: bool = True) -> None:
        """Stop or continue every process of the group. Raises OSError."""
        if self.layout is Layout.V2:
            (self.path("unified", group) / "cgroup.freeze").write_text("1" if frozen else "0")
        else:
            state = "FROZEN" if frozen else "THAWED"
            (self.path("freezer", group) / "freezer.state").write_text(state)

    # Limits and usage

    def write_limits(self, group: str, limits: Limits) -> None:
        """Write what is set; controllers the host lacks are left out. Raises OSError."""
        if self.layout is Layout.V2:
            self._write_limits_v2(group, limits)
        else:
            self._write_limits_v1(group, limits)

    def _write_limits_v1(self, group: str, limits: Limits) -> None:
        values: list[tuple[str, str, int | None]] = [
            ("cpu", "cpu.shares", limits.cpu_shares),
            ("cpu", "cpu.cfs_period_us", limits.cpu_period_us),
            ("cpu", "cpu.cfs_quota_us", limits.cpu_quota_us),
            ("memory", "memory.limit_in_bytes", limits.memory_bytes),
        ]
        for size, amount in limits.hugepages.items():
            values.append(("hugetlb", f"hugetlb.{size}.limit_in_bytes", amount))
        for controller, name, value in values:
            if value is not None and controller in self.roots:
                (self.path(controller, group) / name).write_text(str(value))
        if limits.pids is not None and "pids" in self.roots:
            text = "max" if limits.pids < 0 else str(limits.pids)
            (self.path("pids", group) / "pids.max").write_text(text)

    def _write_limits_v2(self, group: str, limits: Limits) -> None:
        folder = self.path("unified", group)
        offered = set(_read(folder / "cgroup.controllers").split())
        if "cpu" in offered:
            if limits.cpu_shares is not None:
                (folder / "cpu.weight").write_text(str(shares_to_weight(limits.cpu_shares)))
            if limits.cpu_quota_us is not None:
                quota = "max" if limits.cpu_quota_us < 0 else str(limits.cpu_quota_us)
                (folder / "cpu.max").write_text(f"{quota} {limits.cpu_period_us or 100_000}")
        for controller, name, value in (
            ("memory", "memory.max", limits.memory_bytes),
            ("pids", "pids.max", limits.pids),
            *(("hugetlb", f"hugetlb.{s}.max", a) for s, a in limits.hugepages.items()),
        ):
            if value is not None and controller in offered:
                (folder / name).write_text("max" if value < 0 else str(value))

    def read_usage(self, group: str) -> Usage:
        """CPU, memory and tasks of the group; zeros when it is gone."""
        if self.layout is Layout.V2:
            folder = self.path("unified", group)
            current = _read_int(folder / "memory.current")
            figures = _read_keyed(folder / "memory.stat")
            return Usage(
                cpu_ns=_read_keyed(folder / "cpu.stat").get("usage_usec", 0) * 1000,
                memory_bytes=current,
                working_set_bytes=max(0, current - figures.get("inactive_file", 0)),
                pids=_read_int(folder / "pids.current"),
                oom_kills=self.read_oom_kills(group),
                rss_bytes=figures.get("anon", 0),
                page_faults=figures.get("pgfault", 0),
                major_page_faults=figures.get("pgmajfault", 0),
            )
        cpu = memory = pids = 0
        figures = {}
        if "cpuacct" in self.roots:
            cpu = _read_int(self.path("cpuacct", group) / "cpuacct.usage")
        if "memory" in self.roots:
            folder = self.path("memory", group)
            memory = _read_int(folder / "memory.usage_in_bytes")
            figures = _read_keyed(folder / "memory.stat")
        if "pids" in self.roots:
            pids = _read_int(self.path("pids", group) / "pids.current")
        return Usage(
            cpu,
            memory,
            max(0, memory - figures.get("total_inactive_file", 0)),
            pids,
            oom_kills=self.read_oom_kills(group),
            rss_bytes=figures.get("total_rss", 0),
            page_faults=figures.get("total_pgfault", 0),
            major_page_faults=figures.get("total_pgmajfault", 0),
        )

    def read_oom_kills(self, group: str) -> int:
        """How many processes of the group the kernel killed for memory."""
        if self.layout is Layout.V2:
            path = self.path("unified", group) / "memory.events"
        elif "memory" in self.roots:
            path = self.path("memory", group) / "memory.oom_control"
        else:
            return 0
        return _read_keyed(path).get("oom_kill", 0)


def parse_own_group(text: str, name: str) -> str:
    """Our group in the hierarchy ``name`` (controller or ``unified``), of /proc/self/cgroup."""
    for line in text.splitlines():
        _, controllers, group = line.split(":", 2)
        if name in controllers.split(",") or (name == "unified" and not controllers):
            return group
    return ""


def detect_cgroups(entries: list[MountEntry] | None = None) -> Cgroups:
    """Read how this host mounts cgroups. Raises FileNotFoundError when it does not."""
    roots: dict[str, Path] = {}
    unified: Path | None = None
    for entry in list_mounts() if entries is None else entries:
        point = Path(entry.mount_point)
        if entry.kind == "cgroup2":
            # The shortest: containers may bind parts of it elsewhere.
            if unified is None or len(str(point)) < len(str(unified)):
                unified = point
        elif entry.kind == "cgroup":
            for option in entry.options.split(","):
                known = option in _V1_CONTROLLERS or option.startswith("name=")
                if known and option not in roots:
                    roots[option] = point
    if not roots:
        if unified is None:
            raise FileNotFoundError(errno.ENOENT, "no cgroup hierarchy is mounted")
        return Cgroups(Layout.V2, {"unified": unified})
    if unified is not None:
        roots["unified"] = unified
    return Cgroups(Layout.V1 if unified is None else Layout.HYBRID, roots)


_V1_CONTROLLERS = frozenset(
    (
        "blkio",
        "cpu",
        "cpuacct",
        "cpuset",
        "devices",
        "freezer",
        "hugetlb",
        "memory",
        "misc",
        "net_cls",
        "net_prio",
        "perf_event",
        "pids",
        "rdma",
    )
)
