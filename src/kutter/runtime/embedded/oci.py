"""The OCI runtime's command line (runc, crun and others with the same face).

Starting and deleting go around the program where its on-disk protocol is known (runc: an
``exec.fifo`` the waiting process blocks on), which saves two processes a container.
https://github.com/opencontainers/runc/blob/main/libcontainer/container_linux.go
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kutter.linux.cgroups import Cgroups
from kutter.linux.process import (
    Finished,
    PipeReader,
    run_command,
    send_signal,
    start_ticks,
    wait_exit,
)
from kutter.runtime.cri import CriError, StartContainerError
from kutter.runtime.embedded.blocking import run_whole

_COMMAND_TIMEOUT_S = 60.0
_START_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """One runtime program and where it keeps state. ``knows_fifo``: has runc's protocol."""

    program: str
    root: Path
    knows_fifo: bool = False

    def command(self, *words: str) -> list[str]:
        """A command line of this runtime."""
        return [self.program, f"--root={self.root}", *words]

    def state_folder(self, container_id: str) -> Path:
        """Where runc and crun keep a container's state."""
        return self.root / container_id

    async def run(self, *words: str) -> Finished:
        """Run a subcommand. Raises CriError when it fails."""
        done = await run_command(self.command(*words), timeout_s=_COMMAND_TIMEOUT_S)
        if done.exit_code != 0:
            raise CriError(clean_message(done.stderr.decode(errors="replace")))
        return done

    def is_waiting(self, container_id: str) -> bool:
        """Whether the container is created and waits to be started (runc only)."""
        return self.knows_fifo and (self.state_folder(container_id) / "exec.fifo").exists()

    async def start(self, container_id: str) -> None:
        """Let the created container's process go. Raises StartContainerError."""
        if not self.knows_fifo:
            try:
                await self.run("start", container_id)
            except CriError as error:
                raise StartContainerError(str(error)) from None
            return
        fifo = self.state_folder(container_id) / "exec.fifo"
        try:
            reader = PipeReader(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except FileNotFoundError:
            raise StartContainerError("the container's process is gone") from None
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                while not await reader.read(16):  # noqa: ASYNC110
                    # Its end is not open yet: microseconds away, and nothing to wait on.
                    await asyncio.sleep(0.0005)
        except TimeoutError:
            raise StartContainerError("the container's process does not start") from None
        finally:
            reader.close()
        fifo.unlink(missing_ok=True)

    async def delete(self, container_id: str, cgroup: str, cgroups: Cgroups) -> None:
        """Forget an ended container and remove its cgroup; safe when it is gone."""
        folder = self.state_folder(container_id)
        if not self.knows_fifo and folder.exists():
            with contextlib.suppress(CriError):
                await self.run("delete", "--force", container_id)
        for _ in range(50):
            if cgroups.remove(cgroup):
                break
            # Processes that shared a pid namespace outlive their container's first one.
            cgroups.kill_all(cgroup)
            await asyncio.sleep(0.02)
        await run_whole(shutil.rmtree, folder, ignore_errors=True)


def clean_message(text: str) -> str:
    """A runtime's complaint without log decoration, bounded."""
    lines = []
    for line in text.strip().splitlines():
        _, marker, rest = line.partition('level=error msg="')
        if marker:
            line = rest.rsplit('"', 1)[0].replace('\\"', '"')
        lines.append(line.strip())
    return (" ".join(lines) or "the OCI runtime failed without a word")[:1024]


_PROGRAMS = (b"conmon", b"runc", b"crun")


def find_processes(name: str) -> list[int]:
    """Monitors and OCI runtime processes whose command line names the container."""
    wanted = name.encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                if wanted in words and os.path.basename(words[0]) in _PROGRAMS:
                    found.append(int(entry))
    return found


async def end_processes(name: str) -> None:
    """SIGKILL what :func:`find_processes` finds, also what forks meanwhile; returns at its end.

    For starts that were cut short only: it looks at every process of the machine.
    """
    for _ in range(100):
        pids = find_processes(name)
        if not pids:
            return
        for pid in pids:
            ticks = start_ticks(pid)
            send_signal(pid, ticks, signal.SIGKILL)
            await wait_exit(pid, ticks)


def find_runtimes(root: Path, extra: Mapping[str, str] | None = None) -> dict[str, OciRuntime]:
    """The installed runtimes by handler name; ``""`` is the default (runc, else crun)."""
    programs: Sequence[tuple[str, str]] = [
        ("runc", "runc"),
        ("crun", "crun"),
        *(extra or {}).items(),
    ]
    found: dict[str, OciRuntime] = {}
    for name, program in programs:
        path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if path is not None:
            knows_fifo = os.path.basename(path) == "runc"
            found[name] = OciRuntime(path, root / name, knows_fifo)
    for name in ("runc", "crun"):
        if name in found:
            found.setdefault("", found[name])
    return found
