"""A process that makes and removes containers without end, to be killed at any moment.

``python -m tests.contract.runtime.victim <base> <cgroup>``; prints a line per pod it made.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.contract.runtime.world import LoopbackNetwork

from kutter.runtime.cri import (
    ContainerConfig,
    ContainerMetadata,
    NamespaceMode,
    SandboxConfig,
    SandboxMetadata,
    SecurityContext,
)
from kutter.runtime.embedded.assembly import build_runtime
from kutter.runtime.embedded.paths import RuntimePaths


async def main(base: Path, cgroup: str) -> None:
    paths = RuntimePaths(base / "root", base / "run", cgroup)
    runtime, _ = build_runtime(paths, LoopbackNetwork())
    await runtime.start()
    print("ready", flush=True)  # noqa: T201
    number = 0
    while True:
        pid = NamespaceMode.POD if number % 2 else NamespaceMode.CONTAINER
        config = SandboxConfig(
            SandboxMetadata(f"pod{number}", str(number), "default"),
            hostname="victim",
            log_directory=base / "logs",
            pid=pid,
        )
        sandbox_id = await runtime.run_sandbox(config)
        container_id = await runtime.create_container(
            sandbox_id,
            ContainerConfig(
                ContainerMetadata("main"),
                "busybox",
                command=("sleep", "1000"),
                log_path=f"{number}.log",
                security=SecurityContext(pid=pid),
            ),
            config,
        )
        await runtime.start_container(container_id)
        if number % 3:
            await runtime.remove_sandbox(sandbox_id)
        number += 1


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
