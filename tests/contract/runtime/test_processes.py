"""exec, attach, port connections, logs, limits and figures of running containers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from tests.contract.runtime.world import World

from kutter.linux.process import read_stat
from kutter.runtime.cri import ContainerState, CriError, Resources

pytestmark = pytest.mark.root


class Terminal:
    """The caller's end of a session: feeds input, keeps output, can be waited on."""

    def __init__(self, *chunks: bytes, hold: bool = False) -> None:
        self.stdout = b""
        self.stderr = b""
        self._input: asyncio.Queue[bytes] = asyncio.Queue()
        self._sizes: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue()
        self._changed = asyncio.Event()
        for chunk in chunks:
            self._input.put_nowait(chunk)
        if not hold:
            self._input.put_nowait(b"")

    def send(self, data: bytes) -> None:
        self._input.put_nowait(data)

    def resize(self, columns: int, rows: int) -> None:
        self._sizes.put_nowait((columns, rows))

    async def read_stdin(self) -> bytes:
        return await self._input.get()

    async def write_stdout(self, data: bytes) -> None:
        self.stdout += data
        self._changed.set()

    async def write_stderr(self, data: bytes) -> None:
        self.stderr += data
        self._changed.set()

    async def next_resize(self) -> tuple[int, int] | None:
        return await self._sizes.get()

    async def expect(self, text: bytes) -> None:
        async with asyncio.timeout(30):
            while text not in self.stdout:
                self._changed.clear()
                await self._changed.wait()


async def _idle(world: World, **options: object) -> str:
    return await world.run(await world.sandbox(), "sleep", "1000", **options)


async def test_exec_sync_answers_code_and_both_streams(world: World) -> None:
    container_id = await _idle(world)
    command = ("sh", "-c", "echo out; echo err >&2; exit 5")
    assert await world.runtime.exec_sync(container_id, command, 10) == (5, b"out\n", b"err\n")


async def test_exec_sync_keeps_the_first_of_much_output(world: World) -> None:
    container_id = await _idle(world)
    script = "head -c 5000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 4"
    code, out, err = await world.runtime.exec_sync(
        container_id, ("sh", "-c", script), 30, output_max_bytes=10240
    )
    assert (code, len(out), len(err)) == (4, 10240, 10240)


async def test_exec_sync_of_an_endless_writer_ends_in_time(world: World) -> None:
    container_id = await _idle(world)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    busy = asyncio.ensure_future(others())
    with pytest.raises(TimeoutError):
        await world.runtime.exec_sync(container_id, ("yes",), 1, output_max_bytes=100)
    busy.cancel()
    assert turns > 5, "the writer kept the loop for itself"


async def test_exec_sync_kills_what_takes_too_long(world: World) -> None:
    container_id = await _idle(world)
    with pytest.raises(TimeoutError):
        await world.runtime.exec_sync(container_id, ("sleep", "500"), 0.3)
    _, listing, _ = await world.runtime.exec_sync(container_id, ("ps", "-o", "args"), 10)
    assert b"sleep 1000" in listing
    assert b"sleep 500" not in listing


async def test_exec_of_a_missing_program_says_so(world: World) -> None:
    container_id = await _idle(world)
    with pytest.raises(CriError, match=r"executable file .*not found"):
        await world.runtime.exec_sync(container_id, ("no-such-program",), 10)


async def test_exec_in_an_ended_container_is_refused(world: World) -> None:
    container_id = await world.run(await world.sandbox(), "true")
    await world.wait_ended(container_id)
    with pytest.raises(CriError, match="not running"):
        await world.runtime.exec_sync(container_id, ("true",), 10)


async def test_exec_carries_stdin_and_streams(world: World) -> None:
    container_id = await _idle(world)
    terminal = Terminal(b"hello ", b"world")
    code = await world.runtime.exec(
        container_id, ("sh", "-c", "cat; echo oops >&2; exit 6"), terminal, tty=False, stdin=True
    )
    assert (code, terminal.stdout, terminal.stderr) == (6, b"hello world", b"oops\n")


async def test_exec_moves_a_lot(world: World) -> None:
    container_id = await _idle(world)
    data = os.urandom(1 << 20)
    terminal = Terminal(data)
    assert await world.runtime.exec(container_id, ("cat",), terminal, tty=False, stdin=True) == 0
    assert terminal.stdout == data


async def test_exec_with_a_terminal_has_its_size(world: World) -> None:
    container_id = await _idle(world)
    terminal = Terminal(hold=True)
    terminal.resize(101, 37)
    work = asyncio.ensure_future(
        world.runtime.exec(container_id, ("sh",), terminal, tty=True, stdin=True)
    )
    terminal.send(b"tty; echo ready\n")
    await terminal.expect(b"\nready")
    assert b"/dev/pts/" in terminal.stdout
    for columns, rows in ((101, 37), (90, 25)):
        terminal.resize(columns, rows)
        wanted = f"{rows} {columns}".encode()
        while wanted not in terminal.stdout:
            terminal.send(b"stty size; echo a''sked\n")
            await terminal.expect(b"asked")
            terminal.stdout = terminal.stdout.replace(b"asked", b"")
    terminal.send(b"exit 12\n")
    assert await work == 12


async def test_hanging_up_kills_the_process(world: World) -> None:
    container_id = await _idle(world)
    for tty in (False, True):
        terminal = Terminal(hold=True)
        work = asyncio.ensure_future(
            world.runtime.exec(
                container_id, ("sh", "-c", "echo up; exec sleep 500"), terminal, tty=tty, stdin=True
            )
        )
        await terminal.expect(b"up")
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        _, listing, _ = await world.runtime.exec_sync(container_id, ("ps", "-o", "args"), 10)
        assert b"sleep 500" not in listing
    assert not list(world.paths.bundles.glob("*/exec-*"))


async def test_a_caller_whose_input_breaks_ends_the_session(world: World) -> None:
    container_id = await _idle(world)
    terminal = Terminal(hold=True)

    async def broken() -> bytes:
        raise ConnectionResetError("gone")

    terminal.read_stdin = broken  # type: ignore[method-assign]
    with pytest.raises(ConnectionResetError):
        await world.runtime.exec(container_id, ("sleep", "500"), terminal, tty=False, stdin=True)
    _, listing, _ = await world.runtime.exec_sync(container_id, ("ps", "-o", "args"), 10)
    assert b"sleep 500" not in listing


async def test_attach_reaches_the_main_process(world: World) -> None:
    sandbox = await world.sandbox()
    script = "while read line; do echo got $line; echo bad >&2; done; echo end; exit 4"
    container_id = await world.run(sandbox, "sh", "-c", script, stdin=True, stdin_once=True)
    terminal = Terminal(b"one\n", hold=True)
    work = asyncio.ensure_future(
        world.runtime.attach(container_id, terminal, tty=False, stdin=True)
    )
    await terminal.expect(b"got one\n")
    terminal.send(b"two\n")
    await terminal.expect(b"got two\n")
    terminal.send(b"")
    await asyncio.wait_for(work, 30)
    assert terminal.stdout.endswith(b"end\n")
    assert terminal.stderr == b"bad\nbad\n"
    assert (await world.wait_ended(container_id)).exit_code == 4


@pytest.mark.parametrize("tty", [False, True])
async def test_the_end_of_input_detaches_from_a_process_that_keeps_its_own(
    world: World, tty: bool
) -> None:
    sandbox = await world.sandbox()
    script = "while read line; do echo got $line; done; echo end"
    container_id = await world.run(sandbox, "sh", "-c", script, stdin=True, tty=tty)
    for word in (b"one", b"two"):
        terminal = Terminal(word + b"\n", hold=True)
        work = asyncio.ensure_future(
            world.runtime.attach(container_id, terminal, tty=tty, stdin=True)
        )
        await terminal.expect(b"got " + word)
        terminal.send(b"")
        await asyncio.wait_for(work, 30)
    assert (await world.runtime.container(container_id)).state is ContainerState.RUNNING
    assert b"end" not in terminal.stdout


async def test_attach_to_a_terminal(world: World) -> None:
    sandbox = await world.sandbox()
    container_id = await world.run(sandbox, "sh", stdin=True, tty=True)
    terminal = Terminal(hold=True)
    terminal.resize(77, 33)
    work = asyncio.ensure_future(world.runtime.attach(container_id, terminal, tty=True, stdin=True))
    while b"33 77" not in terminal.stdout:
        terminal.send(b"stty size; echo a''sked\n")
        await terminal.expect(b"asked")
        terminal.stdout = terminal.stdout.replace(b"asked", b"")
    work.cancel()  # detaching leaves the container alone
    await asyncio.gather(work, return_exceptions=True)
    assert (await world.runtime.container(container_id)).state is ContainerState.RUNNING


async def test_connect_port_leads_into_the_sandbox(world: World) -> None:
    sandbox = await world.sandbox()
    container_id = await world.run(
        sandbox, "sh", "-c", "echo up; exec nc -ll -p 8080 -e sh -c 'read x; echo hi $x'"
    )
    read, write, close = None, None, None
    async with asyncio.timeout(30):
        while True:
            try:
                read, write, close = await world.runtime.connect_port(sandbox[0], 8080)
                break
            except CriError:
                await world.runtime.exec_sync(container_id, ("true",), 5)
    await write(b"you\n")
    answer = b""
    while data := await read(100):
        answer += data
    close()
    assert answer == b"hi you\n"
    with pytest.raises(CriError, match="failed to connect to localhost:81"):
        await world.runtime.connect_port(sandbox[0], 81)


async def test_what_is_sent_to_a_port_can_end_before_the_answer(world: World) -> None:
    sandbox = await world.sandbox()
    container_id = await world.run(sandbox, "sh", "-c", "exec nc -ll -p 8080 -e wc -c")
    async with asyncio.timeout(30):
        while True:
            try:
                read, write, close = await world.runtime.connect_port(sandbox[0], 8080)
                break
            except CriError:
                await world.runtime.exec_sync(container_id, ("true",), 5)
        await write(b"abc")
        await write(b"")
        answer = b""
        while data := await read(100):
            answer += data
    close()
    assert answer == b"3\n"


async def test_the_log_is_reopened_after_rotation(world: World) -> None:
    sandbox = await world.sandbox()
    script = "echo first; while [ ! -e /go ]; do sleep 0.02; done; echo second"
    container_id = await world.run(sandbox, "sh", "-c", script)
    path = (await world.runtime.container(container_id)).log_path
    while "first" not in world.log():
        await world.runtime.exec_sync(container_id, ("true",), 5)
    path.rename(path.with_suffix(".1"))
    await world.runtime.reopen_log(container_id)
    await world.runtime.exec_sync(container_id, ("touch", "/go"), 5)
    await world.wait_ended(container_id)
    assert "first" in path.with_suffix(".1").read_text()
    assert path.read_text().split(" ", 3)[3] == "second\n"


async def test_long_lines_are_marked_partial(world: World) -> None:
    sandbox = await world.sandbox()
    container_id = await world.run(
        sandbox, "sh", "-c", "head -c 20000 /dev/zero | tr '\\0' x; echo; printf tail"
    )
    await world.wait_ended(container_id)
    entries = [line.split(" ", 3) for line in world.log().splitlines()]
    assert all(stream == "stdout" and tag in "PF" for _, stream, tag, _ in entries)
    assert entries[0][2] == "P"
    text = "".join(data + ("\n" if tag == "F" else "") for _, _, tag, data in entries)
    assert text.startswith("x" * 20000 + "\n")
    assert "tail" in text


async def test_limits_reach_the_kernel_and_can_change(world: World) -> None:
    limits = Resources(cpu_shares=512, memory_limit_bytes=64 << 20, pids_limit=50)
    container_id = await _idle(world, resources=limits)
    stats = await world.runtime.container_stats(container_id)
    assert stats.pids >= 1
    assert 0 < stats.memory_working_set_bytes <= stats.memory_usage_bytes < 64 << 20
    assert 0 < stats.memory_rss_bytes < 64 << 20
    assert stats.page_faults >= 1
    assert (stats.memory_limit_bytes, stats.started_at_ns > 0) == (64 << 20, True)
    await world.runtime.update_resources(container_id, Resources(memory_limit_bytes=32 << 20))
    assert _read_limit(world, container_id) == 32 << 20


def _read_limit(world: World, container_id: str) -> int:
    from kutter.linux.cgroups import Layout, detect_cgroups

    cgroups = detect_cgroups()
    name = "memory.max" if cgroups.layout is Layout.V2 else "memory.limit_in_bytes"
    group = next(
        Path(root)
        for root, _, _ in os.walk(cgroups.path("memory", world.paths.cgroup))
        if root.endswith(container_id)
    )
    return int((group / name).read_text())


async def test_running_out_of_memory_is_told(world: World) -> None:
    sandbox = await world.sandbox()
    container_id = await world.run(
        sandbox,
        "sh",
        "-c",
        "x=$(head -c 100000000 /dev/zero | tr '\\0' y); echo never",
        resources=Resources(memory_limit_bytes=16 << 20, memory_swap_limit_bytes=16 << 20),
    )
    ended = await world.wait_ended(container_id)
    assert ended.reason == "OOMKilled"
    assert ended.exit_code != 0


async def test_sandbox_figures_are_of_running_containers(world: World) -> None:
    sandbox = await world.sandbox()
    running = await world.run(sandbox, "sh", "-c", "while :; do :; done", name="busy")
    await world.wait_ended(await world.run(sandbox, "true", name="done"))
    stats = await world.runtime.sandbox_stats(sandbox[0])
    assert [each.container_id for each in stats.containers] == [running]
    first = stats.containers[0].cpu_usage_ns
    pid = (await world.runtime.container(running)).pid
    assert read_stat(pid) is not None
    again = first
    while again <= first:
        await world.runtime.exec_sync(running, ("true",), 5)
        again = (await world.runtime.container_stats(running)).cpu_usage_ns


async def test_events_tell_of_changes(world: World) -> None:
    sandbox = await world.sandbox()
    container_id = await world.run(sandbox, "true")
    await world.runtime.list_containers()
    kinds = []
    async with asyncio.timeout(30):
        while "stopped" not in kinds:
            events = await world.runtime.next_events()
            kinds += [event.kind for event in events if event.container_id == container_id]
    assert kinds == ["created", "started", "stopped"]
