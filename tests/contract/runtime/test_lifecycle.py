"""Sandboxes and containers: made, run, stopped, removed, found again."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.contract.runtime.world import World

from kutter.linux.mounts import mounts_below
from kutter.linux.process import wait_exit
from kutter.runtime.cri import (
    ContainerState,
    CriError,
    NamespaceMode,
    NotFoundError,
    SandboxState,
    SecurityContext,
    StartContainerError,
)

pytestmark = pytest.mark.root


async def test_runs_a_command_and_keeps_its_exit_code(world: World) -> None:
    sandbox = await world.sandbox()
    container_id = await world.run(sandbox, "sh", "-c", "echo out; echo err >&2; exit 7")
    ended = await world.wait_ended(container_id)
    assert (ended.state, ended.exit_code, ended.reason) == (ContainerState.EXITED, 7, "Error")
    assert ended.created_at_ns <= ended.started_at_ns <= ended.finished_at_ns
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d)"
    lines = sorted(world.log().splitlines(), key=lambda line: line.split(" ")[1])
    assert re.fullmatch(stamp + " stderr F err", lines[0])
    assert re.fullmatch(stamp + " stdout F out", lines[1])


async def test_completed_has_its_own_reason(world: World) -> None:
    sandbox = await world.sandbox()
    ended = await world.wait_ended(await world.run(sandbox, "true"))
    assert (ended.exit_code, ended.reason) == (0, "Completed")


async def test_a_container_names_its_image_by_repository_and_digest(world: World) -> None:
    sandbox = await world.sandbox()
    ended = await world.wait_ended(await world.run(sandbox, "true"))
    image = await world.images.image(ended.image_id)
    assert image is not None
    assert ended.image_ref in image.repo_digests
    assert re.fullmatch(r"[^@]+@sha256:[0-9a-f]{64}", ended.image_ref)


async def test_stop_sends_the_signal_first(world: World) -> None:
    sandbox = await world.sandbox()
    script = "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"
    container_id = await world.run(sandbox, "sh", "-c", script)
    while "up" not in world.log():
        await world.runtime.exec_sync(container_id, ("true",), 5)
    await world.runtime.stop_container(container_id, 10)
    assert (await world.runtime.container(container_id)).exit_code == 3


async def test_stop_kills_what_does_not_listen(world: World) -> None:
    sandbox = await world.sandbox()
    container_id = await world.run(sandbox, "sleep", "1000")  # pid 1 has no handler for TERM
    # The OCI runtime's own process, which ends on TERM, may not have made way yet.
    program = Path(f"/proc/{(await world.runtime.container(container_id)).pid}/cmdline")
    async with asyncio.timeout(30):
        while not program.read_bytes().startswith(b"sleep"):
            await asyncio.sleep(0.005)
    await world.runtime.stop_container(container_id, 0.05)
    assert (await world.runtime.container(container_id)).exit_code == 128 + signal.SIGKILL
    await world.runtime.stop_container(container_id, 0.05)  # again: nothing to do


async def test_a_missing_command_is_a_start_error(world: World) -> None:
    sandbox = await world.sandbox()
    container_id = await world.create(sandbox, "/no/such/program")
    with pytest.raises(StartContainerError, match=r"(?i)no such file or directory"):
        await world.runtime.start_container(container_id)
    container = await world.runtime.container(container_id)
    assert (container.state, container.exit_code) == (ContainerState.EXITED, 128)
    assert container.reason == "StartError"


async def test_containers_of_a_sandbox_share_network_host_name_ipc(world: World) -> None:
    sandbox = await world.sandbox()
    show = "hostname; cd /proc/self/ns; readlink net; readlink ipc; readlink pid"
    running = await world.run(sandbox, "sleep", "1000", name="one")
    answer = await world.runtime.exec_sync(running, ("sh", "-c", show), 5)
    first = answer[1].decode().splitlines()
    second = (await world.output(sandbox, show, name="two"))[1].splitlines()
    assert first[0] == "pod-host"
    assert first[:3] == second[:3]
    assert first[3] != second[3]
    assert first[1] != os.readlink("/proc/self/ns/net")


async def test_shared_memory_is_the_sandboxs(world: World) -> None:
    sandbox = await world.sandbox()
    await world.output(sandbox, "echo shared > /dev/shm/file")
    assert await world.output(sandbox, "cat /dev/shm/file") == (0, "shared")


async def test_a_shared_pid_namespace_reaps_and_shows_all(world: World) -> None:
    sandbox = await world.sandbox(pid=NamespaceMode.POD)
    security = SecurityContext(pid=NamespaceMode.POD)
    first = await world.run(sandbox, "sleep", "987", name="one", security=security)
    script = "ps -o pid,args; (sleep 0.01 &); sleep 0.1; ps -o stat,args"
    code, shown = await world.output(sandbox, script, name="two", security=security)
    assert code == 0
    assert re.search(r"^\s*1 /pause", shown, re.MULTILINE)
    assert "sleep 987" in shown
    assert not re.search(r"^\s*Z", shown, re.MULTILINE)
    await world.runtime.stop_container(first, 0)


async def test_node_namespaces(world: World) -> None:
    sandbox = await world.sandbox(network=NamespaceMode.NODE, pid=NamespaceMode.NODE)
    security = SecurityContext(network=NamespaceMode.NODE, pid=NamespaceMode.NODE)
    show = "cd /proc/self/ns; readlink net; readlink pid; hostname"
    _, shown = await world.output(sandbox, show, security=security)
    assert shown.splitlines() == [
        os.readlink("/proc/self/ns/net"),
        os.readlink("/proc/self/ns/pid"),
        os.uname().nodename,
    ]
    assert world.network.attached == {}
    assert (await world.runtime.sandbox(sandbox[0])).ips == ()


async def test_stopping_a_sandbox_ends_its_containers_and_network(world: World) -> None:
    sandbox = await world.sandbox()
    container_id = await world.run(sandbox, "sleep", "1000")
    assert (await world.runtime.sandbox(sandbox[0])).state is SandboxState.READY
    await world.runtime.stop_sandbox(sandbox[0])
    assert (await world.runtime.container(container_id)).exit_code == 137
    assert (await world.runtime.sandbox(sandbox[0])).state is SandboxState.NOT_READY
    assert world.network.attached == {}
    await world.runtime.stop_sandbox(sandbox[0])
    await world.runtime.remove_sandbox(sandbox[0])
    await world.runtime.remove_sandbox(sandbox[0])
    with pytest.raises(NotFoundError):
        await world.runtime.container(container_id)


async def test_what_goes_is_removed_beside_the_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is slow to take files away must not hold up the pods that come."""
    threads: list[threading.Thread] = []
    rmtree = shutil.rmtree

    def note(path: Path, *arguments: Any, **options: Any) -> None:
        threads.append(threading.current_thread())
        rmtree(path, *arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", note)
    sandbox = await world.sandbox()
    await world.wait_ended(await world.run(sandbox, "true"))
    await world.runtime.remove_sandbox(sandbox[0])
    assert threads
    assert threading.current_thread() not in threads


async def test_a_sandbox_without_network_is_taken_back(world: World) -> None:
    world.network.failure = OSError("no addresses left")
    with pytest.raises(CriError, match="no addresses left"):
        await world.sandbox()
    assert await world.runtime.list_sandboxes() == []
    assert list(world.paths.pods.iterdir()) == []


async def test_a_cancelled_start_leaves_nothing(world: World) -> None:
    """At every stage: the work is cut off after more and more of the loop's turns."""
    for turns in range(0, 40, 3):
        work = asyncio.ensure_future(_make_pod(world))
        for _ in range(turns):
            await asyncio.sleep(0.0005 * turns / 10)
        work.cancel()
        await asyncio.wait([work])
        for sandbox in await world.runtime.list_sandboxes():
            await world.runtime.remove_sandbox(sandbox.id)
        assert mounts_below(world.paths.run) == []
        assert list(world.paths.containers.iterdir()) == []
        assert list(world.paths.pods.iterdir()) == []
        assert world.network.attached == {}


async def _make_pod(world: World) -> None:
    sandbox = await world.sandbox()
    await world.run(sandbox, "sleep", "1000")


async def test_many_pods_at_once(world: World) -> None:
    async def live(number: int) -> int:
        sandbox = await world.sandbox()
        script = f"echo up; exit {number}"
        container_id = await world.run(sandbox, "sh", "-c", script, name=f"n{number}")
        while True:  # events have one reader: here everybody looks for himself
            container = await world.runtime.container(container_id)
            if container.state is ContainerState.EXITED:
                break
            await asyncio.sleep(0.01)
        await world.runtime.remove_sandbox(sandbox[0])
        return container.exit_code

    async with asyncio.timeout(45):
        codes = await asyncio.gather(*(live(number) for number in range(12)))
    assert codes == list(range(12))
    assert await world.runtime.list_containers() == []


async def test_handlers_choose_the_program(world: World) -> None:
    with pytest.raises(CriError, match="no runtime for 'gvisor'"):
        await world.sandbox(runtime_handler="gvisor")
    handler = next(name for name in world.runtime._runtimes if name)  # runc, or crun alone
    sandbox = await world.sandbox(runtime_handler=handler)
    container_id = await world.run(sandbox, "sleep", "1000")
    world.runtime._runtimes.pop(handler)  # uninstalled: what runs is still taken down
    await world.runtime.remove_sandbox(sandbox[0])
    with pytest.raises(NotFoundError):
        await world.runtime.container(container_id)


async def test_containers_survive_the_runtime(world: World) -> None:
    sandbox = await world.sandbox()
    script = "echo before; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo after; exit 9"
    running = await world.run(sandbox, "sh", "-c", script)
    done = await world.run(sandbox, "sh", "-c", "exit 4", name="done")
    await world.wait_ended(done)
    before = await world.runtime.container(running)
    await world.restart()
    again = await world.runtime.container(running)
    assert (again.state, again.pid, again.started_at_ns) == (
        ContainerState.RUNNING,
        before.pid,
        before.started_at_ns,
    )
    assert (await world.runtime.container(done)).exit_code == 4
    assert (await world.runtime.sandbox(sandbox[0])).ips == ("127.0.0.1",)
    await world.runtime.exec_sync(running, ("touch", "/tmp/go"), 5)
    assert (await world.wait_ended(running)).exit_code == 9
    assert [line.split(" ", 3)[3] for line in world.log().splitlines()] == ["before", "after"]


async def test_an_exit_while_the_runtime_is_away_is_not_lost(world: World) -> None:
    sandbox = await world.sandbox()
    container_id = await world.run(sandbox, "sh", "-c", "sleep 0.3; exit 11")
    record = world.runtime._containers[container_id].record
    await world.runtime.close()
    await wait_exit(record.monitor_pid, record.monitor_ticks)
    gone_ns = time.time_ns()
    await world.restart()
    ended = await world.runtime.container(container_id)
    assert (ended.state, ended.exit_code) == (ContainerState.EXITED, 11)
    assert ended.started_at_ns < ended.finished_at_ns <= gone_ns


async def test_a_lost_monitor_takes_its_container_along(world: World) -> None:
    sandbox = await world.sandbox()
    container_id = await world.run(sandbox, "sleep", "1000")
    record = world.runtime._containers[container_id].record
    os.kill(record.monitor_pid, signal.SIGKILL)
    ended = await world.wait_ended(container_id)
    assert (ended.exit_code, ended.reason) == (255, "Error")
    await wait_exit(record.pid, record.pid_ticks)
