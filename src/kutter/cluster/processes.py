"""Background processes of a cluster: start detached, find again, stop.

A process is known by its pid *and* its start time, so that a reused pid is never taken for
ours, and stopped by exactly that.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kutter.base.files import write_atomic

SERVER, AGENT = "server", "agent"
LOG_LIMIT_BYTES = 20 << 20


class Running(NamedTuple):
    """A live process of ours."""

    name: str
    pid: int


def start_time_of(pid: int) -> str | None:
    """The kernel's start time of a process in clock ticks; None if it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def find(run_dir: Path, name: str) -> Running | None:
    """The process ``name`` if it runs."""
    try:
        pid_text, started = (run_dir / f"{name}.pid").read_text().split()
        pid = int(pid_text)
    except (OSError, ValueError):
        return None
    return Running(name, pid) if start_time_of(pid) == started else None


def start(run_dir: Path, log_dir: Path, name: str, arguments: list[str]) -> Running:
    """Start ``python -m kutter ARGUMENTS`` detached, its output going to ``log_dir``."""
    known = find(run_dir, name)
    if known is not None:
        return known
    run_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
    log_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
    log = log_dir / f"{name}.log"
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "kutter", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )
    started = start_time_of(process.pid)
    if started is None:
        raise RuntimeError(f"{name} ended at once; see {log}")
    write_atomic(run_dir / f"{name}.pid", f"{process.pid} {started}\n".encode(), mode=0o644)
    return Running(name, process.pid)


def stop(run_dir: Path, name: str, *, timeout_s: float = 20.0) -> bool:
    """End the process ``name``: TERM, then KILL. Answers whether it ran."""
    running = find(run_dir, name)
    if running is None:
        with contextlib.suppress(FileNotFoundError):
            (run_dir / f"{name}.pid").unlink()
        return False
    ended = _end(running, timeout_s)
    (run_dir / f"{name}.pid").unlink(missing_ok=True)
    return ended


def stop_strays(run_dir: Path, names: Sequence[str], *, timeout_s: float = 20.0) -> int:
    """End processes of the cluster at ``run_dir`` that no pid file tells of; answers how many.

    Whoever starts one may be killed before it has noted its pid. They are known by their command
    line, and by seeing the files we see: a container's cluster at the same path is another.
    """
    place, ours = f"--run-dir={run_dir}".encode(), _files_seen_by("self")
    count = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        for name in names:
            called = [b"-m", b"kutter", name.encode()]
            if words[1:4] == called and place in words and _files_seen_by(entry.name) == ours:
                count += _end(Running(name, int(entry.name)), timeout_s)
    return count


def _files_seen_by(pid: str) -> int:
    """The mount namespace of a process; 0 if it is gone."""
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino
    except OSError:
        return 0


def _end(running: Running, timeout_s: float) -> bool:
    """TERM, then KILL, and wait. Raises RuntimeError for one that stays."""
    try:
        handle = os.pidfd_open(running.pid)
    except ProcessLookupError:
        return False
    try:
        for number, wait_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if _wait_gone(handle, wait_s):
                break
        else:
            raise RuntimeError(f"{running.name} (pid {running.pid}) does not end, even when killed")
    finally:
        os.close(handle)
    # Our own child (same shell): take its exit status so that no zombie is left.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(running.pid, os.WNOHANG)
    return True


def _wait_gone(handle: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def wait_ended(run_dir: Path, name: str) -> bool:
    """Whether the process ``name`` has ended (for a start that waits for it to be ready)."""
    return find(run_dir, name) is None


def resident_bytes(pid: int) -> int:
    """Resident memory of one process; 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """CPU time one process has used so far; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
