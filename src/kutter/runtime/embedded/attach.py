"""Connects to a running container's main process through its monitor.

conmon listens on a SOCK_SEQPACKET socket in the bundle: what it sends starts with one byte
naming the stream (2 stdout, 3 stderr), what it gets is standard input. Sizes go by its control
pipe. https://github.com/containers/conmon/blob/main/src/conn_sock.c
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from kutter.linux.namespaces import open_socket
from kutter.linux.process import PipeReader, PipeWriter
from kutter.runtime.cri import CriError, ExecIo
from kutter.runtime.embedded.containers import LiveContainer
from kutter.runtime.embedded.monitor import send_control
from kutter.runtime.embedded.records import Phase

_STDERR = 3
# conmon reads its attach sockets into a buffer of this size.
_STDIN_PACKET_BYTES = 8192
_PACKET_MAX_BYTES = 65536
_CONNECT_TIMEOUT_S = 5.0

PortConnection = tuple[
    Callable[[int], Awaitable[bytes]], Callable[[bytes], Awaitable[None]], Callable[[], None]
]


def _connect(bundle: Path) -> socket.socket:
    """Connect by a short name: a bundle's path may be longer than a socket address."""
    folder = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{folder}/attach")
    except OSError:
        connection.close()
        raise
    finally:
        os.close(folder)
    return connection


async def attach(live: LiveContainer, io: ExecIo, *, tty: bool, stdin: bool) -> None:
    """Move bytes until the process ends; cancelling detaches. Raises CriError.

    The end of the caller's input detaches as well, unless it is passed on to the process (which
    has that input once, and no terminal): a program that waits for more would hold the caller.
    """
    if live.record.phase is not Phase.RUNNING:
        raise CriError(f"container {live.record.id} is not running")
    try:
        connection = _connect(live.bundle)
    except OSError as error:
        raise CriError(f"cannot attach: {error.strerror}") from None
    writer = PipeWriter(os.dup(connection.fileno()))
    reader = PipeReader(connection.detach())
    loop = asyncio.get_running_loop()
    side: list[asyncio.Task[bool]] = []
    if stdin:
        once = live.record.config.stdin_once and not tty
        side.append(loop.create_task(_pump_stdin(io, writer, detaches=not once)))
    if tty:
        side.append(loop.create_task(_pump_sizes(io, live.bundle)))
    output = loop.create_task(_pump_output(io, reader))
    try:
        waiting = {output, *side}
        over = False
        while not over:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            # A caller that is gone ends the session by an exception.
            results = [task.result() for task in done]
            over = any(results)
    finally:
        side.append(output)
        for task in side:
            task.cancel()
        await asyncio.gather(*side, return_exceptions=True)
        writer.close()
        reader.close()


# Each answers whether the session is over with it.


async def _pump_output(io: ExecIo, reader: PipeReader) -> bool:
    while packet := await reader.read(_PACKET_MAX_BYTES):
        write = io.write_stderr if packet[0] == _STDERR else io.write_stdout
        if len(packet) > 1:
            await write(packet[1:])
    return True


async def _pump_stdin(io: ExecIo, writer: PipeWriter, *, detaches: bool) -> bool:
    while data := await io.read_stdin():
        try:
            for start in range(0, len(data), _STDIN_PACKET_BYTES):
                await writer.write(data[start : start + _STDIN_PACKET_BYTES])
        except OSError:  # the process or its monitor is gone: the output ends as well
            return False
    if not detaches:
        with contextlib.suppress(OSError):
            writer.shutdown()
    return detaches


async def _pump_sizes(io: ExecIo, bundle: Path) -> bool:
    while (size := await io.next_resize()) is not None:
        columns, rows = size
        with contextlib.suppress(OSError):
            send_control(bundle, f"1 {rows} {columns}\n")
    return False


async def connect_port(namespace: Path | None, port: int) -> PortConnection:
    """A TCP connection to localhost:port in a network namespace. Raises CriError."""
    loop = asyncio.get_running_loop()
    failure: OSError | None = None
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        connection = None
        try:
            connection = await asyncio.to_thread(open_socket, namespace, family, socket.SOCK_STREAM)
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await loop.sock_connect(connection, (address, port))
        except OSError as error:  # TimeoutError is one
            failure = failure or error
            if connection is not None:
                connection.close()
        else:
            return _wrap(connection, loop)
    raise CriError(f"failed to connect to localhost:{port} inside the sandbox: {failure}")


def _wrap(connection: socket.socket, loop: asyncio.AbstractEventLoop) -> PortConnection:
    async def read(limit: int) -> bytes:
        try:
            return await loop.sock_recv(connection, limit)
        except ConnectionError:
            return b""

    async def write(data: bytes) -> None:
        if not data:  # the caller's end: half-close
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            return
        await loop.sock_sendall(connection, data)

    return read, write, connection.close
