"""Reading, following and rotating container logs."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.base.clock import SYSTEM_CLOCK
from kutter.node.log_rotation import rotate_log
from kutter.node.log_stream import stream_log
from kutter.node.logs import LogFilter, LogOptions, log_files, tail_offset, tail_text
from kutter.runtime.cri import Container, ContainerMetadata, ContainerState

T = "2026-01-01T00:00:0{}.000000001Z"


def line(text: str, second: int = 0, stream: str = "stdout", tag: str = "F") -> bytes:
    return f"{T.format(second)} {stream} {tag} {text}\n".encode()


async def read(path: Path, *, running: bool = False, **options: object) -> bytes:
    stream = stream_log(
        path,
        LogOptions(**options),  # type: ignore[arg-type]
        is_running=lambda: running,
        clock=SYSTEM_CLOCK,
    )
    return b"".join([chunk async for chunk in stream])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_bytes(
        line("one", 1)
        + line("two ", 2, tag="P")
        + line("halves", 2)
        + line("err", 3, "stderr")
        + line("four", 4)
    )
    return path


async def test_whole_log_joins_partial_lines(log: Path) -> None:
    assert await read(log) == b"one\ntwo halves\nerr\nfour\n"


async def test_options(log: Path) -> None:
    assert await read(log, tail=2) == b"err\nfour\n"
    assert await read(log, tail=3) == b"two halves\nerr\nfour\n"
    assert await read(log, tail=0) == b""
    assert await read(log, tail=99) == b"one\ntwo halves\nerr\nfour\n"
    assert await read(log, limit_bytes=5) == b"one\nt"
    assert await read(log, stream="stderr") == b"err\n"
    since = datetime(2026, 1, 1, 0, 0, 3, tzinfo=UTC)
    assert await read(log, since=since) == b"err\nfour\n"
    stamped = await read(log, timestamps=True, tail=3)
    assert stamped.splitlines()[0] == T.format(2).encode() + b" two halves"


async def test_follow_goes_on_across_a_rotation_and_ends(log: Path) -> None:
    running = True
    out: list[bytes] = []

    async def follow() -> None:
        stream = stream_log(
            log,
            LogOptions(follow=True, tail=1),
            is_running=lambda: running,
            clock=SYSTEM_CLOCK,
        )
        async for chunk in stream:
            out.append(chunk)

    task = asyncio.ensure_future(follow())
    async with asyncio.timeout(30):
        while not out:
            await asyncio.sleep(0.01)
        log.rename(log.with_name("0.log.20260101-000000"))
        log.write_bytes(line("after"))
        while len(out) < 2:
            await asyncio.sleep(0.01)
        running = False
        await task
    assert b"".join(out) == b"four\nafter\n"


async def test_rotated_files_are_read_first(log: Path) -> None:
    with gzip.open(log.with_name("0.log.20250101-000000.gz"), "wb") as file:
        file.write(line("oldest"))
    log.with_name("0.log.20250201-000000").write_bytes(line("older"))
    assert (await read(log)).splitlines()[:3] == [b"oldest", b"older", b"one"]
    assert (await read(log, tail=6)).splitlines()[:2] == [b"older", b"one"]


class Reopener:
    def __init__(self, path: Path) -> None:
        self.path = path

    async def reopen_log(self, container_id: str) -> None:
        self.path.touch()


async def test_rotation_keeps_a_bounded_number_of_files(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    run = Container(
        "c", "s", ContainerMetadata("app"), "i", "i", ContainerState.RUNNING, 1, log_path=path
    )
    for number in range(8):
        path.write_bytes(line(f"number {number}") * 10)
        rotated = await rotate_log(
            run,
            Reopener(path),  # type: ignore[arg-type]
            maximum_bytes=100,
            maximum_files=4,
            moment=datetime(2026, 1, 1, 0, 0, number, tzinfo=UTC),
        )
        assert rotated
    names = [p.name for p in log_files(path)]
    assert names == [
        "0.log.20260101-000005.gz",
        "0.log.20260101-000006.gz",
        "0.log.20260101-000007",
        "0.log",
    ]
    path.write_bytes(b"")
    assert not await rotate_log(
        run,
        Reopener(path),  # type: ignore[arg-type]
        maximum_bytes=100,
        maximum_files=4,
        moment=datetime.now(UTC),
    )


@settings(deadline=None)
@given(
    entries=st.lists(st.tuples(st.text(alphabet="xy", max_size=40), st.booleans()), max_size=30),
    count=st.integers(0, 35),
    block=st.integers(1, 64),
)
def test_tail_is_what_reading_all_and_cutting_gives(
    entries: list[tuple[str, bool]], count: int, block: int
) -> None:
    import tempfile
    from unittest import mock

    raw = b"".join(line(text, tag="P" if partial else "F") for text, partial in entries)
    if entries and entries[-1][1]:
        raw += line("end")
    with tempfile.NamedTemporaryFile() as file, mock.patch("kutter.node.logs.TAIL_BLOCK", block):
        path = Path(file.name)
        path.write_bytes(raw)
        rest = raw[tail_offset(path, count) :]
    render = LogFilter(LogOptions()).render
    whole = b"".join(render(part) for part in raw.split(b"\n")).split(b"\n")[:-1]
    render = LogFilter(LogOptions()).render
    tail = b"".join(render(part) for part in rest.split(b"\n")).split(b"\n")[:-1]
    assert tail == (whole[-count:] if count else [])


def test_tail_text_is_bounded(log: Path) -> None:
    assert tail_text(log, 80, 9) == "err\nfour\n"
    assert tail_text(log.with_name("none"), 80, 9) == ""
