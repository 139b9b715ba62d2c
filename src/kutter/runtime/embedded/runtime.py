"""The embedded runtime: :class:`kutter.runtime.cri.ContainerRuntime` on this machine's kernel.

Holds the sandboxes and containers by id and serialises changes per id. All state is on disk
(:mod:`records`) and in the kernel; :meth:`EmbeddedRuntime.start` puts both together again, so
this process may be killed at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.log import get_logger
from kutter.base.tasks import Scope
from kutter.linux import mounts
from kutter.linux.cgroups import Cgroups, detect_cgroups
from kutter.linux.process import read_boot_id
from kutter.runtime.cri import (
    EXEC_OUTPUT_MAX_BYTES,
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerStats,
    CreateContainerError,
    CriError,
    ExecIo,
    NamespaceMode,
    NotFoundError,
    Resources,
    Sandbox,
    SandboxConfig,
    SandboxNetwork,
    SandboxStats,
)
from kutter.runtime.embedded.attach import PortConnection, attach, connect_port
from kutter.runtime.embedded.blocking import run_whole
from kutter.runtime.embedded.containers import (
    LiveContainer,
    Tools,
    throw_away,
)
from kutter.runtime.embedded.exec import run_streams, run_sync, run_terminal
from kutter.runtime.embedded.host import inspect_host
from kutter.runtime.embedded.images import EmbeddedImages
from kutter.runtime.embedded.oci import OciRuntime, end_processes, find_runtimes
from kutter.runtime.embedded.paths import RuntimePaths
from kutter.runtime.embedded.records import (
    ContainerRecord,
    Phase,
    SandboxRecord,
    new_id,
    read_json,
    read_record,
)
from kutter.runtime.embedded.sandbox import SandboxHouse
from kutter.runtime.embedded.stats import StatsReader

_log = get_logger("runtime")
_VERSION = "0.1.0"
_EVENTS_MAX = 4096


class EmbeddedRuntime:
    """Runs sandboxes and containers with conmon and an OCI runtime.

    ``runtimes`` adds handlers by name (RuntimeClass): handler to program.
    """

    def __init__(
        self,
        paths: RuntimePaths,
        network: SandboxNetwork,
        images: EmbeddedImages,
        *,
        runtimes: Mapping[str, str] | None = None,
        cgroups: Cgroups | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.paths = paths
        self._images = images
        self._clock = clock
        self._network = network
        self._cgroups = cgroups or detect_cgroups()
        self._runtimes = find_runtimes(paths.oci, runtimes)
        boot_id = read_boot_id()
        self._house = SandboxHouse(paths, network, self._cgroups, boot_id)
        self._tools = Tools(
            paths=paths,
            images=images,
            house=self._house,
            cgroups=self._cgroups,
            host=inspect_host(self._cgroups),
            monitor=shutil.which("conmon") or "conmon",
            boot_id=boot_id,
            clock=clock,
            announce=self._announce,
        )
        self._stats = StatsReader(self._cgroups, clock)
        self._sandboxes: dict[str, SandboxRecord] = {}
        self._sandbox_locks: dict[str, asyncio.Lock] = {}
        self._containers: dict[str, LiveContainer] = {}
        self._events: deque[ContainerEvent] = deque(maxlen=_EVENTS_MAX)
        self._changed = asyncio.Event()
        self._preparing: asyncio.Task[None] | None = None
        self._scope = Scope("runtime")
        images.in_use = self._list_used_images

    # Start and end

    async def start(self) -> None:
        """Find again what is there, and clean up what is half-made."""
        self.paths.make()
        self._cgroups.create(f"{self.paths.cgroup}/monitors")
        await asyncio.to_thread(self._images.load)
        for folder in self.paths.trash.iterdir():
            shutil.rmtree(folder, ignore_errors=True)
        for folder in self.paths.sandboxes.iterdir():
            await self._load_sandbox(folder)
        for folder in self.paths.containers.iterdir():
            await self._load_container(folder)
        await self._remove_strays()
        await self._images.sweep()

    async def _load_sandbox(self, folder: Path) -> None:
        record = read_record(folder, SandboxRecord)
        if record is None or record.id != folder.name:
            _log.warning("damaged sandbox record removed", sandbox=folder.name)
            throw_away(folder, self.paths.trash)
            return
        self._sandboxes[record.id] = record
        if record.phase in (Phase.CREATING, Phase.REMOVING):
            await self._forget_sandbox(record)

    async def _load_container(self, folder: Path) -> None:
        record = read_record(folder, ContainerRecord)
        if record is None or record.id != folder.name:
            _log.warning("damaged container record removed", container=folder.name)
            throw_away(folder, self.paths.trash)
            return
        live = self._add(record)
        if (
            record.phase in (Phase.CREATING, Phase.REMOVING)
            or record.sandbox_id not in self._sandboxes
        ):
            await live.remove()
            del self._containers[record.id]
            return
        await live.recover()

    async def _remove_strays(self) -> None:
        """Folders below ``run`` no record speaks of, with their processes and mounts."""
        known = {*self._sandboxes, *self._containers}
        for parent in (self.paths.bundles, self.paths.pods, self.paths.exits):
            for path in parent.iterdir():
                if path.name in known:
                    continue
                if parent == self.paths.pods:
                    await self._network.detach(path.name)
                    await self._kill_stray(f"pause-{path.name}", path / "pause")
                elif parent == self.paths.bundles:
                    await self._kill_stray(path.name, path)
                if path.is_dir():
                    mounts.unmount_below(path)
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    async def _kill_stray(self, name: str, bundle: Path) -> None:
        """End what runs from a bundle whose record is lost; its spec knows its cgroup."""
        spec = read_json(bundle / "config.json")
        try:
            cgroup = str(spec["linux"]["cgroupsPath"])
        except (KeyError, TypeError):
            return
        if not cgroup.startswith("/") or not cgroup.endswith(f"/{name}"):
            return
        await end_processes(name)
        self._cgroups.kill_all(cgroup)
        for runtime in set(self._runtimes.values()):
            await runtime.delete(name, cgroup, self._cgroups)

    async def close(self) -> None:
        for live in self._containers.values():
            live.close()
        await self._scope.close()

    async def purge(self, *, keep_images: bool = False) -> None:
        """Remove every process, mount, namespace, cgroup and file of ours.

        ``keep_images`` spares what was pulled and imported.
        """
        for sandbox_id in list(self._sandboxes):
            await self.remove_sandbox(sandbox_id)
        await self.close()
        self._cgroups.kill_all(self.paths.cgroup)
        for _ in range(100):
            if self._cgroups.remove(self.paths.cgroup):
                break
            await asyncio.sleep(0.02)
        paths = self.paths
        own = [paths.containers, paths.sandboxes, paths.trash] if keep_images else [paths.root]
        for folder in (paths.run, *own):
            mounts.unmount_below(folder)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def version(self) -> tuple[str, str]:
        return "kutter", _VERSION

    async def check_ready(self) -> list[str]:
        reasons = []
        if "" not in self._runtimes:
            reasons.append("no OCI runtime is installed (runc or crun)")
        if shutil.which("conmon") is None:
            reasons.append("conmon is not installed")
        if os.geteuid() != 0:
            reasons.append("the embedded runtime needs root")
        if not self.paths.root.is_dir():
            reasons.append("the runtime has not been started")
        return reasons

    # Look-ups

    def _add(self, record: ContainerRecord) -> LiveContainer:
        live = LiveContainer(self._tools, self._known_runtime(record.handler), record)
        self._containers[record.id] = live
        return live

    def _runtime(self, handler: str) -> OciRuntime:
        runtime = self._runtimes.get(handler)
        if runtime is None:
            raise CreateContainerError(f"no runtime for {handler!r} is configured")
        return runtime

    def _known_runtime(self, handler: str) -> OciRuntime:
        """For what exists already: its program may have been removed since."""
        fallback = OciRuntime(handler or "runc", self.paths.oci / (handler or "runc"), True)
        return self._runtimes.get(handler, fallback)

    def _sandbox(self, sandbox_id: str) -> SandboxRecord:
        record = self._sandboxes.get(sandbox_id)
        if record is None:
            raise NotFoundError(f"sandbox {sandbox_id} not found")
        return record

    def _container(self, container_id: str) -> LiveContainer:
        live = self._containers.get(container_id)
        if live is None:
            raise NotFoundError(f"container {container_id} not found")
        return live

    def _list_used_images(self) -> set[str]:
        used = set()
        for live in self._containers.values():
            used.add(live.record.image_id)
            used.update(mount.image for mount in live.record.config.mounts if mount.image)
        return used

    def _of_sandbox(self, sandbox_id: str) -> list[LiveContainer]:
        return [c for c in self._containers.values() if c.record.sandbox_id == sandbox_id]

    # Events

    def _announce(self, event: ContainerEvent) -> None:
        self._events.append(event)
        self._changed.set()
        if event.kind == "stopped":
            live = self._containers.get(event.container_id)
            if live is not None:
                with contextlib.suppress(RuntimeError):  # closing: the next start releases it
                    self._scope.start(self._release(live), "release")

    @staticmethod
    async def _release(live: LiveContainer) -> None:
        try:
            await live.release()
        except (CriError, OSError) as error:
            _log.warning("release failed", container=live.record.id, error=repr(error))

    async def next_events(self) -> list[ContainerEvent]:
        while not self._events:
            self._changed.clear()
            await self._changed.wait()
        events = list(self._events)
        self._events.clear()
        return events

    # Sandboxes

    def _prepare_start(self) -> None:
        """A container will be started soon: see :meth:`Cgroups.prepare_moves`."""
        if self._preparing is None or self._preparing.done():
            with contextlib.suppress(RuntimeError):  # closing
                work = asyncio.to_thread(self._cgroups.prepare_moves)
                self._preparing = self._scope.start(work, "prepare")

    async def run_sandbox(self, config: SandboxConfig) -> str:
        runtime = self._runtime(config.runtime_handler)
        self._prepare_start()
        record = SandboxRecord(new_id(), config, self._tools.now_ns(), self._tools.boot_id)
        self._house.save(record)
        self._sandboxes[record.id] = record
        try:
            await self._house.make(record, runtime)
        except BaseException as error:
            await asyncio.shield(self._forget_sandbox(record))
            if isinstance(error, (OSError, ValueError)):
                raise CriError(f"failed to create sandbox: {error}") from None
            raise
        record.phase = Phase.READY
        self._house.save(record)
        self._announce(ContainerEvent(record.id, "", "started"))
        return record.id

    async def _forget_sandbox(self, record: SandboxRecord) -> None:
        await self._house.take_down(record, self._known_runtime(record.config.runtime_handler))
        await run_whole(throw_away, self._house.home(record.id), self.paths.trash)
        self._sandboxes.pop(record.id, None)
        self._sandbox_locks.pop(record.id, None)

    def _sandbox_lock(self, sandbox_id: str) -> asyncio.Lock:
        return self._sandbox_locks.setdefault(sandbox_id, asyncio.Lock())

    async def stop_sandbox(self, sandbox_id: str) -> None:
        record = self._sandboxes.get(sandbox_id)
        if record is None:
            return
        async with self._sandbox_lock(sandbox_id):
            await asyncio.gather(*(self._stop(c, 0) for c in self._of_sandbox(sandbox_id)))
            if record.phase is Phase.READY:
                runtime = self._known_runtime(record.config.runtime_handler)
                await self._house.take_down(record, runtime)
                record.phase = Phase.ENDED
                self._house.save(record)
                self._announce(ContainerEvent(sandbox_id, "", "stopped"))

    async def remove_sandbox(self, sandbox_id: str) -> None:
        record = self._sandboxes.get(sandbox_id)
        if record is None:
            return
        await self.stop_sandbox(sandbox_id)
        for live in self._of_sandbox(sandbox_id):
            await self.remove_container(live.record.id)
        async with self._sandbox_lock(sandbox_id):
            if sandbox_id in self._sandboxes:
                record.phase = Phase.REMOVING
                self._house.save(record)
                await self._forget_sandbox(record)
                self._announce(ContainerEvent(sandbox_id, "", "deleted"))

    async def list_sandboxes(self) -> list[Sandbox]:
        return [
            self._house.view(record)
            for record in self._sandboxes.values()
            if record.phase is not Phase.CREATING
        ]

    async def sandbox(self, sandbox_id: str) -> Sandbox:
        return self._house.view(self._sandbox(sandbox_id))

    # Containers

    async def create_container(
        self, sandbox_id: str, config: ContainerConfig, sandbox_config: SandboxConfig
    ) -> str:
        sandbox = self._sandbox(sandbox_id)
        if not self._house.is_up(sandbox):
            raise CreateContainerError(f"sandbox {sandbox_id} is not ready")
        image = self._images.find(config.image)
        if image is None:
            raise NotFoundError(f"image {config.image} not found")
        self._prepare_start()
        identity = new_id()
        log_path = str(sandbox.config.log_directory / config.log_path) if config.log_path else ""
        record = ContainerRecord(
            identity,
            sandbox_id,
            config,
            image.id,
            self._tools.now_ns(),
            self._tools.boot_id,
            cgroup=f"{self._house.cgroup(sandbox)}/{identity}",
            handler=sandbox.config.runtime_handler,
            log_path=log_path,
            image_ref=image.digests[0] if image.digests else image.id,
        )
        live = self._add(record)
        self._images.touch(image)
        try:
            await run_whole(live.make, sandbox, image, self._target_pid(sandbox, config))
        except BaseException:
            await asyncio.shield(live.remove())
            self._containers.pop(identity, None)
            raise
        self._announce(ContainerEvent(sandbox_id, identity, "created"))
        return identity

    def _target_pid(self, sandbox: SandboxRecord, config: ContainerConfig) -> int:
        """Whose PID namespace the container joins, 0 for its own."""
        if config.security.target_container:
            target = self._container(config.security.target_container)
            if target.record.phase is not Phase.RUNNING:
                raise CreateContainerError("the target container does not run")
            return target.record.pid
        return sandbox.pause_pid if config.security.pid is NamespaceMode.POD else 0

    async def start_container(self, container_id: str) -> None:
        live = self._container(container_id)
        async with live.lock:
            await live.start()

    async def stop_container(self, container_id: str, timeout_s: float) -> None:
        live = self._containers.get(container_id)
        if live is not None:
            await self._stop(live, timeout_s)

    @staticmethod
    async def _stop(live: LiveContainer, timeout_s: float) -> None:
        # A start in flight is let through first; stops may run beside each other (a shorter
        # timeout must not wait for a longer one).
        async with live.lock:
            pass
        await live.stop(timeout_s)

    async def remove_container(self, container_id: str) -> None:
        live = self._containers.get(container_id)
        if live is None:
            return
        async with live.lock:
            if container_id not in self._containers:
                return
            await live.remove()
            del self._containers[container_id]
            self._stats.forget(container_id)
        self._announce(ContainerEvent(live.record.sandbox_id, container_id, "deleted"))

    async def list_containers(self, sandbox_id: str = "") -> list[Container]:
        return [
            live.view()
            for live in self._containers.values()
            if live.record.phase is not Phase.CREATING
            and (not sandbox_id or live.record.sandbox_id == sandbox_id)
        ]

    async def container(self, container_id: str) -> Container:
        return self._container(container_id).view()

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        live = self._container(container_id)
        async with live.lock:
            await live.update_resources(resources)

    async def reopen_log(self, container_id: str) -> None:
        await self._container(container_id).reopen_log()

    # Processes

    async def exec_sync(
        self,
        container_id: str,
        command: Sequence[str],
        timeout_s: float,
        *,
        output_max_bytes: int = EXEC_OUTPUT_MAX_BYTES,
    ) -> tuple[int, bytes, bytes]:
        live = self._container(container_id)
        return await run_sync(live, command, timeout_s, output_max_bytes)

    async def exec(
        self, container_id: str, command: Sequence[str], io: ExecIo, *, tty: bool, stdin: bool
    ) -> int:
        run = run_terminal if tty else run_streams
        return await run(self._container(container_id), command, io, stdin=stdin)

    async def attach(self, container_id: str, io: ExecIo, *, tty: bool, stdin: bool) -> None:
        await attach(self._container(container_id), io, tty=tty, stdin=stdin)

    async def connect_port(self, sandbox_id: str, port: int) -> PortConnection:
        record = self._sandbox(sandbox_id)
        if not self._house.is_up(record):
            raise CriError(f"sandbox {sandbox_id} is not ready")
        return await connect_port(self._house.network_namespace(record), port)

    # Figures

    async def container_stats(self, container_id: str) -> ContainerStats:
        return await self._stats.container(self._container(container_id))

    async def sandbox_stats(self, sandbox_id: str) -> SandboxStats:
        record = self._sandbox(sandbox_id)
        namespace = self._house.network_namespace(record)
        return await self._stats.sandbox(sandbox_id, namespace, self._of_sandbox(sandbox_id))
