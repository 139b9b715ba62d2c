"""The life of one container: made, started, stopped, removed; and found again after a crash.

Creating mounts the root file system and writes the bundle; the OCI runtime runs at *start*
(as in containerd), so a command that does not exist is a start error with exit code 128. The
end is seen by a pidfd on the monitor, which has then written the exit file. A monitor that
dies without one takes its container with it: its streams are gone and so is its exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kutter.base.clock import Clock
from kutter.base.log import get_logger
from kutter.linux import mounts, process
from kutter.linux.cgroups import Cgroups
from kutter.runtime.cri import (
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    CreateContainerError,
    CriError,
    LinuxUser,
    Mount,
    NamespaceMode,
    Resources,
    StartContainerError,
)
from kutter.runtime.embedded.blocking import run_whole
from kutter.runtime.embedded.host import list_device_nodes, resolve_devices
from kutter.runtime.embedded.images import EmbeddedImages, ImageRecord
from kutter.runtime.embedded.monitor import MonitorRequest, send_control, start_monitor
from kutter.runtime.embedded.oci import OciRuntime, end_processes
from kutter.runtime.embedded.paths import RuntimePaths
from kutter.runtime.embedded.records import ContainerRecord, Phase, SandboxRecord, write_record
from kutter.runtime.embedded.rootfs import copy_tree_in_root, find_in_root, read_in_root
from kutter.runtime.embedded.sandbox import SandboxHouse
from kutter.runtime.embedded.spec import Host, Surroundings, render_resources, render_spec
from kutter.runtime.embedded.users import ResolvedUser, resolve_user

_log = get_logger("containers")
# As containerd: the container never ran.
_START_ERROR_CODE = 128
_LOST_CODE = 255

_STATES = {
    Phase.CREATING: ContainerState.UNKNOWN,
    Phase.READY: ContainerState.CREATED,
    Phase.STARTING: ContainerState.CREATED,
    Phase.RUNNING: ContainerState.RUNNING,
    Phase.ENDED: ContainerState.EXITED,
    Phase.REMOVING: ContainerState.EXITED,
}


@dataclasses.dataclass(slots=True)
class Tools:
    """What containers are made with; one value for the whole runtime."""

    paths: RuntimePaths
    images: EmbeddedImages
    house: SandboxHouse
    cgroups: Cgroups
    host: Host
    monitor: str
    boot_id: str
    clock: Clock
    announce: Callable[[ContainerEvent], None]

    def now_ns(self) -> int:
        """Wall time."""
        return int(self.clock.now().timestamp() * 1_000_000) * 1000


def parse_stop_signal(name: str) -> int:
    """``TERM``, ``SIGTERM``, ``SIGRTMIN+3`` or a number; TERM when empty or unknown."""
    text = name.strip().upper()
    if text.isdigit():
        return int(text) if 0 < int(text) < 65 else signal.SIGTERM
    text = text if text.startswith("SIG") else f"SIG{text}"
    base, plus, offset = text.partition("+")
    try:
        number = int(getattr(signal, base))
    except AttributeError:
        return signal.SIGTERM
    return number + int(offset) if plus and offset.isdigit() else number


class LiveContainer:
    """One container with its record; methods are serialised by the runtime's lock per id."""

    def __init__(self, tools: Tools, runtime: OciRuntime, record: ContainerRecord) -> None:
        self._tools = tools
        self.runtime = runtime
        self.record = record
        self.lock = asyncio.Lock()
        self.ended = asyncio.Event()
        self._watch: process.ExitWatch | None = None

    # Places

    @property
    def home(self) -> Path:
        """Record and writable layer."""
        return self._tools.paths.containers / self.record.id

    @property
    def bundle(self) -> Path:
        """Bundle, root file system mount, monitor's pipes."""
        return self._tools.paths.bundles / self.record.id

    @property
    def rootfs(self) -> Path:
        return self.bundle / "rootfs"

    @property
    def _exit_file(self) -> Path:
        return self._tools.paths.exits / self.record.id

    def save(self) -> None:
        """Write the record."""
        write_record(self.home, self.record)

    def read_spec(self) -> dict[str, Any]:
        """The OCI spec of the bundle."""
        spec: dict[str, Any] = json.loads((self.bundle / "config.json").read_bytes())
        return spec

    # Creating

    def make(self, sandbox: SandboxRecord, image: ImageRecord, target_pid: int) -> None:
        """Mount and write the bundle; blocking, a few ms. Raises CreateContainerError."""
        config = self.record.config
        self.save()  # before anything is made: see records.py
        try:
            self._tools.images.layers.mount(image.chain_ids, self.home, self.rootfs)
            user = self._resolve_user(image)
            groups = (user.gid, *(group for group in user.groups if group != user.gid))
            self.record.identity = LinuxUser(user.uid, user.gid, groups)
            spec = self._render(sandbox, image, user, target_pid)
            (self.bundle / "config.json").write_text(json.dumps(spec))
        except OSError as error:
            raise CreateContainerError(f"failed to create container: {error}") from None
        self.record.stop_signal = (
            config.stop_signal or self._tools.images.config(image).stop_signal or "SIGTERM"
        )
        self.record.phase = Phase.READY
        self.save()

    def _resolve_user(self, image: ImageRecord) -> ResolvedUser:
        return resolve_user(
            image.user,
            self.record.config.security,
            read_in_root(self.rootfs, "/etc/passwd"),
            read_in_root(self.rootfs, "/etc/group"),
        )

    def _render(
        self, sandbox: SandboxRecord, image: ImageRecord, user: ResolvedUser, target_pid: int
    ) -> dict[str, Any]:
        tools, config = self._tools, self.record.config
        host = tools.host
        if config.security.privileged:
            host = dataclasses.replace(host, devices=list_device_nodes())
        namespaces = dict(tools.house.namespaces(sandbox))
        if target_pid:
            namespaces["pid"] = f"/proc/{target_pid}/ns/pid"
        elif config.security.pid is not NamespaceMode.NODE:
            namespaces["pid"] = ""
        if host.cgroup_v2 and not config.security.privileged:
            namespaces["cgroup"] = ""
        files = dict(tools.house.files(sandbox))
        if config.security.readonly_rootfs:
            files |= self._make_volumes(tools.images.config(image).volumes)
        surroundings = Surroundings(
            hostname=sandbox.config.hostname or os.uname().nodename,
            namespaces=namespaces,
            files=files,
            shm=tools.house.shared_memory(sandbox),
            cgroup=self.record.cgroup,
            rootfs=str(self.rootfs),
            devices=resolve_devices(config.devices),
            seccomp_profile=_load_profile(config),
        )
        config = dataclasses.replace(config, mounts=self._mount_images())
        return render_spec(config, tools.images.config(image), user, surroundings, host)

    @property
    def _image_mounts(self) -> Path:
        return self.bundle / "images"

    def _mount_images(self) -> tuple[Mount, ...]:
        """The container's mounts, with images mounted on this machine for those that want one."""
        wanted = []
        for number, mount in enumerate(self.record.config.mounts):
            if mount.image:
                images, target = self._tools.images, self._image_mounts / str(number)
                image = images.find(mount.image)
                if image is None:
                    raise CreateContainerError(f"image {mount.image} not found")
                images.layers.mount_readonly(image.chain_ids, self.home, target)
                path = find_in_root(target, mount.image_sub_path)
                mount = dataclasses.replace(mount, host_path=path, readonly=True)
            wanted.append(mount)
        return tuple(wanted)

    def _make_volumes(self, volumes: tuple[str, ...]) -> dict[str, str]:
        """Places the image wants writable, with its content; else the root's own will do."""
        made = {}
        for number, path in enumerate(volumes):
            if any(mount.container_path == path for mount in self.record.config.mounts):
                continue
            folder = self.home / f"volume{number}"
            folder.mkdir(exist_ok=True)
            copy_tree_in_root(self.rootfs, path, folder)
            made[path] = str(folder)
        return made

    # Starting

    async def start(self) -> None:
        """Run it. Raises StartContainerError; the container then has ended with code 128."""
        record = self.record
        if record.phase is Phase.RUNNING:
            return
        if record.phase is not Phase.READY:
            raise StartContainerError(f"container is {_STATES[record.phase].value}, not created")
        record.phase = Phase.STARTING
        self.save()
        try:
            await self._launch()
        except BaseException as error:
            await self._discard()
            message = str(error) if isinstance(error, CriError) else repr(error)
            self._finish(_START_ERROR_CODE, "StartError", message)
            raise

    async def _launch(self) -> None:
        record, config = self.record, self.record.config
        if record.log_path:
            Path(record.log_path).parent.mkdir(parents=True, exist_ok=True)
        request = MonitorRequest(
            record.id,
            self.bundle,
            self._tools.paths.exits,
            record.log_path,
            terminal=config.tty,
            stdin=config.stdin,
            stdin_once=config.stdin_once,
        )
        record.pid, record.monitor_pid = await start_monitor(
            self._tools.monitor,
            self.runtime,
            request,
            cgroups=self._tools.cgroups,
            cgroup=f"{self._tools.paths.cgroup}/monitors",
        )
        record.pid_ticks = process.start_ticks(record.pid)
        record.monitor_ticks = process.start_ticks(record.monitor_pid)
        await self.runtime.start(record.id)
        record.started_at_ns = self._tools.now_ns()
        record.phase = Phase.RUNNING
        self.save()
        # Before the watch: a short life may be over already, and its end is told at once.
        self._tools.announce(ContainerEvent(record.sandbox_id, record.id, "started"))
        self.watch()

    def watch(self) -> None:
        """Wait for the monitor's end."""
        descriptor = process.open_pidfd(self.record.monitor_pid, self.record.monitor_ticks)
        if descriptor is None:
            self._monitor_gone()
        else:
            self._watch = process.ExitWatch(descriptor, self._monitor_gone)

    def _monitor_gone(self) -> None:
        try:
            code = int(self._exit_file.read_text())
            ended_ns = self._exit_file.stat().st_mtime_ns
        except (OSError, ValueError):
            self._tools.cgroups.kill_all(self.record.cgroup)
            process.send_signal(self.record.pid, self.record.pid_ticks, signal.SIGKILL)
            _log.warning("monitor ended without an exit code", container=self.record.id)
            self._finish(_LOST_CODE, "Error", "the container's monitor was lost")
            return
        reason = "Completed" if code == 0 else "Error"
        if self._tools.cgroups.read_oom_kills(self.record.cgroup):
            reason = "OOMKilled"
        self._finish(code, reason, "", ended_ns)

    def _finish(self, code: int, reason: str, message: str, ended_ns: int = 0) -> None:
        record = self.record
        record.phase = Phase.ENDED
        record.exit_code, record.reason, record.message = code, reason, message[:4096]
        # The monitor's word counts when there is one: we may have been away.
        record.finished_at_ns = max(ended_ns or self._tools.now_ns(), record.started_at_ns)
        self.save()
        self.ended.set()
        self._tools.announce(ContainerEvent(record.sandbox_id, record.id, "stopped"))

    async def _discard(self) -> None:
        """Take down whatever a start left: processes, OCI state, cgroup."""
        record = self.record
        await end_processes(record.id)
        self._tools.cgroups.kill_all(record.cgroup)
        await self.runtime.delete(record.id, record.cgroup, self._tools.cgroups)

    async def release(self) -> None:
        """After the end: let go of cgroup and OCI state, keep file system and record."""
        await self.runtime.delete(self.record.id, self.record.cgroup, self._tools.cgroups)

    # After a crash of ours

    async def recover(self) -> None:
        """Make the record fit what is: called once when the runtime starts."""
        record = self.record
        if record.phase is Phase.STARTING:
            await self._recover_start()
        if record.phase is Phase.READY and record.boot_id != self._tools.boot_id:
            self._finish(_START_ERROR_CODE, "StartError", "the machine restarted")
        if record.phase is Phase.RUNNING:
            if record.boot_id != self._tools.boot_id:
                self._finish(_LOST_CODE, "Error", "the machine restarted")
            else:
                self.watch()
        if record.phase is Phase.ENDED:
            self.ended.set()

    async def _recover_start(self) -> None:
        """We died while starting it. It runs if its process was let go, else it never did."""
        record = self.record
        with contextlib.suppress(OSError, ValueError):
            record.pid = int((self.bundle / "pid").read_text())
            record.monitor_pid = int((self.bundle / "monitor.pid").read_text())
        record.pid_ticks = process.start_ticks(record.pid) if record.pid else 0
        record.monitor_ticks = process.start_ticks(record.monitor_pid) if record.monitor_pid else 0
        alive = bool(record.pid_ticks and record.monitor_ticks) and self._is_ours(record.pid)
        ran = self._exit_file.exists() or alive
        same_boot = record.boot_id == self._tools.boot_id
        if same_boot and ran and not self.runtime.is_waiting(record.id):
            record.phase = Phase.RUNNING
            record.started_at_ns = record.started_at_ns or self._tools.now_ns()
            self.save()
            return
        await self._discard()
        if same_boot:
            # Nothing of the image ever ran: that is no failure of it, it waits to be started.
            record.phase = Phase.READY
            record.pid = record.pid_ticks = record.monitor_pid = record.monitor_ticks = 0
            self.save()
            return
        self._finish(_START_ERROR_CODE, "StartError", "the machine restarted")

    def _is_ours(self, pid: int) -> bool:
        return pid in self._tools.cgroups.list_pids(self.record.cgroup)

    # Stopping and removing

    def signal(self, number: int) -> bool:
        """Signal the main process; False when it is gone."""
        return process.send_signal(self.record.pid, self.record.pid_ticks, number)

    async def stop(self, timeout_s: float) -> None:
        """Stop signal, then KILL after ``timeout_s``; returns at the end."""
        if self.record.phase is not Phase.RUNNING:
            return
        if timeout_s > 0:
            self.signal(parse_stop_signal(self.record.stop_signal))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self.ended.wait()
        if not self.ended.is_set():
            self.signal(signal.SIGKILL)
            self._tools.cgroups.kill_all(self.record.cgroup)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    await self.ended.wait()
        if not self.ended.is_set():
            raise CriError(f"container {self.record.id} does not die")

    async def remove(self) -> None:
        """Remove everything of it but its log. Safe at any stage, again."""
        if self.record.phase in (Phase.STARTING, Phase.CREATING):
            await self._discard()
        await self.stop(0)
        self.record.phase = Phase.REMOVING
        self.save()
        await self.release()
        await run_whole(self._clear)
        self.close()

    def _clear(self) -> None:
        mounts.unmount(self.rootfs)
        for number, mount in enumerate(self.record.config.mounts):
            if mount.image:
                mounts.unmount(self._image_mounts / str(number))
        self._exit_file.unlink(missing_ok=True)
        shutil.rmtree(self.bundle, ignore_errors=True)
        throw_away(self.home, self._tools.paths.trash)

    # While it runs

    async def update_resources(self, resources: Resources) -> None:
        """Change limits, also of a running container. Raises CriError."""
        rendered = render_resources(resources, (), host=self._tools.host)
        if self.record.phase is Phase.READY:
            spec = self.read_spec()
            kept = {"devices": spec["linux"]["resources"].get("devices", [])}
            spec["linux"]["resources"] = {**kept, **rendered}
            (self.bundle / "config.json").write_text(json.dumps(spec))
        elif self.record.phase is Phase.RUNNING:
            path = self.bundle / "resources.json"
            path.write_text(json.dumps(rendered))
            await self.runtime.run("update", f"--resources={path}", self.record.id)
        else:
            raise CriError(f"container {self.record.id} has ended")
        config = dataclasses.replace(self.record.config, resources=resources)
        self.record.config = config
        self.save()

    async def reopen_log(self) -> None:
        """Make the monitor write to a new file; returns when it is there. Raises CriError."""
        if self.record.phase is not Phase.RUNNING or not self.record.log_path:
            raise CriError(f"container {self.record.id} writes no log")
        path = Path(self.record.log_path)
        old = _inode(path)
        try:
            send_control(self.bundle, "2 0 0\n")
        except OSError as error:
            raise CriError(f"cannot reach the monitor: {error.strerror}") from None
        for _ in range(400):
            if _inode(path) not in (0, old):
                return
            await asyncio.sleep(0.005)
        raise CriError("the monitor does not reopen its log")

    def close(self) -> None:
        """Forget the watch; the container runs on."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def view(self) -> Container:
        """As CRI shows it."""
        record = self.record
        code = record.exit_code
        return Container(
            id=record.id,
            sandbox_id=record.sandbox_id,
            metadata=record.config.metadata,
            image=record.config.image,
            image_id=record.image_id,
            state=_STATES[record.phase],
            created_at_ns=record.created_at_ns,
            started_at_ns=record.started_at_ns,
            finished_at_ns=record.finished_at_ns,
            exit_code=code,
            reason=record.reason,
            message=record.message,
            pid=record.pid if record.phase is Phase.RUNNING else 0,
            log_path=Path(record.log_path) if record.log_path else Path("/"),
            labels=record.config.labels,
            annotations=record.config.annotations,
            user=record.identity,
            image_ref=record.image_ref or record.image_id,
            resources=record.config.resources,
        )


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def throw_away(folder: Path, trash: Path) -> None:
    """Rename first, so that a half-removed folder is never taken for a whole one."""
    with contextlib.suppress(FileNotFoundError):
        target = trash / folder.name
        os.rename(folder, target)
        shutil.rmtree(target, ignore_errors=True)


def _load_profile(config: ContainerConfig) -> dict[str, Any] | None:
    profile = config.security.seccomp
    if not profile.startswith("localhost/"):
        return None
    path = Path("/" + profile.removeprefix("localhost/").lstrip("/"))
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CreateContainerError(f"cannot load seccomp profile {path}: {error}") from None
    return value
