"""Between callers and servers: an HTTP/1.1 client with a bounded pool of kept connections.

Laws: at most ``max_connections`` to one origin, callers wait for a free one; a read (GET, HEAD,
OPTIONS) that meets a stale kept connection is tried again once on a fresh one, nothing else is
ever sent twice; Authorization and cookies never follow a redirect to another origin.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urljoin, urlsplit

import msgspec

from kutter.http.client_connection import (
    ClientConnection,
    HttpProtocolError,
    StaleConnectionError,
)
from kutter.http.messages import ByteStream

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
TlsSource = ssl.SSLContext | Callable[[], ssl.SSLContext]

_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_PRIVATE = frozenset(("authorization", "cookie", "proxy-authorization"))
_BODY_LIMIT_BYTES = 1024 * 1024 * 1024
_IDLE_S = 60.0
_CLOSE_TURNS = 100  # of the loop, for aborted transports to say that they are closed


class TooManyRedirectsError(HttpProtocolError):
    """The server keeps sending us elsewhere."""


class Origin(NamedTuple):
    """Where a connection goes."""

    scheme: str
    host: str
    port: int


class HttpAnswer(msgspec.Struct):
    """A complete answer. Header names are lower case; repeated ones are joined by commas."""

    status: int
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: bytes = b""
    header_list: list[tuple[str, str]] = msgspec.field(default_factory=list)
    url: str = ""


class HttpStream:
    """An answer whose body is still coming. Leave it read to the end, or ``close`` it."""

    def __init__(self, pool: _Pool, connection: ClientConnection, url: str) -> None:
        self._pool = pool
        self._connection: ClientConnection | None = connection
        self.status = connection.status
        self.header_list = connection.header_list
        self.headers = join_headers(connection.header_list)
        self.url = url

    async def read(self) -> bytes:
        """Some bytes of the body; ``b""`` at its end. Raises ConnectionError."""
        connection = self._connection
        if connection is None:
            return b""
        data = await connection.next_chunk()
        if not data:
            self._release()
        return data

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece, as it arrives; leaving early closes the connection."""
        try:
            while data := await self.read():
                yield data
        finally:
            self._release()

    async def close(self) -> None:
        """Let go; a body not read to its end costs the connection. Idempotent."""
        self._release()

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()


class HttpUpgrade(msgspec.Struct):
    """The answer to an upgrade: ``stream`` when it was 101, ``body`` otherwise."""

    status: int
    headers: dict[str, str]
    header_list: list[tuple[str, str]]
    body: bytes = b""
    stream: ByteStream | None = None


def join_headers(header_list: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers as a dictionary, repeated ones joined by commas."""
    headers: dict[str, str] = {}
    for name, value in header_list:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


class _Pool:
    """The connections to one origin."""

    def __init__(self, client: HttpClient, origin: Origin) -> None:
        self._client = client
        self._origin = origin
        self._idle: list[ClientConnection] = []
        self._all: set[ClientConnection] = set()
        self._opening = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def take(self, *, fresh: bool = False) -> ClientConnection:
        """A connection for one exchange. Raises OSError."""
        while True:
            now = asyncio.get_running_loop().time()
            while self._idle and not fresh:
                connection = self._idle.pop()
                if connection.usable and now - connection.idle_since < _IDLE_S:
                    connection.reused = True
                    return connection
                connection.close()
            if len(self._all) + self._opening < self._client.max_connections:
                return await self._open()
            if self._idle:  # fresh was asked for and idle ones fill the pool
                self._idle.pop(0).abort()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except BaseException:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()  # the place we were given is for the next one
                with contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)
                raise

    async def _open(self) -> ClientConnection:
        self._opening += 1
        try:
            connection = await self._client.open_connection(self._origin, self._lost)
        except BaseException:
            self._opening -= 1
            self._wake_one()
            self._forget_if_empty()
            raise
        self._opening -= 1
        self._all.add(connection)
        self._client.connections.add(connection)
        self._client.remember(self._origin, self)
        return connection

    def give_back(self, connection: ClientConnection) -> None:
        """The exchange is over."""
        if connection.finish():
            if not self._client.closed and len(self._idle) < self._client.max_idle:
                connection.idle_since = asyncio.get_running_loop().time()
                self._idle.append(connection)
            else:
                connection.close()
        self._wake_one()

    def close_idle(self) -> None:
        for connection in self._idle:
            connection.close()

    def _lost(self, connection: ClientConnection) -> None:
        self._all.discard(connection)
        self._client.connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._wake_one()
        self._forget_if_empty()

    def _forget_if_empty(self) -> None:
        if not (self._all or self._opening or self._waiters):
            self._client.forget(self._origin)

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


class HttpClient:
    """Requests to any origin; connections are kept and used again.

    ``tls``: a context, or a function giving one for each new connection (rotating identities).
    ``server_hostname`` overrides the name checked and sent in TLS. ``unix_path``: connect there
    whatever the URL says. ``max_idle`` 0: keep nothing.
    """

    def __init__(
        self,
        *,
        tls: TlsSource | None = None,
        server_hostname: str = "",
        unix_path: Path | None = None,
        connect_timeout_s: float = 10.0,
        max_connections: int = 512,
        max_idle: int = 32,
    ) -> None:
        self._tls = tls
        self._server_hostname = server_hostname
        self._unix_path = unix_path
        self._connect_timeout_s = connect_timeout_s
        self.max_connections = max_connections
        self.max_idle = max_idle
        self.closed = False
        self.connections: set[ClientConnection] = set()
        self._pools: dict[Origin, _Pool] = {}

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        timeout_s: float | None = 60.0,
        redirects: int = 0,
        across_hosts: bool = False,
        limit_bytes: int = _BODY_LIMIT_BYTES,
    ) -> HttpAnswer:
        """One complete exchange within ``timeout_s``.

        ``redirects``: how many to follow; to another host only ``across_hosts`` (else that
        answer is returned). Raises OSError (ConnectionError, TimeoutError, ssl.SSLError).
        """
        async with asyncio.timeout(timeout_s):
            pool, connection, url = await self._exchange(
                method, url, headers, body, redirects=redirects, across_hosts=across_hosts
            )
            try:
                data = await connection.read_body(limit_bytes)
                header_list = connection.header_list
                return HttpAnswer(
                    connection.status, join_headers(header_list), data, header_list, url
                )
            finally:
                pool.give_back(connection)

    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        timeout_s: float | None = 60.0,
        redirects: int = 0,
        across_hosts: bool = False,
    ) -> HttpStream:
        """Answers when status and headers are in (within ``timeout_s``); the body follows."""
        async with asyncio.timeout(timeout_s):
            pool, connection, url = await self._exchange(
                method, url, headers, body, redirects=redirects, across_hosts=across_hosts
            )
        return HttpStream(pool, connection, url)

    async def upgrade(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Headers = (),
        timeout_s: float | None = 60.0,
    ) -> HttpUpgrade:
        """Ask for another protocol (give ``Upgrade`` in ``headers``)."""
        asked = [("Connection", "Upgrade"), *_pairs(headers)]
        async with asyncio.timeout(timeout_s):
            pool, connection, _ = await self._exchange(method, url, asked)
            status, header_list = connection.status, connection.header_list
            answered = join_headers(header_list)
            try:
                if status == 101:
                    stream = connection.take_stream()
                    return HttpUpgrade(status, answered, header_list, stream=stream)
                body = await connection.read_body(_BODY_LIMIT_BYTES)
                return HttpUpgrade(status, answered, header_list, body)
            finally:
                pool.give_back(connection)

    async def close(self) -> None:
        """Drop all connections; they are gone when this returns."""
        self.closed = True
        for connection in list(self.connections):
            connection.abort()
        for _ in range(_CLOSE_TURNS):
            if not self.connections:
                break
            await asyncio.sleep(0)

    def retire(self) -> None:
        """Take no further requests; exchanges under way end, and their connections with them."""
        self.closed = True
        for pool in list(self._pools.values()):
            pool.close_idle()

    def forget(self, origin: Origin) -> None:
        """An origin without connections (probes meet many) costs nothing."""
        self._pools.pop(origin, None)

    def remember(self, origin: Origin, pool: _Pool) -> None:
        """A pool that was forgotten while a caller waited in it is in use again."""
        self._pools.setdefault(origin, pool)

    # -- one exchange ---------------------------------------------------------------------

    async def _exchange(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes = b"",
        *,
        redirects: int = 0,
        across_hosts: bool = False,
    ) -> tuple[_Pool, ClientConnection, str]:
        pairs = _pairs(headers)
        followed = 0
        while True:
            origin, target = parse_url(url)
            pool, connection = await self._send(method, origin, target, pairs, body)
            location = ""
            if redirects and connection.status in _REDIRECTS:
                location = join_headers(connection.header_list).get("location", "")
            if not location:
                return pool, connection, url
            there = urljoin(url, location)
            try:
                next_origin = parse_url(there)[0]
            except ValueError:
                return pool, connection, url
            if not across_hosts and next_origin.host != origin.host:
                return pool, connection, url
            followed += 1
            if followed > redirects:
                connection.abort()
                pool.give_back(connection)
                raise TooManyRedirectsError(f"stopped after {redirects} redirects")
            if connection.status == 303 or (connection.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), b""
            if not connection.complete:
                with contextlib.suppress(ConnectionError):
                    await connection.read_body(64 * 1024)
            pool.give_back(connection)
            if next_origin != origin:
                pairs = [p for p in pairs if p[0].lower() not in _PRIVATE]
            pairs = [p for p in pairs if p[0].lower() != "host"]
            url = there

    async def _send(
        self, method: str, origin: Origin, target: str, pairs: list[tuple[str, str]], body: bytes
    ) -> tuple[_Pool, ClientConnection]:
        if self.closed:
            raise ConnectionAbortedError("the client is closed")
        lines = _complete(pairs, origin, method, len(body))
        fresh = False
        while True:
            pool = self._pools.get(origin)
            if pool is None:
                pool = self._pools[origin] = _Pool(self, origin)
            connection = await pool.take(fresh=fresh)
            try:
                connection.send(method, target, lines, body)
                await connection.wait_head()
                return pool, connection
            except StaleConnectionError:
                pool.give_back(connection)
                if fresh or method not in _SAFE:
                    raise
                fresh = True
            except BaseException:
                connection.abort()
                pool.give_back(connection)
                raise

    async def open_connection(
        self, origin: Origin, on_lost: Callable[[ClientConnection], None]
    ) -> ClientConnection:
        """A new connection. Raises OSError."""
        loop = asyncio.get_running_loop()
        context: ssl.SSLContext | None = None
        if origin.scheme == "https":
            tls = self._tls
            if tls is None:
                tls = self._tls = ssl.create_default_context()
            context = tls if isinstance(tls, ssl.SSLContext) else tls()
        name = (self._server_hostname or origin.host) if context is not None else None
        async with asyncio.timeout(self._connect_timeout_s):
            if self._unix_path is not None:
                _, connection = await loop.create_unix_connection(
                    lambda: ClientConnection(on_lost),
                    str(self._unix_path),
                    ssl=context,
                    server_hostname=name,
                )
            else:
                _, connection = await loop.create_connection(
                    lambda: ClientConnection(on_lost),
                    origin.host,
                    origin.port,
                    ssl=context,
                    server_hostname=name,
                )
        return connection


def parse_url(url: str) -> tuple[Origin, str]:
    """Origin and request target of an absolute URL. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an http URL: {url!r}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Origin(parts.scheme, parts.hostname, port), target


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    return list(headers.items()) if isinstance(headers, Mapping) else list(headers)


def _complete(
    pairs: list[tuple[str, str]], origin: Origin, method: str, body_bytes: int
) -> list[tuple[str, str]]:
    """The caller's headers with Host first and the length last."""
    given = {name.lower() for name, _ in pairs}
    lines = [p for p in pairs if p[0].lower() not in ("content-length", "transfer-encoding")]
    if "host" not in given:
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        default = 443 if origin.scheme == "https" else 80
        lines.insert(0, ("Host", host if origin.port == default else f"{host}:{origin.port}"))
    if body_bytes or method in ("POST", "PUT", "PATCH"):
        lines.append(("Content-Length", str(body_bytes)))
    return lines
