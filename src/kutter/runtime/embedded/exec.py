"""Runs further processes in a running container, by the OCI runtime's ``exec``.

The runtime program stays as the parent: it waits for the process and hands on its exit code.
Whoever stops waiting (a timeout, a client that hung up) kills the process. With a terminal,
the program gets a pty of ours and mirrors its size to the one inside when told by SIGWINCH.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import json
import os
import signal
import struct
import subprocess
import termios
import tty as terminals
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kutter.linux import process
from kutter.linux.process import Child, PipeReader, PipeWriter, read_bounded, spawn
from kutter.runtime.cri import CriError, ExecIo
from kutter.runtime.embedded.containers import LiveContainer
from kutter.runtime.embedded.oci import clean_message
from kutter.runtime.embedded.records import Phase

# How long output may still come when the process has ended but a child of it holds the pipe.
_DRAIN_S = 5.0
_numbers = itertools.count(1)

_Pump = Coroutine[Any, Any, None]
# Device numbers of pseudo terminals (Documentation/admin-guide/devices.txt).
_PTY_MAJORS = range(136, 144)


class ExecError(CriError):
    """The process could not be started."""

    reason = "ExecError"


@dataclass(slots=True)
class _Session:
    """One exec under way."""

    child: Child
    folder: Path
    name: str

    @property
    def pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    async def finish(self) -> int:
        """Wait for the end; the exit code. Raises ExecError when it never started."""
        code = await self.child.wait()
        if not self.pid_file.exists():
            raise ExecError(self._read_failure())
        return code if code >= 0 else 128 - code

    def _read_failure(self) -> str:
        messages = []
        with contextlib.suppress(OSError, ValueError):
            for line in (self.folder / f"{self.name}.log").read_text().splitlines():
                entry = json.loads(line)
                if entry.get("level") in ("error", "fatal"):
                    messages.append(str(entry.get("msg", "")))
        return clean_message("OCI runtime exec failed: " + (messages[-1] if messages else ""))

    async def _inner_pid(self) -> int:
        """The process in the container; 0 when there is none (any more)."""
        # It is known once the process is: give it the moment that takes.
        for _ in range(100):
            if self.pid_file.exists() or not self.child.running:
                break
            await asyncio.sleep(0.01)
        with contextlib.suppress(OSError, ValueError):
            pid = int(self.pid_file.read_text())
            stat = process.read_stat(pid)
            if stat is not None and stat.parent == self.child.pid:
                return pid
        return 0

    async def kill(self) -> None:
        """Kill the process in the container and its parent here; at once, and reaped."""
        if self.child.running and (pid := await self._inner_pid()):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        await self.child.kill()

    async def resize(self, packed: bytes) -> None:
        """Set the size of the terminal the process in the container has as its input."""
        pid = await self._inner_pid()
        place = f"/proc/{pid}/fd/0"
        with contextlib.suppress(OSError):
            if not pid or os.major(os.stat(place).st_rdev) not in _PTY_MAJORS:
                return  # it has put something else there
            terminal = os.open(place, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, packed)
            finally:
                os.close(terminal)

    def clear(self) -> None:
        """Remove the files of the session."""
        for suffix in ("json", "pid", "log"):
            (self.folder / f"{self.name}.{suffix}").unlink(missing_ok=True)


def _open_session(
    live: LiveContainer, command: Sequence[str], *, terminal: bool, files: tuple[int, int, int]
) -> _Session:
    if live.record.phase is not Phase.RUNNING:
        raise CriError(f"container {live.record.id} is not running")
    name = f"exec-{os.getpid()}-{next(_numbers)}"
    spec = {**live.read_spec()["process"], "args": list(command), "terminal": terminal}
    spec.pop("oomScoreAdj", None)  # inherited; raising it again may not be allowed
    if terminal and not any(entry.startswith("TERM=") for entry in spec["env"]):
        spec["env"] = [*spec["env"], "TERM=xterm"]
    base = live.bundle / name
    Path(f"{base}.json").write_text(json.dumps(spec))
    words = [f"--log={base}.log", "--log-format=json", "exec"]
    words += [f"--process={base}.json", f"--pid-file={base}.pid", live.record.id]
    child = spawn(
        live.runtime.command(*words),
        stdin=files[0],
        stdout=files[1],
        stderr=files[2],
        new_session=True,
    )
    return _Session(child, live.bundle, name)


class _Pipes:
    """Pipes whose far ends are given to a child and closed here."""

    def __init__(self, *, stdin: bool) -> None:
        self._far: list[int] = []
        self.stdin = -1
        child_in = subprocess.DEVNULL
        if stdin:
            child_in, self.stdin = os.pipe2(os.O_CLOEXEC)
            self._far.append(child_in)
        self.stdout, child_out = os.pipe2(os.O_CLOEXEC)
        self.stderr, child_err = os.pipe2(os.O_CLOEXEC)
        self._far += [child_out, child_err]
        self.files = (child_in, child_out, child_err)

    def close_far(self) -> None:
        for descriptor in self._far:
            os.close(descriptor)
        self._far.clear()


async def run_sync(
    live: LiveContainer, command: Sequence[str], timeout_s: float, output_max_bytes: int
) -> tuple[int, bytes, bytes]:
    """(exit code, stdout, stderr). ``timeout_s`` 0: none. Raises TimeoutError, ExecError."""
    pipes = _Pipes(stdin=False)
    readers = PipeReader(pipes.stdout), PipeReader(pipes.stderr)
    try:
        try:
            session = _open_session(live, command, terminal=False, files=pipes.files)
        finally:
            pipes.close_far()
        try:
            async with asyncio.timeout(timeout_s or None):
                stdout, stderr = await asyncio.gather(
                    *(read_bounded(reader, output_max_bytes) for reader in readers)
                )
                return await session.finish(), stdout, stderr
        finally:
            await _shielded(session.kill())
            session.clear()
    finally:
        for reader in readers:
            reader.close()


async def _shielded(work: Coroutine[Any, Any, None]) -> None:
    """Finish ``work`` even when we are cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def run_streams(
    live: LiveContainer, command: Sequence[str], io: ExecIo, *, stdin: bool
) -> int:
    """Run on pipes; answers the exit code. Cancelling kills the process."""
    pipes = _Pipes(stdin=stdin)
    stdout, stderr = PipeReader(pipes.stdout), PipeReader(pipes.stderr)
    writer = PipeWriter(pipes.stdin) if stdin else None
    try:
        try:
            session = _open_session(live, command, terminal=False, files=pipes.files)
        finally:
            pipes.close_far()
        pumps = [_pump_out(stdout, io.write_stdout), _pump_out(stderr, io.write_stderr)]
        return await _run_pumps(session, pumps, [_pump_in(io, writer)] if writer else [])
    finally:
        stdout.close()
        stderr.close()
        if writer is not None:
            writer.close()


async def run_terminal(
    live: LiveContainer, command: Sequence[str], io: ExecIo, *, stdin: bool
) -> int:
    """Run on a pty; answers the exit code. Cancelling kills the process."""
    main, far = os.openpty()
    os.set_inheritable(main, False)
    terminals.setraw(far)
    reader, writer = PipeReader(main), PipeWriter(os.dup(main))
    try:
        try:
            session = _open_session(live, command, terminal=True, files=(far, far, far))
        finally:
            os.close(far)
        side = [_pump_sizes(io, main, session)]
        if stdin:
            side.append(_pump_in(io, writer, close=False))
        return await _run_pumps(session, [_pump_out(reader, io.write_stdout)], side)
    finally:
        reader.close()
        writer.close()


async def _run_pumps(session: _Session, outputs: list[_Pump], inputs: list[_Pump]) -> int:
    """Move bytes until the process has ended and its output is through."""
    loop = asyncio.get_running_loop()
    out = [loop.create_task(work) for work in outputs]
    side = [loop.create_task(work) for work in inputs]
    end = loop.create_task(session.finish())
    try:
        waiting = {end, *out, *side}
        while not end.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {end}:
                task.result()  # a client that is gone ends the session
        code = end.result()
        _, late = await asyncio.wait(out, timeout=_DRAIN_S)
        for task in out:
            if task not in late:
                task.result()
        return code
    finally:
        for task in (*out, *side, end):
            task.cancel()
        await asyncio.gather(*out, *side, end, return_exceptions=True)
        await _shielded(session.kill())
        session.clear()


async def _pump_out(reader: PipeReader, write: Callable[[bytes], Awaitable[None]]) -> None:
    while data := await reader.read():
        await write(data)


async def _pump_in(io: ExecIo, writer: PipeWriter, *, close: bool = True) -> None:
    while data := await io.read_stdin():
        try:
            await writer.write(data)
        except OSError:  # the process need not read what it is sent
            return
    if close:
        writer.close()


async def _pump_sizes(io: ExecIo, descriptor: int, session: _Session) -> None:
    while (size := await io.next_resize()) is not None:
        columns, rows = size
        packed = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, packed)
        # runc hands the size on when told; crun does not: its terminal is set as well.
        session.child.send_signal(signal.SIGWINCH)
        await session.resize(packed)
