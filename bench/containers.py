"""How long a pod's containers take: ``sudo python bench/containers.py [rounds]``.

Prints the median in milliseconds of each step, one after the other on an otherwise idle
runtime, and what a monitor costs in memory (PSS).
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TypeVar

from kutter.runtime.cri import (
    ContainerConfig,
    ContainerMetadata,
    PortMapping,
    SandboxConfig,
    SandboxMetadata,
)
from kutter.runtime.embedded.assembly import build_runtime
from kutter.runtime.embedded.paths import RuntimePaths
from kutter.testing.images import build_busybox_image

T = TypeVar("T")


class NoNetwork:
    """Gives no addresses."""

    async def attach(
        self, namespace: Path, sandbox_id: str, ports: Sequence[PortMapping]
    ) -> tuple[str, ...]:
        return ()

    async def detach(self, sandbox_id: str) -> None:
        return None


class Watch:
    """Collects durations by name."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    async def time(self, name: str, work: Awaitable[T]) -> T:
        start = time.perf_counter()
        result = await work
        self.times.setdefault(name, []).append((time.perf_counter() - start) * 1e3)
        return result


def read_pss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


async def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="kutter-bench-") as name:
        base = Path(name)
        paths = RuntimePaths(base / "root", base / "run", f"/kutter-bench-{base.name[-8:]}")
        runtime, images = build_runtime(paths, NoNetwork())
        await runtime.start()
        try:
            built = build_busybox_image(base / "busybox.tar")
            await images.import_archive(built.path)
            watch = Watch()
            for number in range(rounds):
                await run_round(runtime, base, number, watch)
        finally:
            await runtime.purge()
        for step, times in watch.times.items():
            quantile = statistics.quantiles(times, n=20)[-1]
            print(f"{step:18} p50 {statistics.median(times):7.1f} ms   p95 {quantile:7.1f} ms")


async def run_round(runtime: object, base: Path, number: int, watch: Watch) -> None:
    from kutter.runtime.embedded.runtime import EmbeddedRuntime

    assert isinstance(runtime, EmbeddedRuntime)
    config = SandboxConfig(
        SandboxMetadata(f"pod{number}", str(number), "default"),
        hostname="bench",
        log_directory=base / "logs",
    )
    container = ContainerConfig(
        ContainerMetadata("main"),
        "busybox",
        command=("sh", "-c", "trap exit TERM; sleep 1000 & wait"),
        log_path=f"{number}.log",
    )
    start = time.perf_counter()
    sandbox_id = await watch.time("sandbox", runtime.run_sandbox(config))
    create = runtime.create_container(sandbox_id, container, config)
    container_id = await watch.time("create", create)
    await watch.time("start", runtime.start_container(container_id))
    watch.times.setdefault("sandbox to start", []).append((time.perf_counter() - start) * 1e3)
    await watch.time("exec_sync true", runtime.exec_sync(container_id, ("true",), 10))
    pid = runtime._containers[container_id].record.monitor_pid
    watch.times.setdefault("monitor PSS (KiB)", []).append(read_pss_kb(pid))
    await watch.time("stop", runtime.stop_container(container_id, 10))
    await watch.time("remove", runtime.remove_sandbox(sandbox_id))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30))
