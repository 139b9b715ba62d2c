"""Between the runtime and namespaces: make them, pin them to files, act inside them.

Laws. The loop's thread never changes its namespaces: each call here runs in a thread that is
made for it and ends with it, and a thread that entered another namespace is never used
again. ``unshare`` and ``setns`` of net, IPC and UTS namespaces are per thread in Linux
(setns(2)), nothing is forked, and a pinned namespace lives through its bind mount alone. A
thread costs 0.1 ms and no memory; a helper process would cost 8 MB.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from kutter.linux import mounts, syscalls

T = TypeVar("T")

_KINDS = {
    "net": syscalls.CLONE_NEWNET,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
}
_IPC_SYSCTLS = frozenset(
    ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


def _in_own_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread made for it; its exception travels to the caller."""
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="namespace", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def set_link_up(name: str) -> None:
    """Bring an interface of the current network namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", name.encode(), 0)
        answer = fcntl.ioctl(control, _SIOCGIFFLAGS, request)
        (flags,) = struct.unpack_from("H", answer, 16)
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), flags | _IFF_UP))


def sysctl_path(name: str, kinds: Collection[str]) -> Path:
    """The file of a sysctl that belongs to one of the namespaces ``kinds``.

    As sysctl(8): the first separator, dot or slash, is the separator. Raises ValueError for a
    sysctl of the whole machine.
    """
    first = min((name.find(mark) for mark in "./" if mark in name), default=-1)
    if first > 0 and name[first] == ".":
        name = name.translate(str.maketrans("./", "/."))
    parts = tuple(name.split("/"))
    ipc = parts[:1] == ("kernel",) and len(parts) == 2 and parts[1] in _IPC_SYSCTLS
    ipc = ipc or parts[:2] == ("fs", "mqueue")
    if ".." in parts or not ((parts[0] == "net" and "net" in kinds) or (ipc and "ipc" in kinds)):
        raise ValueError(f"sysctl {name!r} does not belong to a namespace of the sandbox")
    return Path("/proc/sys", *parts)


def pin_namespaces(
    folder: Path,
    kinds: tuple[str, ...],
    *,
    hostname: str = "",
    sysctls: Mapping[str, str] | None = None,
) -> None:
    """Make new namespaces of ``kinds`` (net, ipc, uts) and pin them to ``folder/<kind>``.

    A new net namespace has ``lo`` up; a new UTS namespace has ``hostname``. Blocks a few ms.
    Raises OSError; what was pinned until then is unpinned by :func:`unpin_namespaces`.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def work() -> None:
        flags = 0
        for kind in kinds:
            flags |= _KINDS[kind]
        if flags:
            syscalls.unshare(flags)
        if "net" in kinds:
            set_link_up("lo")
        if "uts" in kinds and hostname:
            syscalls.sethostname(hostname)
        for name, value in (sysctls or {}).items():
            sysctl_path(name, kinds).write_text(value)
        for kind in kinds:
            target = folder / kind
            target.touch()
            mounts.bind(Path(f"/proc/thread-self/ns/{kind}"), target)

    _in_own_thread(work)


def unpin_namespaces(folder: Path) -> None:
    """Undo :func:`pin_namespaces`; safe without it."""
    for kind in _KINDS:
        path = folder / kind
        while mounts.unmount(path):
            pass
        path.unlink(missing_ok=True)


def is_pinned(path: Path) -> bool:
    """Whether ``path`` is a namespace pinned there (an nsfs mount)."""
    try:
        return os.stat(path).st_dev != os.stat(path.parent).st_dev
    except FileNotFoundError:
        return False


def in_network(path: Path, work: Callable[[], T]) -> T:
    """Run ``work`` (blocking) inside the network namespace pinned at ``path``."""

    def enter() -> T:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(descriptor, syscalls.CLONE_NEWNET)
        finally:
            os.close(descriptor)
        return work()

    return _in_own_thread(enter)


def open_socket(path: Path | None, family: int, kind: int) -> socket.socket:
    """A non-blocking socket that belongs to the network namespace at ``path`` (None: ours)."""

    def work() -> socket.socket:
        made = socket.socket(family, kind | socket.SOCK_CLOEXEC)
        made.setblocking(False)
        return made

    return work() if path is None else in_network(path, work)


def read_link_counters(path: Path, interface: str) -> tuple[int, int]:
    """(bytes received, bytes sent) of an interface; zeros when there is none such."""

    def work() -> str:
        return Path("/proc/thread-self/net/dev").read_text()

    for line in in_network(path, work).splitlines():
        name, separator, rest = line.partition(":")
        if separator and name.strip() == interface:
            numbers = rest.split()
            return int(numbers[0]), int(numbers[8])
    return 0, 0
