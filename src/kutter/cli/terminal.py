"""The user's terminal as one end of a remote command: raw mode, size, bytes in and out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator

_READ_BYTES = 65536
_PENDING_READS = 16


def is_terminal() -> bool:
    """Whether both input and output are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextlib.contextmanager
def raw_mode() -> Iterator[None]:
    """Keys go through as they are typed; the terminal is put back whatever happens."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def size() -> tuple[int, int]:
    """Columns and rows."""
    found = os.get_terminal_size(sys.stdout.fileno())
    return found.columns, found.lines


async def sizes() -> AsyncIterator[tuple[int, int]]:
    """The size now and whenever it changes."""
    changed = asyncio.Event()
    changed.set()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    try:
        while True:
            await changed.wait()
            changed.clear()
            yield size()
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


async def input_chunks() -> AsyncIterator[bytes]:
    """What comes from standard input, until its end."""
    descriptor = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue(_PENDING_READS)

    def readable() -> None:
        if chunks.full():
            # Not lost: the descriptor stays readable and is asked again.
            loop.remove_reader(descriptor)
            return
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            loop.remove_reader(descriptor)
        chunks.put_nowait(data)

    try:
        loop.add_reader(descriptor, readable)
    except PermissionError:  # a plain file cannot be waited for; reading it never blocks long
        while data := os.read(descriptor, _READ_BYTES):
            yield data
            await asyncio.sleep(0)
        return
    try:
        while data := await chunks.get():
            yield data
            loop.add_reader(descriptor, readable)
    finally:
        loop.remove_reader(descriptor)
