"""A container runtime without containers: satisfies the contract, runs what a test declares.

Between tests of the node agent and :mod:`kutter.runtime.cri`. A *program* decides how a
container behaves: by image, ``Behaviour`` says when it exits and with what. Containers of
images without one run until stopped. Nothing here touches the kernel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.runtime.cri import (
    EXEC_OUTPUT_MAX_BYTES,
    Auth,
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ContainerStats,
    CreateContainerError,
    ExecIo,
    Image,
    ImagePullError,
    NotFoundError,
    PullProgress,
    Resources,
    Sandbox,
    SandboxConfig,
    SandboxState,
    SandboxStats,
    StartContainerError,
)

ExecHandler = Callable[[Container, Sequence[str]], tuple[int, bytes, bytes]]


@dataclass(slots=True)
class Behaviour:
    """How containers of an image behave.

    ``exit_codes`` are used run after run (the last one repeats); empty: runs until stopped.
    ``runs_s`` is how long a run takes. ``stop_s`` is how long it takes to stop when asked.
    """

    exit_codes: tuple[int, ...] = ()
    runs_s: float = 0.0
    stop_s: float = 0.0
    start_error: str = ""
    output: bytes = b""


@dataclass(slots=True)
class _Run:
    container: Container
    config: ContainerConfig
    exited: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class FakeImages:
    """An image store whose registry is a set of names."""

    def __init__(self, present: Sequence[str] = (), registry: Sequence[str] = ()) -> None:
        self.registry = set(registry)
        self.pulls: list[tuple[str, Auth | None]] = []
        self._images: dict[str, Image] = {}
        for name in present:
            self._add(name)

    def _add(self, name: str) -> Image:
        digest = f"{abs(hash(name)):064x}"[:64]
        image = Image(f"sha256:{digest}", (name,), (), 1000, uid=None, username="")
        self._images[name] = image
        return image

    async def list_images(self) -> list[Image]:
        return list(self._images.values())

    async def image(self, reference: str) -> Image | None:
        found = self._images.get(reference)
        return found or next((i for i in self._images.values() if i.id == reference), None)

    async def pull(
        self,
        reference: str,
        auth: Auth | None = None,
        progress: Callable[[PullProgress], None] | None = None,
    ) -> Image:
        self.pulls.append((reference, auth))
        await asyncio.sleep(0)
        if reference not in self.registry:
            raise ImagePullError(f'failed to resolve reference "{reference}": not found')
        return self._add(reference)

    async def import_archive(self, path: Path, *, tag: str = "") -> list[Image]:
        return [self._add(tag or path.name)]

    async def remove_image(self, reference: str) -> None:
        image = await self.image(reference)
        self._images = {k: v for k, v in self._images.items() if v is not image}

    async def usage_bytes(self) -> tuple[int, int]:
        return sum(i.size_bytes for i in self._images.values()), 10**9

    async def collect_garbage(self, *, free_bytes: int, minimum_age_s: float) -> list[Image]:
        return []


class FakeRuntime:
    """``behaviours`` by image name; ``executions`` answers exec by (container, command)."""

    def __init__(self, images: FakeImages, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.images = images
        self.behaviours: dict[str, Behaviour] = {}
        self.execute: ExecHandler = lambda _container, _command: (0, b"", b"")
        self.calls: list[tuple[str, str]] = []
        self.sandbox_error = ""
        self.not_ready: list[str] = []
        self._clock = clock
        self._sandboxes: dict[str, tuple[Sandbox, SandboxConfig]] = {}
        self._runs: dict[str, _Run] = {}
        self._events: asyncio.Queue[ContainerEvent] = asyncio.Queue()
        self._serial = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def _now_ns(self) -> int:
        return int(self._clock.now().timestamp() * 1e9)

    def _id(self) -> str:
        self._serial += 1
        return f"{self._serial:064x}"

    def _tell(self, sandbox_id: str, container_id: str, kind: str) -> None:
        self._events.put_nowait(ContainerEvent(sandbox_id, container_id, kind))

    async def version(self) -> tuple[str, str]:
        return "fake", "1.0"

    async def check_ready(self) -> list[str]:
        return list(self.not_ready)

    # Sandboxes

    async def run_sandbox(self, config: SandboxConfig) -> str:
        self.calls.append(("run_sandbox", config.metadata.name))
        if self.sandbox_error:
            raise CreateContainerError(self.sandbox_error)
        sandbox_id = self._id()
        number = len(self._sandboxes) + 2
        sandbox = Sandbox(
            sandbox_id,
            config.metadata,
            SandboxState.READY,
            self._now_ns(),
            (f"10.42.0.{number}",),
            dict(config.labels),
            dict(config.annotations),
        )
        self._sandboxes[sandbox_id] = (sandbox, config)
        self._tell(sandbox_id, "", "created")
        return sandbox_id

    def kill_sandbox(self, sandbox_id: str) -> None:
        """The sandbox dies by itself."""
        sandbox, config = self._sandboxes[sandbox_id]
        self._sandboxes[sandbox_id] = (replace(sandbox, state=SandboxState.NOT_READY), config)
        self._tell(sandbox_id, "", "stopped")

    async def stop_sandbox(self, sandbox_id: str) -> None:
        self.calls.append(("stop_sandbox", sandbox_id))
        if sandbox_id not in self._sandboxes:
            return
        for run in list(self._runs.values()):
            if run.container.sandbox_id == sandbox_id:
                self._finish(run, 137, signal=9)
        sandbox, config = self._sandboxes[sandbox_id]
        stopped = replace(sandbox, state=SandboxState.NOT_READY, ips=())
        self._sandboxes[sandbox_id] = (stopped, config)
        self._tell(sandbox_id, "", "stopped")

    async def remove_sandbox(self, sandbox_id: str) -> None:
        self.calls.append(("remove_sandbox", sandbox_id))
        await self.stop_sandbox(sandbox_id)
        self._sandboxes.pop(sandbox_id, None)
        for key in [k for k, r in self._runs.items() if r.container.sandbox_id == sandbox_id]:
            del self._runs[key]

    async def list_sandboxes(self) -> list[Sandbox]:
        return [sandbox for sandbox, _ in self._sandboxes.values()]

    async def sandbox(self, sandbox_id: str) -> Sandbox:
        if sandbox_id not in self._sandboxes:
            raise NotFoundError(sandbox_id)
        return self._sandboxes[sandbox_id][0]

    # Containers

    async def create_container(
        self, sandbox_id: str, config: ContainerConfig, sandbox_config: SandboxConfig
    ) -> str:
        self.calls.append(("create", config.metadata.name))
        sandbox = await self.sandbox(sandbox_id)
        image = await self.images.image(config.image)
        if image is None or sandbox.state is not SandboxState.READY:
            raise CreateContainerError(f"no image {config.image} or sandbox not ready")
        container_id = self._id()
        container = Container(
            container_id,
            sandbox_id,
            config.metadata,
            image.repo_tags[0] if image.repo_tags else image.id,
            image.id,
            ContainerState.CREATED,
            self._now_ns(),
            log_path=sandbox_config.log_directory / config.log_path,
            labels=dict(config.labels),
            annotations=dict(config.annotations),
            resources=config.resources,
        )
        self._runs[container_id] = _Run(container, config)
        self._tell(sandbox_id, container_id, "created")
        return container_id

    def _run(self, container_id: str) -> _Run:
        if container_id not in self._runs:
            raise NotFoundError(container_id)
        return self._runs[container_id]

    def config(self, container_id: str) -> ContainerConfig:
        """What the container was made from."""
        return self._run(container_id).config

    async def start_container(self, container_id: str) -> None:
        run = self._run(container_id)
        self.calls.append(("start", run.container.metadata.name))
        behaviour = self.behaviours.get(run.container.image, Behaviour())
        if behaviour.start_error:
            raise StartContainerError(behaviour.start_error)
        run.container = replace(
            run.container,
            state=ContainerState.RUNNING,
            started_at_ns=self._now_ns(),
            pid=1000 + self._serial,
        )
        run.container.log_path.parent.mkdir(parents=True, exist_ok=True)
        stamp = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()
        lines = [stamp + b" stdout F " + line for line in behaviour.output.splitlines()]
        run.container.log_path.write_bytes(b"".join(line + b"\n" for line in lines))
        self._tell(run.container.sandbox_id, container_id, "started")
        if behaviour.exit_codes:
            codes = behaviour.exit_codes
            code = codes[min(run.container.metadata.attempt, len(codes) - 1)]
            run.task = asyncio.ensure_future(self._end_later(run, behaviour.runs_s, code))
            self._tasks.add(run.task)
            run.task.add_done_callback(self._tasks.discard)

    async def _end_later(self, run: _Run, after_s: float, code: int) -> None:
        await self._clock.sleep(after_s)
        self._finish(run, code)

    def exit(self, name: str, code: int, *, reason: str = "") -> None:
        """The running container of that name ends now."""
        for run in self._runs.values():
            running = run.container.state is ContainerState.RUNNING
            if run.container.metadata.name == name and running:
                self._finish(run, code, reason=reason)

    def _finish(self, run: _Run, code: int, *, signal: int = 0, reason: str = "") -> None:
        if run.container.state is not ContainerState.RUNNING:
            return
        run.container = replace(
            run.container,
            state=ContainerState.EXITED,
            finished_at_ns=self._now_ns(),
            exit_code=code,
            signal=signal,
            reason=reason or ("Completed" if code == 0 else "Error"),
        )
        run.exited.set()
        self._tell(run.container.sandbox_id, run.container.id, "stopped")

    async def stop_container(self, container_id: str, timeout_s: float) -> None:
        if container_id not in self._runs:
            return
        run = self._runs[container_id]
        self.calls.append(("stop", run.container.metadata.name))
        if run.container.state is not ContainerState.RUNNING:
            return
        behaviour = self.behaviours.get(run.container.image, Behaviour())
        if behaviour.stop_s > timeout_s:
            await self._clock.sleep(timeout_s)
            self._finish(run, 137, signal=9)
        else:
            await self._clock.sleep(behaviour.stop_s)
            self._finish(run, 143)

    async def remove_container(self, container_id: str) -> None:
        run = self._runs.get(container_id)
        if run is None:
            return
        self.calls.append(("remove", run.container.metadata.name))
        self._finish(run, 137, signal=9)
        del self._runs[container_id]
        self._tell(run.container.sandbox_id, container_id, "deleted")

    async def list_containers(self, sandbox_id: str = "") -> list[Container]:
        return [
            r.container
            for r in self._runs.values()
            if not sandbox_id or r.container.sandbox_id == sandbox_id
        ]

    async def container(self, container_id: str) -> Container:
        return self._run(container_id).container

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        run = self._run(container_id)
        run.config = replace(run.config, resources=resources)
        run.container = replace(run.container, resources=resources)

    async def reopen_log(self, container_id: str) -> None:
        self._run(container_id).container.log_path.touch()

    async def exec_sync(
        self,
        container_id: str,
        command: Sequence[str],
        timeout_s: float,
        *,
        output_max_bytes: int = EXEC_OUTPUT_MAX_BYTES,
    ) -> tuple[int, bytes, bytes]:
        run = self._run(container_id)
        self.calls.append(("exec", " ".join(command)))
        code, out, err = self.execute(run.container, command)
        return code, out[:output_max_bytes], err[:output_max_bytes]

    async def exec(
        self, container_id: str, command: Sequence[str], io: ExecIo, *, tty: bool, stdin: bool
    ) -> int:
        code, out, err = self.execute(self._run(container_id).container, command)
        if stdin:
            while data := await io.read_stdin():
                await io.write_stdout(data)
        await io.write_stdout(out)
        await io.write_stderr(err)
        return code

    async def attach(self, container_id: str, io: ExecIo, *, tty: bool, stdin: bool) -> None:
        await self._run(container_id).exited.wait()

    async def connect_port(
        self, sandbox_id: str, port: int
    ) -> tuple[
        Callable[[int], Awaitable[bytes]], Callable[[bytes], Awaitable[None]], Callable[[], None]
    ]:
        await self.sandbox(sandbox_id)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def write(data: bytes) -> None:
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

        return reader.read, write, writer.close

    async def container_stats(self, container_id: str) -> ContainerStats:
        container = self._run(container_id).container
        return ContainerStats(container_id, container.metadata.name, self._now_ns(), 1, 1, 1)

    async def sandbox_stats(self, sandbox_id: str) -> SandboxStats:
        await self.sandbox(sandbox_id)
        stats = [await self.container_stats(c.id) for c in await self.list_containers(sandbox_id)]
        return SandboxStats(sandbox_id, self._now_ns(), tuple(stats))

    async def next_events(self) -> list[ContainerEvent]:
        events = [await self._events.get()]
        while not self._events.empty():
            events.append(self._events.get_nowait())
        return events

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
