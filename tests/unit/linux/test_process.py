import asyncio
import os
import signal

import pytest

from kutter.linux import process


def test_reads_stat_of_names_with_brackets():
    text = "42 (a) b) (c)) S 7 42 42 0 -1 4194560 " + " ".join(["0"] * 12) + " 9999 rest"
    assert process.parse_stat(text) == ("S", 7, 9999)


def test_a_process_is_its_pid_and_start():
    started = process.start_ticks(os.getpid())
    assert process.is_alive(os.getpid(), started)
    assert not process.is_alive(os.getpid(), started + 1)
    assert not process.is_alive(0, 0)
    assert process.open_pidfd(0, 0) is None
    assert not process.send_signal(os.getpid(), started + 1, signal.SIGKILL)


async def test_commands_answer_code_and_bounded_output():
    done = await process.run_command(
        ["sh", "-c", "echo out; echo err >&2; exit 3"], output_max_bytes=2
    )
    assert done == process.Finished(3, b"ou", b"er")


async def test_a_command_that_takes_too_long_is_killed():
    with pytest.raises(TimeoutError):
        await process.run_command(["sleep", "100"], timeout_s=0.05)


async def test_waits_for_processes_that_are_not_children():
    read, write = os.pipe()
    child = process.spawn(["sh", "-c", "sleep 100 & echo $!"], stdout=write)
    os.close(write)
    reader = process.PipeReader(read)
    pid = int(await reader.read())
    await child.wait()
    started = process.start_ticks(pid)
    waiting = asyncio.ensure_future(process.wait_exit(pid, started))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert process.send_signal(pid, started, signal.SIGKILL)
    await asyncio.wait_for(waiting, 30)
    await process.wait_exit(pid, started)
    reader.close()


async def test_writing_waits_for_the_reader():
    read, write = os.pipe()
    reader, writer = process.PipeReader(read), process.PipeWriter(write)
    data = os.urandom(300_000)
    work = asyncio.ensure_future(writer.write(data))
    got = await reader.read()
    while len(got) < len(data):
        got += await reader.read()
    await work
    assert got == data
    reader.close()
    with pytest.raises(BrokenPipeError):
        await writer.write(b"x")
    writer.close()


async def test_signals_show_in_the_exit_code():
    child = process.spawn(["sleep", "100"])
    assert child.running
    await child.kill()
    assert await child.wait() == -signal.SIGKILL
    assert not child.running
