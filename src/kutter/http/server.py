"""Between listening sockets and the handler: start, limits, time-outs, graceful close.

One :class:`HttpServer` per handler; it may listen on several sockets (TLS, plain TCP, unix).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import msgspec

from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.tasks import Scope
from kutter.http.connection import ServerConnection
from kutter.http.heads import DateHeader
from kutter.http.messages import Handler, Response
from kutter.http.request_reader import plain_error
from kutter.http.tls import ServerTls
from kutter.http.tls_sockets import TlsListener, listen_tls

_BACKLOG = 1024
_POLITE_S = 1.0  # for clients to say that they, too, have closed
_CLOSE_TURNS = 100  # of the loop, for aborted transports to say that they are closed
RenderError = Callable[[int, str], Response]


class Limits(msgspec.Struct, frozen=True):
    """Bounds of a server and of each connection.

    ``connections``: more are dropped as they come. ``stall_timeout_s``: how long a client may
    not read while there is something for it.
    """

    connections: int = 16_384

    body_bytes: int = 3 * 1024 * 1024
    header_bytes: int = 128 * 1024
    header_timeout_s: float = 32.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 120.0
    stall_timeout_s: float = 300.0
    handshake_timeout_s: float = 15.0


DEFAULT_LIMITS = Limits()


class HttpServer:
    """A running server; made by :func:`serve`."""

    def __init__(
        self,
        handler: Handler,
        *,
        limits: Limits = DEFAULT_LIMITS,
        render_error: RenderError = plain_error,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.render_error = render_error
        self.loop = asyncio.get_running_loop()
        self.scope = Scope("http")
        self.date = DateHeader(clock)
        #: (host, port) of every TCP socket.
        self.addresses: list[tuple[str, int]] = []
        self._connections: set[ServerConnection] = set()
        self._listeners: list[asyncio.Server | TlsListener] = []
        self._unix_paths: list[str] = []
        self._empty = asyncio.Event()
        self._empty.set()
        self._closing = False
        self._sweep: asyncio.TimerHandle | None = None
        shortest = min(limits.header_timeout_s, limits.body_timeout_s, limits.idle_timeout_s)
        self._sweep_every_s = max(0.02, min(5.0, shortest / 4))

    # -- listening ------------------------------------------------------------------------

    async def listen(
        self, host: str, port: int, *, tls: ServerTls | ssl.SSLContext | None = None
    ) -> int:
        """Listen on TCP; answers the port (useful with 0). Raises OSError."""
        context = tls.context if isinstance(tls, ServerTls) else tls
        listener: asyncio.Server | TlsListener
        if context is not None:
            listener = await listen_tls(
                host,
                port,
                context,
                lambda: ServerConnection(self),
                backlog=_BACKLOG,
                handshake_timeout_s=self.limits.handshake_timeout_s,
            )
        else:
            listener = await self.loop.create_server(
                lambda: ServerConnection(self), host, port, backlog=_BACKLOG, reuse_address=True
            )
        self._listeners.append(listener)
        names = [s.getsockname() for s in listener.sockets]
        self.addresses += [(name[0], name[1]) for name in names]
        return int(names[0][1])

    async def listen_unix(self, path: Path, *, mode: int = 0o600) -> None:
        """Listen on a unix socket, replacing a dead one. Raises OSError."""
        name = str(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        mask = os.umask(0o777 & ~mode)
        try:
            listener = await self.loop.create_unix_server(
                lambda: ServerConnection(self), name, backlog=_BACKLOG
            )
        finally:
            os.umask(mask)
        self._listeners.append(listener)
        self._unix_paths.append(name)

    @property
    def port(self) -> int:
        """The first TCP port."""
        return self.addresses[0][1]

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    # -- connections ----------------------------------------------------------------------

    def register(self, connection: ServerConnection) -> bool:
        """A connection is up; False when there are too many."""
        if len(self._connections) >= self.limits.connections:
            return False
        self._connections.add(connection)
        self._empty.clear()
        if self._closing:
            connection.end()
        elif self._sweep is None:
            self._sweep = self.loop.call_later(self._sweep_every_s, self._check_deadlines)
        return True

    def release(self, connection: ServerConnection) -> None:
        """A connection is gone or handed over."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def _check_deadlines(self) -> None:
        # One timer for all connections, none when there are none: cheaper than one each.
        self._sweep = None
        now = self.loop.time()
        for connection in list(self._connections):
            connection.check_deadline(now)
        if self._connections and not self._closing:
            self._sweep = self.loop.call_later(self._sweep_every_s, self._check_deadlines)

    # -- ending ---------------------------------------------------------------------------

    async def close(self, *, grace_s: float = 10.0) -> None:
        """Stop listening, finish running answers, end streams, drop the rest after ``grace_s``."""
        self._closing = True
        if self._sweep is not None:
            self._sweep.cancel()
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.end()
        end = self.loop.time() + grace_s
        while self._connections and self.loop.time() < end:
            try:
                async with asyncio.timeout(min(_POLITE_S, end - self.loop.time())):
                    await self._empty.wait()
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort_if_done()
        for connection in list(self._connections):
            connection.abort()
        await self.scope.close()
        for _ in range(_CLOSE_TURNS):
            if not self._connections:
                break
            await asyncio.sleep(0)
        for path in self._unix_paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


async def serve(
    handler: Handler,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ServerTls | ssl.SSLContext | None = None,
    unix_path: Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
    render_error: RenderError = plain_error,
    clock: Clock = SYSTEM_CLOCK,
) -> HttpServer:
    """Listen on ``host:port`` (or on ``unix_path`` alone) and answer with ``handler``.

    ``render_error(status, message)`` renders 413 and 500; what is no HTTP gets plain text.
    Raises OSError if the address cannot be had.
    """
    server = HttpServer(handler, limits=limits, render_error=render_error, clock=clock)
    if unix_path is not None:
        await server.listen_unix(unix_path)
    else:
        await server.listen(host, port, tls=tls)
    return server
