"""A machine of our own on this machine: network, mounts and processes apart from everyone's.

The cluster under test owns fixed nft tables, ports and mounts; in namespaces of its own it runs
beside any other cluster, and when its first process ends the kernel ends all its others. The
machine has one uplink, a pair of devices to the test's own network, so that tests reach it like
any host in its neighbourhood does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PREFIX = "198.51.100"
# The kernel reaps what is left to a process that ignores SIGCHLD. It ends with its input.
_FIRST_PROCESS = """
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.write(1, b"up\\n")
while os.read(0, 1):
    continue
"""


@dataclass(frozen=True)
class Traces:
    """What a cluster can leave behind on a machine."""

    processes: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    interfaces: frozenset[str]
    namespaces: frozenset[str]
    rules: str
    routes: str
    files: frozenset[str] = field(default=frozenset())

    def difference(self, later: Traces) -> dict[str, object]:
        """What ``later`` has more, by kind; empty when nothing is left."""
        left: dict[str, object] = {}
        for name in ("processes", "mounts", "cgroups", "interfaces", "namespaces", "files"):
            more = getattr(later, name) - getattr(self, name)
            if more:
                left[name] = sorted(more)
        for name in ("rules", "routes"):
            if getattr(later, name) != getattr(self, name):
                left[name] = getattr(later, name)
        return left


class Machine:
    """Started by the constructor; ``close`` ends everything on it."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ke2e-", dir="/var/tmp"))
        self.index = self._take_index()
        self.uplink = f"ke2e{self.index}"
        self.outside = f"{_PREFIX}.{4 * self.index + 1}"
        self.address = f"{_PREFIX}.{4 * self.index + 2}"
        self.cgroup_root = f"kutter-e2e{self.index}"
        self._holder = subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"),
                *("--mount-proc", "--propagation", "private"),
                *(sys.executable, "-ISc", _FIRST_PROCESS),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"up\n"
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        self.pid = int(children.read_text().split()[0])
        self._drop_foreign_mounts()
        self._connect()
        resolv = self.home / "resolv.conf"
        resolv.write_text(f"nameserver {self.outside}\n")
        self.run("mount", "--bind", str(resolv), "/etc/resolv.conf")
        # As systemd leaves it: mounts are shared.
        self.run("mount", "--make-rshared", "/")

    def _drop_foreign_mounts(self) -> None:
        """Let go of other clusters' mounts, which a new mount namespace starts with."""
        for line in reversed(Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()):
            target, kind = line.split()[4], line.partition(" - ")[2].split()[0]
            if target != "/" and (kind in ("overlay", "nsfs") or "/sandboxes/" in target):
                self.run("umount", "-l", target, check=False)

    def _take_index(self) -> int:
        for index in range(60):
            made = subprocess.run(
                ["ip", "link", "add", f"ke2e{index}", "type", "veth", "peer", f"ke2e{index}i"],
                capture_output=True,
                check=False,
            )
            if made.returncode == 0:
                return index
        raise RuntimeError("no free uplink for a machine: ip link shows the taken ones (ke2e*)")

    def _connect(self) -> None:
        inner = f"{self.uplink}i"
        for command in (
            f"ip link set {inner} netns {self.pid}",
            f"ip addr add {self.outside}/30 dev {self.uplink}",
            f"ip link set {self.uplink} up",
        ):
            subprocess.run(command.split(), check=True)
        for command in (
            f"ip link set {inner} name eth0",
            "ip link set lo up",
            f"ip addr add {self.address}/30 dev eth0",
            "ip link set eth0 addrgenmode none",
            "ip link set eth0 up",
            f"ip route add default via {self.outside}",
        ):
            self.run(*command.split())

    def enter(self, *command: str) -> list[str]:
        """The command line that runs ``command`` on the machine."""
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "--", *command]

    def run(
        self,
        *command: str,
        check: bool = True,
        input: str | None = None,
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run on the machine; output is captured as text."""
        done = subprocess.run(
            self.enter(*command),
            capture_output=True,
            text=True,
            check=False,
            input=input,
            env=None if environment is None else dict(environment),
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def traces(self, folders: Sequence[Path] = ()) -> Traces:
        """What is on the machine now; ``folders`` are those whose existence counts."""
        processes = set()
        for line in self.run("ps", "-e", "-o", "args=").stdout.splitlines():
            if not line.startswith(("ps -e", f"{sys.executable} -ISc", "nsenter ")):
                processes.add(line)
        mounts = {
            line.split()[4] for line in self.run("cat", "/proc/self/mountinfo").stdout.splitlines()
        }
        cgroups = {
            str(path)
            for pattern in (
                f"/sys/fs/cgroup/*{self.cgroup_root}*",
                f"/sys/fs/cgroup/*/*{self.cgroup_root}*",
            )
            for path in Path("/").glob(pattern[1:])
        }
        links = self.run("ip", "-o", "addr").stdout.splitlines()
        spaces = self.run("lsns", "-n", "-o", "NS", "-t", "net").stdout.split()
        return Traces(
            processes=frozenset(processes),
            mounts=frozenset(mounts),
            cgroups=frozenset(cgroups),
            interfaces=frozenset(" ".join(line.split()[1:4]) for line in links),
            namespaces=frozenset(spaces),
            rules=self.run("nft", "list", "ruleset").stdout,
            routes=self.run("ip", "route", "show", "table", "all").stdout,
            files=frozenset(str(folder) for folder in folders if folder.exists()),
        )

    def close(self) -> None:
        """End every process of the machine and forget its places."""
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        try:
            self._holder.wait(5)
        except subprocess.TimeoutExpired:
            self._holder.kill()
            self._holder.wait()
        if self._holder.stdout is not None:
            self._holder.stdout.close()
        subprocess.run(["ip", "link", "del", self.uplink], check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)
        self._remove_cgroups()

    def _remove_cgroups(self) -> None:
        deadline = time.monotonic() + 5
        patterns = (f"*{self.cgroup_root}*", f"*/*{self.cgroup_root}*")
        while time.monotonic() < deadline:
            tops = [p for pattern in patterns for p in Path("/sys/fs/cgroup").glob(pattern)]
            if not tops:
                return
            for top in tops:
                for folder, _, _ in os.walk(top, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(folder)
            time.sleep(0.05)
