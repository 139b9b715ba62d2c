"""Between asyncio and processes: spawn with bounded output, wait and kill by pidfd, read /proc.

A process is named by pid *and* start time: pids are used again, the pair is not. Children are
spawned by ``subprocess`` (vfork and exec; nothing runs in between) and waited for by pidfd, so
no thread and no signal handler is needed and any event loop will do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

OUTPUT_MAX_BYTES = 1 << 20


class ProcessStat(NamedTuple):
    """Of ``/proc/<pid>/stat``. ``start_ticks`` is since boot."""

    state: str
    parent: int
    start_ticks: int


def parse_stat(text: str) -> ProcessStat:
    """Parse ``/proc/<pid>/stat``; the name in parentheses may hold anything."""
    fields = text[text.rindex(")") + 2 :].split(" ")
    return ProcessStat(fields[0], int(fields[1]), int(fields[19]))


def read_stat(pid: int) -> ProcessStat | None:
    """The process's stat, None when it is gone."""
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text(errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def start_ticks(pid: int) -> int:
    """Start time of a process, 0 when it is gone."""
    stat = read_stat(pid)
    return stat.start_ticks if stat else 0


def is_alive(pid: int, started: int) -> bool:
    """Whether exactly this process still runs (a zombie does not)."""
    stat = read_stat(pid) if pid > 0 else None
    return stat is not None and stat.start_ticks == started and stat.state not in "ZX"


def read_boot_id() -> str:
    """Names this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def open_pidfd(pid: int, started: int) -> int | None:
    """A pidfd of exactly this process, None when it is gone."""
    if pid <= 0:
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if not is_alive(pid, started):
        os.close(descriptor)
        return None
    return descriptor


def send_signal(pid: int, started: int, number: int) -> bool:
    """Signal exactly this process; answers whether it was there."""
    descriptor = open_pidfd(pid, started)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class ExitWatch:
    """Calls back once when a process has ended. ``close`` before that forgets it."""

    def __init__(self, descriptor: int, callback: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._ended)

    def _ended(self) -> None:
        self.close()
        self._callback()

    def close(self) -> None:
        """Let go of the descriptor; idempotent."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


async def wait_exit(pid: int, started: int) -> None:
    """Wait until this process is gone (or a zombie)."""
    descriptor = open_pidfd(pid, started)
    if descriptor is None:
        return
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    watch = ExitWatch(descriptor, lambda: _settle(gone))
    try:
        await gone
    finally:
        watch.close()


class Child:
    """A spawned process. Always ``wait`` for it or ``kill`` it."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid

    async def wait(self) -> int:
        """Wait for the end; the exit code, negative for a signal."""
        if self._popen.poll() is None:
            descriptor = os.pidfd_open(self.pid)
            gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            watch = ExitWatch(descriptor, lambda: _settle(gone))
            try:
                await gone
            finally:
                watch.close()
        return self._popen.wait()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet (an ended one is reaped by asking)."""
        return self._popen.poll() is None

    def send_signal(self, number: int) -> None:
        """Signal it; nothing happens when it has ended."""
        self._popen.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL and reap."""
        self._popen.kill()
        await self.wait()


def spawn(
    command: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    keep: Sequence[int] = (),
    new_session: bool = False,
) -> Child:
    """Start a program; returns when it has been executed. Raises OSError."""
    return Child(
        subprocess.Popen(
            list(command),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=None if environment is None else dict(environment),
            cwd=folder,
            pass_fds=tuple(keep),
            start_new_session=new_session,
        )
    )


class PipeReader:
    """Reads a pipe (or pty master) on the loop without threads."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()

    async def read(self, limit: int = 65536) -> bytes:
        """Some bytes; ``b""`` at the end."""
        while self._descriptor >= 0:
            try:
                return os.read(self._descriptor, limit)
            except BlockingIOError:
                await _wait_ready(self._loop.add_reader, self._loop.remove_reader, self._descriptor)
            except OSError:  # EIO: the last holder of the pty's other side is gone
                return b""
        return b""

    def close(self) -> None:
        """Close the descriptor; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class PipeWriter:
    """Writes a pipe (or pty master) on the loop without threads."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises BrokenPipeError when nobody reads any more."""
        view = memoryview(data)
        while view:
            if self._descriptor < 0:
                raise BrokenPipeError
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                await _wait_ready(self._loop.add_writer, self._loop.remove_writer, self._descriptor)

    def shutdown(self) -> None:
        """Of a socket: say that no more will come."""
        with socket.socket(fileno=os.dup(self._descriptor)) as connection:
            connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the descriptor; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


async def _wait_ready(
    add: Callable[[int, Callable[[], None]], object],
    remove: Callable[[int], object],
    descriptor: int,
) -> None:
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(descriptor, lambda: _settle(ready))
    try:
        await ready
    finally:
        remove(descriptor)


@dataclass(frozen=True, slots=True)
class Finished:
    """A command's end. Output beyond the bound is cut."""

    exit_code: int
    stdout: bytes
    stderr: bytes


async def run_command(
    command: Sequence[str],
    *,
    stdin_file: int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
    output_max_bytes: int = OUTPUT_MAX_BYTES,
) -> Finished:
    """Run a program to its end. Raises OSError, TimeoutError (the program is then killed)."""
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    try:
        child = spawn(
            command,
            stdin=stdin_file,
            stdout=out_write,
            stderr=err_write,
            environment=environment,
        )
    except BaseException:
        os.close(out_read)
        os.close(err_read)
        raise
    finally:
        os.close(out_write)
        os.close(err_write)
    readers = PipeReader(out_read), PipeReader(err_read)
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await asyncio.gather(
                *(read_bounded(reader, output_max_bytes) for reader in readers)
            )
            return Finished(await child.wait(), stdout, stderr)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            await child.kill()
        raise
    finally:
        for reader in readers:
            reader.close()


async def read_bounded(reader: PipeReader, limit: int) -> bytes:
    """Read to the end, keep at most ``limit`` bytes."""
    kept = bytearray()
    while data := await reader.read():
        kept += data[: max(0, limit - len(kept))]
        # A writer that is faster than we are must not keep the others on the loop waiting.
        await asyncio.sleep(0)
    return bytes(kept)
