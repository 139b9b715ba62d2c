"""Between one transport and one exchange at a time: the client side of an HTTP/1.1 connection.

Laws: at most ``HIGH_BYTES`` of an unread body are buffered; a body without length ends with the
connection; one cut short raises; a connection that misbehaves is never used again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

import httptools

from kutter.http.heads import BODILESS, render_request_head
from kutter.http.stream import TransportStream, detect_dead_peer

HIGH_BYTES = 1024 * 1024
_HEAD_LIMIT_BYTES = 1024 * 1024


class HttpProtocolError(ConnectionError):
    """The peer does not speak HTTP/1.1, or broke a bound of ours."""


class StaleConnectionError(ConnectionError):
    """A kept connection was gone before a byte of the answer: safe to try a read again."""


def _make_parser(connection: ClientConnection) -> httptools.HttpResponseParser:
    """One that takes lines ended by LF alone, as RFC 9112 2.2 allows and small servers in pods
    (CGI scripts) write them.
    """
    parser = httptools.HttpResponseParser(connection)
    parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
    return parser


class ClientConnection(asyncio.Protocol):
    """One connection to a server; the pool hands it to one exchange at a time."""

    def __init__(self, on_lost: Callable[[ClientConnection], None]) -> None:
        self._on_lost = on_lost
        self._transport: asyncio.Transport
        self._parser = _make_parser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._busy = False
        self._collect = False
        self._error: ConnectionError | None = None
        self._lost = False
        self._upgraded = False
        self._early = b""
        self._method = ""
        self._head_bytes = 0
        self._started = False  # a byte of the answer has arrived
        self._head_done = False
        self._complete = False
        self._framed = False
        self.reused = False
        self.idle_since = 0.0
        self.status = 0
        self.header_list: list[tuple[str, str]] = []

    # -- exchange -------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether another request can be sent."""
        return not (self._lost or self._busy or self._error) and not self._transport.is_closing()

    @property
    def complete(self) -> bool:
        """The answer is in whole."""
        return self._complete

    def send(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes
    ) -> None:
        """Start an exchange. Raises ValueError for headers that cannot be sent."""
        assert not self._busy
        head = render_request_head(method, target, headers)
        self._busy = True
        self._method = method
        self._started = self._head_done = self._complete = self._framed = False
        self._collect = False
        self._head_bytes = 0
        self.status = 0
        self.header_list = []
        if len(body) > 65536:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head + body)

    async def wait_head(self) -> None:
        """Wait for status and headers. Raises ConnectionError."""
        while not self._head_done:
            await self._wait()

    async def next_chunk(self) -> bytes:
        """Some bytes of the body; ``b""`` at its end. Raises ConnectionError."""
        while not self._chunks:
            if self._complete:
                return b""
            await self._wait()
        data = self._chunks.popleft()
        self._buffered -= len(data)
        if self._paused and self._buffered < HIGH_BYTES // 4:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def read_body(self, limit_bytes: int) -> bytes:
        """The whole body. Raises HttpProtocolError past ``limit_bytes``."""
        self._collect = True
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        while not self._complete:
            if self._buffered > limit_bytes:
                break
            await self._wait()
        if self._buffered > limit_bytes:
            self.abort()
            raise HttpProtocolError(f"the answer is longer than {limit_bytes} bytes")
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        return body

    def finish(self) -> bool:
        """End the exchange; answers whether the connection can be kept."""
        keep = self._complete and not self._lost and not self._error and not self._upgraded
        self._busy = False
        self._chunks.clear()
        self._buffered = 0
        if not keep or not self._keep_alive:
            if not self._upgraded:
                self.abort()
            return False
        return not self._transport.is_closing()

    def take_stream(self) -> TransportStream:
        """After status 101: the connection as bytes."""
        assert self._upgraded
        stream = TransportStream(self._early)
        stream.adopt(self._transport)
        if self._lost:
            stream.connection_lost(None)
        self._on_lost(self)
        return stream

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        assert self._waiter is None, "two readers of one answer"
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: ConnectionError) -> None:
        if self._error is None:
            self._error = error
        self._transport.abort()
        self._wake()

    # -- transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        detect_dead_peer(transport)

    def data_received(self, data: bytes) -> None:
        if self._upgraded:
            self._early += data
            return
        if not self._busy or self._complete:
            # Nobody asked: a time-out notice or garbage. The connection is not to be kept.
            self._transport.abort()
            return
        self._started = True
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded = True
            self._early = data[upgrade.args[0] :]
            self._head_done = self._complete = True
            self._wake()
        except httptools.HttpParserError as error:
            if not self._complete:
                self._fail(HttpProtocolError(f"malformed answer: {error}"))
            else:
                self._transport.abort()
        else:
            if not self._head_done and self._head_bytes > _HEAD_LIMIT_BYTES:
                self._fail(HttpProtocolError("the answer's headers are too long"))

    def eof_received(self) -> bool:
        self._ended(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._ended(exc)
        self._on_lost(self)

    def _ended(self, exc: Exception | None) -> None:
        if not self._busy or self._complete or self._error is not None:
            return
        if self._head_done and not self._framed and exc is None:
            self._keep_alive = False
            self._complete = True
            self._wake()
        elif not self._started and self.reused:
            self._fail(StaleConnectionError("the kept connection is gone"))
        else:
            self._fail(ConnectionResetError(str(exc) if exc else "the server hung up"))

    # -- parser ---------------------------------------------------------------------------

    _keep_alive = True

    def on_message_begin(self) -> None:
        self.header_list = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            return  # trailers
        text = name.decode("latin-1").lower()
        self.header_list.append((text, value.decode("latin-1")))
        if text == "content-length" or (text == "transfer-encoding" and b"chunked" in value):
            self._framed = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            return
        self.status = status
        self._keep_alive = self._parser.should_keep_alive()
        self._head_done = True
        if self._method == "HEAD" or status in BODILESS:
            # The parser would wait for the body that the length announces.
            self._parser = _make_parser(self)
            self._complete = True
        if not self._collect:
            self._wake()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered += len(body)
        if self._collect:
            return
        if not self._paused and self._buffered > HIGH_BYTES:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if not self._head_done:  # 1xx
            self._framed = False
            return
        self._complete = True
        self._wake()
