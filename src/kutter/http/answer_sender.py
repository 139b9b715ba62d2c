"""Between answers and the transport of one connection: bodies, streams, upgrades.

Laws: unsent output is bounded, a client that does not read is waited for and then given up; a
stream whose client went away is closed promptly; an answer's stream or upgrade is let go of
whatever happens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from kutter.base.log import get_logger
from kutter.http.heads import BODILESS, render_response_head
from kutter.http.messages import Response
from kutter.http.stream import TransportStream

if TYPE_CHECKING:
    from kutter.http.request_reader import Pending
    from kutter.http.server import HttpServer

_log = get_logger("http.server")

_JOIN_LIMIT_BYTES = 64 * 1024  # bigger bodies are not copied behind their head
_PIECE_BYTES = 128 * 1024  # of a large body
_LINGER_S = 1.0


class AnswerSender:
    """Sends one answer at a time; the connection tells it what the transport says."""

    __slots__ = ("_server", "_transport", "drain", "ending", "eof", "lost", "streaming")

    def __init__(self, server: HttpServer, transport: asyncio.Transport) -> None:
        self._server = server
        self._transport = transport
        #: Set while the client does not read as fast as it is sent to: done when it has caught up.
        self.drain: asyncio.Future[None] | None = None
        #: A stream is being sent, or an upgraded connection runs.
        self.streaming = False
        #: The server closes; the client sends no more; the transport is gone.
        self.ending = False
        self.eof = False
        self.lost = False

    # -- back-pressure --------------------------------------------------------------------

    def pause_writing(self) -> None:
        if self.drain is None:
            self.drain = self._server.loop.create_future()

    def resume_writing(self) -> None:
        drain, self.drain = self.drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    async def wait_drained(self) -> None:
        """Wait for a slow client, at most ``stall_timeout_s``. Raises ConnectionError."""
        drain = self.drain
        if drain is None:
            return
        try:
            async with asyncio.timeout(self._server.limits.stall_timeout_s):
                await drain
        except TimeoutError:
            self._transport.abort()
            raise ConnectionAbortedError("the client does not read") from None
        if self.lost:
            raise ConnectionResetError("the client is gone")

    async def linger(self, *, half_close: bool) -> None:
        """Let the client read the answer before a close that unread input turns into a reset."""
        transport = self._transport
        if half_close and transport.can_write_eof():
            transport.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while not (self.lost or self.eof):
                    self.drain = self._server.loop.create_future()
                    await self.drain

    # -- answers --------------------------------------------------------------------------

    def send_body(
        self, item: Pending, response: Response, keep_alive: bool
    ) -> Awaitable[None] | None:
        """Send an answer at once. A large body is left to what this answers: await it."""
        status, body = response.status, response.body
        framing = "" if status in BODILESS else f"Content-Length: {len(body)}\r\n"
        head_only = item.request.method == "HEAD"
        if head_only and not body:
            framing = _declared_length(response) or framing
        if not keep_alive:
            framing += "Connection: close\r\n"
        elif item.http_1_0:
            framing += "Connection: keep-alive\r\n"
        server = self._server
        date = server.date.line(server.loop.time())
        head = render_response_head(status, response.headers, framing, date)
        if not body or head_only or status in BODILESS:
            self._transport.write(head)
        elif len(body) <= _JOIN_LIMIT_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            return self._send_large(body)
        return None

    async def _send_large(self, body: bytes) -> None:
        """Piece by piece, as fast as the client reads: TLS and the transport copy what they are
        given, and pieces stay in the processor's cache; others get their turn in between.
        """
        view = memoryview(body)
        transport = self._transport
        for start in range(0, len(body), _PIECE_BYTES):
            transport.write(view[start : start + _PIECE_BYTES])
            if self.drain is not None:
                await self.wait_drained()

    def _push(self, data: bytes | None) -> bool:
        """Send one item of a stream at once; False when the client is behind. None: if it is
        behind, it has been waited for long enough.
        """
        if data is None:
            if self.drain is not None:
                self._transport.abort()
            return False
        if self.drain is not None or self.lost or self.eof or not data:
            return False
        self._transport.write(_chunk_of(data))
        return True

    async def send_stream(self, item: Pending, response: Response, keep_alive: bool) -> bool:
        """Send chunks as they come; answers whether the connection can be used again."""
        declared = _declared_length(response)
        chunked = not declared and not item.http_1_0
        keep_alive = keep_alive and (chunked or bool(declared))
        framing = declared or ("Transfer-Encoding: chunked\r\n" if chunked else "")
        if not keep_alive:
            framing += "Connection: close\r\n"
        elif item.http_1_0:
            framing += "Connection: keep-alive\r\n"
        server = self._server
        date = server.date.line(server.loop.time())
        self._transport.write(
            render_response_head(response.status, response.headers, framing, date)
        )
        if item.request.method == "HEAD" or response.status in BODILESS:
            await close_stream(response)
            return keep_alive
        self.streaming = True
        try:
            whole = await self._send_items(response, chunked, declared)
        except asyncio.CancelledError:
            # Ours (client gone, server ending) or the scope's: either way the stream ends here.
            if not self.ending or self.lost or self.eof:
                self._transport.abort()
                return False
            _uncancel()
            keep_alive, whole = False, not declared
        except ConnectionError:
            self._transport.abort()
            return False
        except Exception as error:
            _log.error("response stream failed", path=item.request.path, exc_info=error)
            self._transport.abort()
            return False
        finally:
            self.streaming = False
            await close_stream(response)
        if not whole:
            self._transport.abort()
            return False
        if chunked:
            self._transport.write(b"0\r\n\r\n")
        return keep_alive

    async def _send_items(self, response: Response, chunked: bool, declared: str) -> bool:
        """Answers whether as much was sent as was declared."""
        stream = response.stream
        assert stream is not None
        left = int(declared[16:]) if declared else 0
        transport = self._transport
        if self.eof:
            raise asyncio.CancelledError
        attach = getattr(stream, "attach", None) if chunked else None
        try:
            if attach is not None:
                attach(self._push)
            async for data in stream:
                if not data:
                    continue
                if chunked:
                    data = _chunk_of(data)
                elif declared:
                    left -= len(data)
                    if left < 0:
                        break
                transport.write(data)
                if self.drain is not None:
                    await self.wait_drained()
        finally:
            if attach is not None:
                attach(None)
        return not left

    async def run_upgrade(self, response: Response, early: bytes) -> None:
        """Hand the connection over to the answer's handler, with what was read too early."""
        upgrade = response.upgrade
        assert upgrade is not None
        names = {name.lower() for name, _ in response.headers}
        assert "upgrade" in names, "an upgrade answer names its protocol"
        server = self._server
        date = server.date.line(server.loop.time())
        self._transport.write(
            render_response_head(101, response.headers, "Connection: Upgrade\r\n", date)
        )
        if self.drain is not None:
            await self.wait_drained()
        stream = TransportStream(early)
        stream.adopt(self._transport)
        if self.eof or self.lost:
            stream.eof_received()
        self.streaming = True  # a closing server cancels it like a stream
        try:
            await upgrade(stream)
        except ConnectionError:
            pass
        except Exception as error:
            _log.error("upgraded connection failed", error=repr(error), exc_info=error)
        finally:
            self.lost = True
            stream.close()


def _uncancel() -> None:
    task = asyncio.current_task()
    if task is not None:
        while task.uncancel():
            pass


# One item goes out on many connections one after the other: it is framed for the first.
_last_chunk: tuple[bytes, bytes] = (b"", b"")


def _chunk_of(data: bytes) -> bytes:
    global _last_chunk  # noqa: PLW0603
    known, chunk = _last_chunk
    if known is not data:
        chunk = b"%x\r\n%b\r\n" % (len(data), data)
        if len(data) <= _JOIN_LIMIT_BYTES:
            _last_chunk = (data, chunk)
    return chunk


def _declared_length(response: Response) -> str:
    for name, value in response.headers:
        if name.lower() == "content-length" and value.isdigit():
            return f"Content-Length: {value}\r\n"
    return ""


async def close_stream(response: Response) -> None:
    """Let go of what an answer holds: its iterator, or an upgrade that will not run."""
    close = getattr(response.stream or response.upgrade, "aclose", None)
    if close is not None:
        try:
            await close()
        except Exception as error:
            _log.warning("closing a response stream failed", error=repr(error))
