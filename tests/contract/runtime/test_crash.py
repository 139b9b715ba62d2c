"""kill -9 at any moment: what runs goes on, what was half-made is gone after the next start."""

from __future__ import annotations

import asyncio
import os
import random
import sys

import pytest
from tests.contract.runtime.world import World

from kutter.linux.mounts import mounts_below
from kutter.linux.process import PipeReader, is_alive, spawn, start_ticks
from kutter.runtime.cri import ContainerState, SandboxState

pytestmark = pytest.mark.root


async def test_killed_at_any_moment(world: World) -> None:
    rng = random.Random(7)
    longest_s = 0.25
    for _ in range(8):
        read, write = os.pipe()
        victim = spawn(
            [
                sys.executable,
                "-m",
                "tests.contract.runtime.victim",
                str(world.base),
                world.paths.cgroup,
            ],
            stdout=write,
            stderr=2,
            environment={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        os.close(write)
        reader = PipeReader(read)
        try:
            greeting = b""
            while not greeting.endswith(b"\n"):
                greeting += await reader.read()
            await asyncio.sleep(rng.uniform(0, longest_s))
        finally:
            await victim.kill()
            reader.close()
        await world.restart()
        await _check(world)
        if not await world.runtime.list_containers():
            longest_s *= 2  # on a slow machine it was killed before it had made anything
    assert await world.runtime.list_containers()


async def _check(world: World) -> None:
    """Everything the runtime shows is whole, and nothing is there that it does not show."""
    sandboxes = {sandbox.id: sandbox for sandbox in await world.runtime.list_sandboxes()}
    containers = await world.runtime.list_containers()
    assert all(container.sandbox_id in sandboxes for container in containers)
    for container in containers:
        if container.state is ContainerState.RUNNING:
            assert is_alive(container.pid, start_ticks(container.pid))
            assert sandboxes[container.sandbox_id].state is SandboxState.READY
            answer = await world.runtime.exec_sync(container.id, ("hostname",), 10)
            assert answer[:2] == (0, b"victim\n")
        elif container.state is ContainerState.EXITED:
            assert container.reason
    ids = {*sandboxes, *(container.id for container in containers)}
    for point in mounts_below(world.paths.run):
        assert any(known in point for known in ids), point
    for folder in (world.paths.pods, world.paths.bundles, world.paths.oci / "runc"):
        if folder.exists():
            names = {path.name.removeprefix("pause-") for path in folder.iterdir()}
            assert names <= ids


async def test_a_damaged_record_is_cleaned_up(world: World) -> None:
    sandbox = await world.sandbox()
    container_id = await world.run(sandbox, "sleep", "1000")
    pid = (await world.runtime.container(container_id)).pid
    ticks = start_ticks(pid)
    (world.paths.containers / container_id / "state.json").write_text("{half")
    await world.restart()
    assert await world.runtime.list_containers() == []
    assert not is_alive(pid, ticks)
    assert not any(container_id in point for point in mounts_below(world.paths.run))
