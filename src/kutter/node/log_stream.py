"""Streams a container's log, following it across rotation until the container has ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from kutter.base.clock import Clock
from kutter.node.logs import LogFilter, LogOptions, log_files, read_lines, tail_offset

# Only while somebody follows: how often the file is looked at.
FOLLOW_S = 0.2
CHUNK = 64 * 1024


async def stream_log(
    path: Path, options: LogOptions, *, is_running: Callable[[], bool], clock: Clock
) -> AsyncIterator[bytes]:
    """Output in chunks as ``options`` ask. Raises OSError."""
    render = LogFilter(options)
    start = 0
    exists = os.path.exists
    if options.tail is not None and exists(path):
        start = await asyncio.to_thread(tail_offset, path, options.tail)
    older = options.tail is None or (start == 0 and options.tail > 0)
    if older:
        count = options.tail
        for chunk in await asyncio.to_thread(_read_rotated, path, render, count):
            yield chunk
    while not exists(path):
        if not options.follow or not is_running():
            return
        await clock.sleep(FOLLOW_S)
    file = path.open("rb")
    try:
        file.seek(start)
        rest = b""
        while not render.exhausted:
            running = is_running()  # before reading: what is written until the end is read
            block = file.read(CHUNK)
            if block:
                *lines, rest = (rest + block).split(b"\n")
                out = b"".join(render.render(line) for line in lines)
                if out:
                    yield out
                continue
            if not options.follow:
                break
            if _rotated(path, file.fileno()):
                file.close()
                file = path.open("rb")
                rest = b""
                continue
            if not running:
                break
            await clock.sleep(FOLLOW_S)
    finally:
        file.close()


def _rotated(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino != os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _read_rotated(path: Path, render: LogFilter, tail: int | None) -> list[bytes]:
    """What rotated files give; with ``tail`` only the lines the newest file is short of."""
    files = [p for p in log_files(path) if p != path]
    if not files:
        return []
    lines: list[bytes] = []
    if tail is None:
        for file in files:
            lines += read_lines(file)
    else:
        have = sum(1 for _ in read_lines(path)) if path.exists() else 0
        missing = tail - have
        for file in reversed(files):
            if missing <= len(lines):
                break
            lines = [*read_lines(file), *lines]
        lines = lines[-missing:] if missing > 0 else []
    return [out for line in lines if (out := render.render(line))]
