"""The supervisor: starts the cluster's processes again when one of them ends.

Between the pid files of :mod:`kutter.cluster.processes` and the kernel. It is run as a program of
its own (``python -I -S supervisor.py PLAN``), so it imports the standard library alone, and little
of it: it sleeps in ``poll`` until a process has ended, and costs no time and 8 MiB. Laws: what
already runs is adopted, never started twice; ending the supervisor ends nothing else.
Decision: docs/adr/0024-supervisor.md.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time

RETRY_FIRST_S, RETRY_MAX_S = 0.1, 10.0
# A process that lived this long is no reason to wait longer next time.
SETTLED_S = 30.0
LOG_LIMIT_BYTES = 20 << 20
OWN_NAME = "supervisor"
ENDING = (signal.SIGTERM, signal.SIGINT)


def start_time_of(pid: int) -> str:
    """The kernel's start time of a process; empty if it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def read_pid(path: str) -> int:
    """The process a pid file names, if it is still that one; else 0."""
    try:
        with open(path) as file:
            pid, started = file.read().split()
        return int(pid) if start_time_of(int(pid)) == started else 0
    except (OSError, ValueError):
        return 0


def write_pid(path: str, pid: int) -> None:
    """Whole or not at all."""
    with open(path + ".new", "w") as file:
        file.write(f"{pid} {start_time_of(pid)}\n")
    os.replace(path + ".new", path)


class Component:
    """One process to keep alive."""

    def __init__(self, name: str, command: list[str], run_dir: str, log_dir: str) -> None:
        self.name = name
        self._command = command
        self._pid_file = f"{run_dir}/{name}.pid"
        self._log = f"{log_dir}/{name}.log"
        self.handle = -1  # its pidfd
        self.retry_at_s = 0.0
        self._pid = 0
        self._delay_s = RETRY_FIRST_S
        self._began_s = 0.0

    def ensure(self) -> None:
        """Adopt what runs or start it; on failure ``retry_at_s`` says when again."""
        pid = read_pid(self._pid_file)
        try:
            if not pid:
                pid = self._start_and_note()
            self.handle = os.pidfd_open(pid)
        except OSError as error:
            say(f"{self.name} cannot be started: {error}")
            self._wait()
            return
        self._pid, self._began_s = pid, time.monotonic()

    def _start_and_note(self) -> int:
        """Not to be ended in between: nobody would find what was started but not noted."""
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            pid = self._start()
            write_pid(self._pid_file, pid)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def ended(self) -> None:
        """The process is gone: plan its restart."""
        os.close(self.handle)
        self.handle = -1
        try:
            _, status = os.waitpid(self._pid, os.WNOHANG)
            why = f"exit code {os.waitstatus_to_exitcode(status)}"
        except ChildProcessError:
            why = "ended"  # adopted: its status is another's to read
        if time.monotonic() - self._began_s > SETTLED_S:
            self._delay_s = RETRY_FIRST_S
        say(f"{self.name} (pid {self._pid}): {why}; again in {self._delay_s:g} s")
        self._wait()

    def _wait(self) -> None:
        self.retry_at_s = time.monotonic() + self._delay_s
        self._delay_s = min(2 * self._delay_s, RETRY_MAX_S)

    def _start(self) -> int:
        try:
            if os.stat(self._log).st_size > LOG_LIMIT_BYTES:
                os.replace(self._log, self._log + ".1")
        except FileNotFoundError:
            pass
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        log = os.open(self._log, flags, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.posix_spawn(
                self._command[0],
                self._command,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, nothing, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGHUP],
            )
        finally:
            os.close(log)
            os.close(nothing)


def say(text: str) -> None:
    """A line in the supervisor's log."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    os.write(2, f"{stamp} {text}\n".encode())


def watch(components: list[Component]) -> None:
    """Keep all of them alive, for ever."""
    while True:
        now_s = time.monotonic()
        for component in components:
            if component.handle < 0 and component.retry_at_s <= now_s:
                component.ensure()
        waits = [c.retry_at_s - time.monotonic() for c in components if c.handle < 0]
        poll = select.poll()
        by_handle = {c.handle: c for c in components if c.handle >= 0}
        for handle in by_handle:
            poll.register(handle, select.POLLIN)
        timeout_ms = max(0, int(1000 * min(waits)) + 1) if waits else None
        for handle, _ in poll.poll(timeout_ms):
            by_handle[handle].ended()


def main(plan: str) -> None:
    """``plan`` is JSON: ``run_dir``, ``log_dir``, and ``components`` by name: their commands."""
    tree = json.loads(plan)
    run_dir, log_dir = tree["run_dir"], tree["log_dir"]
    own = f"{run_dir}/{OWN_NAME}.pid"
    if read_pid(own):
        raise SystemExit("a supervisor is already there")
    write_pid(own, os.getpid())
    for number in ENDING:
        signal.signal(number, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir("/")
    watch([Component(n, command, run_dir, log_dir) for n, command in tree["components"].items()])


if __name__ == "__main__":
    main(sys.argv[1])
