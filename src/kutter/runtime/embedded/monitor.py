"""Starts conmon, the monitor of one container: it holds the container's standard streams,
writes the CRI log, serves attach, and keeps the exit code. It outlives this process.

https://github.com/containers/conmon. conmon reads one byte from the start pipe before it
does anything, so that it is in its own cgroup first: a service manager that kills our cgroup
then leaves it alone. It answers on the sync pipe with the container's pid or a message.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

from kutter.linux.cgroups import Cgroups
from kutter.linux.process import PipeReader, spawn
from kutter.runtime.cri import StartContainerError
from kutter.runtime.embedded.oci import OciRuntime, clean_message

_CREATE_TIMEOUT_S = 120.0
_ANSWER_MAX_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class MonitorRequest:
    """What conmon is to watch. ``log_path`` empty: no log."""

    container_id: str
    bundle: Path
    exits: Path
    log_path: str
    terminal: bool
    stdin: bool
    stdin_once: bool


def render_command(program: str, runtime: OciRuntime, request: MonitorRequest) -> list[str]:
    """The command line of conmon."""
    bundle = request.bundle
    command = [program, "--api-version", "1"]
    command += ["-c", request.container_id, "-u", request.container_id]
    command += ["-n", request.container_id[:12], "-r", runtime.program, "-b", str(bundle)]
    command += ["-p", str(bundle / "pid"), "-P", str(bundle / "monitor.pid")]
    command += ["--exit-dir", str(request.exits), "--full-attach", "--no-sync-log"]
    command += ["-l", f"k8s-file:{request.log_path}" if request.log_path else "none"]
    command += ["--log-level", "error", "--runtime-arg", f"--root={runtime.root}"]
    if request.terminal:
        command.append("-t")
    if request.stdin:
        command.append("-i")
        if not request.stdin_once:
            command.append("--leave-stdin-open")
    return command


async def start_monitor(
    program: str,
    runtime: OciRuntime,
    request: MonitorRequest,
    *,
    cgroups: Cgroups,
    cgroup: str,
) -> tuple[int, int]:
    """Create the container under a new monitor; answers (container pid, monitor pid).

    The container then waits for :meth:`OciRuntime.start`. Raises StartContainerError.
    """
    sync_read, sync_write = os.pipe2(os.O_CLOEXEC)
    start_read, start_write = os.pipe2(os.O_CLOEXEC)
    environment = {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "_OCI_SYNCPIPE": str(sync_write),
        "_OCI_STARTPIPE": str(start_read),
    }
    reader = PipeReader(sync_read)
    try:
        try:
            child = spawn(
                render_command(program, runtime, request),
                environment=environment,
                folder=request.bundle,
                keep=(sync_write, start_read),
                new_session=True,
            )
        except OSError as error:
            raise StartContainerError(f"cannot run {program}: {error}") from None
        finally:
            os.close(sync_write)
            os.close(start_read)
        # A move waits for the kernel's other readers (10 ms and more): not on the loop.
        await asyncio.to_thread(cgroups.add_process, cgroup, child.pid)
        os.write(start_write, b"\0")
        try:
            async with asyncio.timeout(_CREATE_TIMEOUT_S):
                await child.wait()  # it forks itself away
                answer = await _read_answer(reader)
        except TimeoutError:
            await child.kill()
            raise StartContainerError("the OCI runtime does not answer") from None
        pid = answer.get("data", -1)
        if not isinstance(pid, int) or pid <= 0:
            raise StartContainerError(clean_message(str(answer.get("message") or "")))
        return pid, int((request.bundle / "monitor.pid").read_text())
    finally:
        os.close(start_write)
        reader.close()


async def _read_answer(reader: PipeReader) -> dict[str, object]:
    text = b""
    while b"\n" not in text and len(text) < _ANSWER_MAX_BYTES:
        data = await reader.read()
        if not data:
            break
        text += data
    try:
        answer = json.loads(text.partition(b"\n")[0])
    except ValueError:
        return {"data": -1, "message": "the monitor ended without an answer"}
    return answer if isinstance(answer, dict) else {}


def send_control(bundle: Path, line: str) -> None:
    """Write a line to the monitor's control pipe (terminal size, log rotation).

    Raises OSError when the monitor is gone.
    """
    descriptor = os.open(bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
