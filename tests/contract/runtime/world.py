"""What the contract suite works with: a runtime, its image store, and short ways to ask."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kutter.runtime.cri import (
    Container,
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    PortMapping,
    SandboxConfig,
    SandboxMetadata,
)
from kutter.runtime.embedded.assembly import build_runtime
from kutter.runtime.embedded.images import EmbeddedImages
from kutter.runtime.embedded.paths import RuntimePaths
from kutter.runtime.embedded.runtime import EmbeddedRuntime


@dataclass
class LoopbackNetwork:
    """A SandboxNetwork with nothing but ``lo``; remembers who is attached."""

    attached: dict[str, Path] = field(default_factory=dict)
    failure: Exception | None = None

    async def attach(
        self, namespace: Path, sandbox_id: str, ports: Sequence[PortMapping]
    ) -> tuple[str, ...]:
        if self.failure is not None:
            raise self.failure
        self.attached[sandbox_id] = namespace
        return ("127.0.0.1",)

    async def detach(self, sandbox_id: str) -> None:
        self.attached.pop(sandbox_id, None)


@dataclass
class World:
    """A runtime with its image store, and short ways to ask it for things."""

    base: Path
    paths: RuntimePaths
    network: LoopbackNetwork
    runtime: EmbeddedRuntime
    images: EmbeddedImages

    def sandbox_config(self, **options: object) -> SandboxConfig:
        values: dict[str, object] = {
            "metadata": SandboxMetadata("pod", secrets.token_hex(4), "default"),
            "hostname": "pod-host",
            "log_directory": self.base / "logs",
        }
        return SandboxConfig(**{**values, **options})  # type: ignore[arg-type]

    async def sandbox(self, **options: object) -> tuple[str, SandboxConfig]:
        config = self.sandbox_config(**options)
        return await self.runtime.run_sandbox(config), config

    async def create(
        self,
        sandbox: tuple[str, SandboxConfig],
        *command: str,
        name: str = "main",
        image: str = "busybox",
        **options: object,
    ) -> str:
        config = ContainerConfig(
            ContainerMetadata(name),
            image,
            command=command,
            log_path=f"{name}.log",
            **options,  # type: ignore[arg-type]
        )
        return await self.runtime.create_container(sandbox[0], config, sandbox[1])

    async def run(
        self, sandbox: tuple[str, SandboxConfig], *command: str, **options: object
    ) -> str:
        container_id = await self.create(sandbox, *command, **options)  # type: ignore[arg-type]
        await self.runtime.start_container(container_id)
        return container_id

    async def wait_ended(self, container_id: str) -> Container:
        while True:
            container = await self.runtime.container(container_id)
            if container.state is ContainerState.EXITED:
                return container
            await self.runtime.next_events()

    async def output(
        self, sandbox: tuple[str, SandboxConfig], script: str, **options: object
    ) -> tuple[int, str]:
        """Run a shell script to its end: (exit code, its output without log decoration)."""
        container_id = await self.run(sandbox, "sh", "-c", script, **options)
        container = await self.wait_ended(container_id)
        text = ""
        for line in self.log(options.get("name", "main")).splitlines():
            _, _, tag, data = line.split(" ", 3)
            text += data if tag == "P" else data + "\n"
        await self.runtime.remove_container(container_id)
        (self.base / "logs" / f"{options.get('name', 'main')}.log").unlink()
        return container.exit_code, text.rstrip("\n")

    def log(self, name: object = "main") -> str:
        return (self.base / "logs" / f"{name}.log").read_text()

    async def restart(self) -> None:
        """A new runtime on the same paths, as after a kill -9 of the process."""
        await self.runtime.close()
        self.runtime, self.images = build_runtime(self.paths, self.network)
        await self.runtime.start()
