"""Between one accepted transport and the handler: the server side of an HTTP/1.1 connection.

Laws: requests of a connection are answered one at a time, in order; bodies, headers, pipelined
requests and unsent output are bounded; a stream whose client went away is closed promptly; a
handler that reads (GET, HEAD, OPTIONS) is cancelled when its client goes, one that writes is
left to finish. Follows RFC 9112.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import httptools

from kutter.base.log import get_logger
from kutter.http.heads import BODILESS, render_response_head
from kutter.http.messages import PeerCertificate, Request, Response, parse_target
from kutter.http.stream import TransportStream, detect_dead_peer
from kutter.http.tls import read_peer

if TYPE_CHECKING:
    from kutter.http.server import HttpServer

_log = get_logger("http.server")

_PIPELINE_LIMIT = 32  # requests read ahead of the one being answered
_EARLY_LIMIT_BYTES = 256 * 1024  # bytes read before an upgrade is decided
_JOIN_LIMIT_BYTES = 64 * 1024  # bigger bodies are not copied behind their head
_WRITE_HIGH_BYTES = 256 * 1024
_PIECE_BYTES = 128 * 1024  # of a large body
_LINGER_S = 1.0
_EOF_GRACE_S = 1.0
_NEVER = float("inf")
_READS = frozenset(("GET", "HEAD", "OPTIONS"))
# Bigger header blocks are parsed each time: a connection must not hold much.
_KNOWN_LIMIT_BYTES = 4096
_GET_LINE = re.compile(rb"GET (/[-A-Za-z0-9._~!$&'()*+,;=:@/?%]*) HTTP/1\.1")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# Header names repeat endlessly: decode and lower each spelling once.
_names: dict[bytes, str] = {}


def _header_name(raw: bytes) -> str:
    name = _names.get(raw)
    if name is None:
        name = raw.decode("latin-1").lower()
        if len(_names) < 1024:
            _names[raw] = name
    return name


class _Refused(Exception):
    """Raised inside parser callbacks to stop parsing with a status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class _Pending:
    """A parsed request, or the answer to something that is none."""

    request: Request
    keep_alive: bool = True
    http_1_0: bool = False
    upgrade: bool = False
    refused: Response | None = None


class _Known:
    """The header block of a connection's last plain GET, as bytes and as read by the parser.

    Clients send the same headers again and again; only the first line differs. A read that
    ends in the very bytes that were parsed before needs no parser.
    """

    __slots__ = ("block", "header_list", "headers")

    def __init__(
        self, block: bytes, headers: dict[str, str], header_list: list[tuple[str, str]]
    ) -> None:
        self.block = block
        self.headers = headers
        self.header_list = header_list


class ServerConnection(asyncio.Protocol):
    """One client's connection; made by :func:`kutter.http.server.serve`."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_busy",
        "_continue_wanted",
        "_deadline",
        "_discarding",
        "_drain",
        "_ending",
        "_eof",
        "_head_bytes",
        "_head_fed",
        "_head_fresh",
        "_head_preset",
        "_headers",
        "_headers_done",
        "_in_message",
        "_known",
        "_lost",
        "_method",
        "_parser",
        "_peer",
        "_pending",
        "_refused",
        "_remote",
        "_server",
        "_streaming",
        "_tail",
        "_task",
        "_tls",
        "_transport",
        "_url",
    )

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._pending: deque[_Pending] = deque()
        # Requests are being answered; by a task once one of them has to wait.
        self._busy = False
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._head_fed = 0
        self._head_fresh = True
        self._head_preset = False
        self._headers_done = False
        self._in_message = False
        self._known: _Known | None = None
        self._method = ""  # of the request whose handler runs
        self._tail: bytearray | None = None
        self._discarding = False
        self._continue_wanted = False
        self._drain: asyncio.Future[None] | None = None
        self._streaming = False
        self._ending = False
        self._eof = False
        self._lost = False
        self._peer: PeerCertificate | None = None
        self._refused = ""
        # Asked once: asyncio's TLS transport cannot be asked any more while it is closing.
        self._tls = False
        self._remote = ""
        self._deadline = _NEVER

    # -- transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(_WRITE_HIGH_BYTES)
        detect_dead_peer(transport)
        peername = transport.get_extra_info("peername")
        if isinstance(peername, tuple):
            self._remote = str(peername[0])
        tls = transport.get_extra_info("ssl_object")
        self._tls = tls is not None
        if tls is not None:
            self._peer, self._refused = read_peer(tls)
        self._deadline = self._server.loop.time() + self._server.limits.header_timeout_s
        if not self._server.register(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            return
        if self._tail is not None:
            self._tail += data
            if len(self._tail) > _EARLY_LIMIT_BYTES:
                self._transport.pause_reading()
            return
        known = self._known
        if known is not None and data.endswith(known.block) and self._take_known(data, known):
            return
        fresh = not (self._in_message or self._busy or self._pending)
        self._feed(data)
        if fresh and len(self._pending) == 1:
            self._learn(data, self._pending[0])
        # Not from the parser's callbacks: answering may take the connection away from it.
        if self._pending and not self._busy:
            self._start()

    def _take_known(self, data: bytes, known: _Known) -> bool:
        """Answer a GET whose headers are known; False: let the parser look at it."""
        line = _GET_LINE.fullmatch(data, 0, len(data) - len(known.block))
        if line is None or self._in_message or self._busy or self._pending:
            return False
        target = line[1].decode("ascii")
        path, query = parse_target(target)
        request = Request(
            "GET",
            path,
            query,
            known.headers.copy(),
            b"",
            self._peer,
            self._remote,
            target.partition("?")[0],
            known.header_list,
        )
        self._pending.append(_Pending(request))
        self._start()
        return True

    def _learn(self, data: bytes, item: _Pending) -> None:
        """Keep the headers of a request that was one read, one head and nothing else."""
        request = item.request
        end = data.find(b"\r\n")
        if (
            request.method == "GET"
            and item.keep_alive
            and not (item.upgrade or item.http_1_0 or self._in_message or request.body)
            and item.refused is None
            and len(data) - end <= _KNOWN_LIMIT_BYTES
            and data.find(b"\r\n\r\n") == len(data) - 4
            and _GET_LINE.fullmatch(data, 0, end)
        ):
            self._known = _Known(data[end:], request.headers.copy(), request.header_list)

    def eof_received(self) -> bool:
        self._eof = True
        self.resume_writing()
        if self._streaming and self._task is not None:
            self._task.cancel()
        if not self._busy:
            return False
        # A client that only half-closed gets a moment for its answer; most are just gone.
        self._server.loop.call_later(_EOF_GRACE_S, self._cancel_read)
        return not self._tls

    def _cancel_read(self) -> None:
        if self._task is not None and self._method in _READS:
            self._task.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self.resume_writing()
        if not self._busy:
            self._server.release(self)
        elif self._task is not None and (self._streaming or self._method in _READS):
            self._task.cancel()

    def pause_writing(self) -> None:
        if self._drain is None:
            self._drain = self._server.loop.create_future()

    def resume_writing(self) -> None:
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    # -- parser callbacks -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._head_preset:
            return
        self._url = b""
        self._headers = []
        self._body = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._head_fed = 0
        self._head_fresh = True
        self._headers_done = False
        self._in_message = True
        if not self._busy:
            self._deadline = self._server.loop.time() + self._server.limits.header_timeout_s

    def on_url(self, url: bytes) -> None:
        if not self._head_preset:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_preset:
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._server.limits.header_bytes:
            raise _Refused(431, "request header fields too large")
        if self._headers_done:
            return  # a trailer must never pass for a header (RFC 9110, 6.5.1)
        self._headers.append((_header_name(name), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._headers_done = True
        limit = self._server.limits.body_bytes
        for name, value in self._headers:
            if name == "content-length" and value.isdigit() and int(value) > limit:
                raise _Refused(413, f"Request entity too large: limit is {limit}")
            if name == "expect" and value.lower() == "100-continue":
                self._continue_wanted = not self._head_preset
        if not self._busy and not self._pending:
            self._send_continue()
            self._deadline = self._server.loop.time() + self._server.limits.body_timeout_s

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        limit = self._server.limits.body_bytes
        if self._body_bytes > limit:
            raise _Refused(413, f"Request entity too large: limit is {limit}")
        self._body.append(body)

    def on_message_complete(self) -> None:
        parser = self._parser
        upgrade = parser.should_upgrade() and not self._head_preset
        headers: dict[str, str] = {}
        for name, value in self._headers:
            if name in headers:
                if name == "host":
                    raise _Refused(400, "too many Host headers")
                separator = "; " if name == "cookie" else ", "
                headers[name] = f"{headers[name]}{separator}{value}"
            else:
                headers[name] = value
        if upgrade and (
            headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        ):
            return  # the body is still to come: see _feed
        http_1_0 = parser.get_http_version() == "1.0"
        if "host" not in headers and not http_1_0:
            raise _Refused(400, "missing required Host header")
        target = self._url.decode("latin-1")
        if not target.startswith("/") and "://" in target:
            target = "/" + target.partition("://")[2].partition("/")[2]
        path, query = parse_target(target)
        self._continue_wanted = False
        self._head_preset = False
        self._in_message = False
        body = self._body
        request = Request(
            parser.get_method().decode("ascii"),
            path,
            query,
            headers,
            (body[0] if len(body) == 1 else b"".join(body)) if body else b"",
            self._peer,
            self._remote,
            target.partition("?")[0],
            self._headers,
            refused_certificate=self._refused,
        )
        self._body = []
        self._pending.append(
            _Pending(request, parser.should_keep_alive() or upgrade, http_1_0, upgrade)
        )
        if len(self._pending) >= _PIPELINE_LIMIT:
            self._transport.pause_reading()

    # -- reading --------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parser = httptools.HttpRequestParser(self)
            rest = data[upgrade.args[0] :]
            if self._pending and self._pending[-1].upgrade:
                self._tail = bytearray(rest)
            else:
                # An offer to upgrade on a request with a body (h2c): the parser stops before
                # the body, so a stand-in head makes a new one read it. Never upgraded.
                self._head_preset = True
                self._feed(self._framing_head() + rest)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _Refused):
                self._refuse(cause.status, cause.message)
            elif isinstance(error, httptools.HttpParserCallbackError):
                _log.error("request parser failed", error=repr(cause), exc_info=cause)
                self._refuse(500, "internal error")
            else:
                self._refuse(400, "malformed request")
        else:
            if self._in_message and not self._headers_done:
                # A head spread over reads: count also what the parser holds back.
                if self._head_fresh:
                    self._head_fresh = False
                else:
                    self._head_fed += len(data)
                    if self._head_fed > self._server.limits.header_bytes:
                        self._refuse(431, "request header fields too large")

    def _framing_head(self) -> bytes:
        framing = [
            f"{name}: {value}\r\n"
            for name, value in self._headers
            if name in ("content-length", "transfer-encoding")
        ]
        return ("POST / HTTP/1.1\r\n" + "".join(framing) + "\r\n").encode("latin-1")

    def _send_continue(self) -> None:
        if self._continue_wanted:
            self._continue_wanted = False
            self._transport.write(_CONTINUE)

    def _refuse(self, status: int, message: str) -> None:
        """Answer in its turn, then close; whatever else arrives is discarded."""
        self._discarding = True
        self._body = []
        headers: dict[str, str] = {}
        for name, value in self._headers:
            headers.setdefault(name, value)
        request = Request("", "", headers=headers, header_list=self._headers)
        if status in (413, 500):
            answer = self._server.render_error(status, message)
        else:
            answer = plain_error(status, message)
        self._pending.append(_Pending(request, keep_alive=False, refused=answer))

    # -- answering ------------------------------------------------------------------------

    def _start(self) -> None:
        """Answer what is pending, here and now if it waits for nothing."""
        self._busy = True
        self._deadline = _NEVER
        scope = self._server.scope
        # Whoever takes the connection over must not do so while its bytes are being delivered.
        start = scope.start if self._pending[0].upgrade else scope.start_now
        self._task = start(self._run(), "answer")

    async def _run(self) -> None:
        """Answer what is pending, in order; ends when there is no more."""
        close = True
        try:
            close = await self._answer_pending()
        except ConnectionError:
            pass
        except asyncio.CancelledError:
            self._transport.abort()
        except Exception as error:
            _log.error("connection failed", error=repr(error), exc_info=error)
            self._transport.abort()
        finally:
            self._busy = False
            self._task = None
            if self._lost:
                self._server.release(self)
            elif close or self._eof or self._ending:
                self._discarding = True
                self._transport.close()
            else:
                self._send_continue()
                self._deadline = self._server.loop.time() + self._wait_s()

    def _wait_s(self) -> float:
        limits = self._server.limits
        if not self._in_message:
            return limits.idle_timeout_s
        return limits.body_timeout_s if self._headers_done else limits.header_timeout_s

    async def _answer_pending(self) -> bool:
        """Answers whether the connection is to be closed."""
        pending = self._pending
        handler = self._server.handler
        while pending:
            item = pending.popleft()
            request = item.request
            if item.refused is not None:
                response = item.refused
            else:
                self._method = request.method
                try:
                    response = await handler(request)
                except Exception as error:
                    _log.error(
                        "handler failed", method=request.method, path=request.path, exc_info=error
                    )
                    response = self._server.render_error(500, "internal error")
                self._method = ""
            if self._lost:
                await _close_stream(response)
                return True
            keep_alive = item.keep_alive and not self._ending and not self._eof
            if response.upgrade is not None:
                if item.upgrade:
                    await self._run_upgrade(response)
                    return True
                await _close_stream(response)
                response = plain_error(400, "this request needs an upgrade")
            if response.stream is not None:
                keep_alive = await self._send_stream(item, response, keep_alive)
            else:
                await self._send_body(item, response, keep_alive)
            if self._drain is not None:
                await self._wait_drained()
            if not keep_alive:
                if item.refused is not None and not self._eof:
                    await self._linger()
                return True
            if self._tail is not None:
                self._decline_upgrade()
            elif len(pending) == _PIPELINE_LIMIT // 2:
                self._transport.resume_reading()
        return False

    async def _send_body(self, item: _Pending, response: Response, keep_alive: bool) -> None:
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
            await self._send_large(body)

    async def _send_large(self, body: bytes) -> None:
        """Piece by piece, as fast as the client reads: TLS and the transport copy what they are
        given, and pieces stay in the processor's cache; others get their turn in between.
        """
        view = memoryview(body)
        transport = self._transport
        for start in range(0, len(body), _PIECE_BYTES):
            transport.write(view[start : start + _PIECE_BYTES])
            if self._drain is not None:
                await self._wait_drained()

    def _push(self, data: bytes | None) -> bool:
        """Send one item of a stream at once; False when the client is behind. None: if it is
        behind, it has been waited for long enough.
        """
        if data is None:
            if self._drain is not None:
                self._transport.abort()
            return False
        if self._drain is not None or self._lost or self._eof or not data:
            return False
        self._transport.write(_chunk_of(data))
        return True

    async def _send_stream(self, item: _Pending, response: Response, keep_alive: bool) -> bool:
        """Send chunks as they come; answers whether the connection can be used again."""
        stream = response.stream
        assert stream is not None
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
            await _close_stream(response)
            return keep_alive
        left = int(declared[16:]) if declared else 0
        transport = self._transport
        self._streaming = True
        attach = getattr(stream, "attach", None) if chunked else None
        try:
            if self._eof:
                raise asyncio.CancelledError
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
                if self._drain is not None:
                    await self._wait_drained()
        except asyncio.CancelledError:
            # Ours (client gone, server ending) or the scope's: either way the stream ends here.
            if not self._ending or self._lost or self._eof:
                transport.abort()
                return False
            self._uncancel()
            keep_alive = False
        except ConnectionError:
            transport.abort()
            return False
        except Exception as error:
            _log.error("response stream failed", path=item.request.path, exc_info=error)
            transport.abort()
            return False
        finally:
            self._streaming = False
            if attach is not None:
                attach(None)
            await _close_stream(response)
        if left:
            transport.abort()
            return False
        if chunked:
            transport.write(b"0\r\n\r\n")
        return keep_alive

    def _uncancel(self) -> None:
        task = self._task
        if task is not None:
            while task.uncancel():
                pass

    async def _run_upgrade(self, response: Response) -> None:
        upgrade = response.upgrade
        assert upgrade is not None
        assert self._tail is not None
        names = {name.lower() for name, _ in response.headers}
        assert "upgrade" in names, "an upgrade answer names its protocol"
        server = self._server
        date = server.date.line(server.loop.time())
        self._transport.write(
            render_response_head(101, response.headers, "Connection: Upgrade\r\n", date)
        )
        if self._drain is not None:
            await self._wait_drained()
        stream = TransportStream(bytes(self._tail))
        stream.adopt(self._transport)
        if self._eof or self._lost:
            stream.eof_received()
        self._streaming = True  # a closing server cancels it like a stream
        try:
            await upgrade(stream)
        except ConnectionError:
            pass
        except Exception as error:
            _log.error("upgraded connection failed", error=repr(error), exc_info=error)
        finally:
            self._lost = True
            stream.close()

    def _decline_upgrade(self) -> None:
        """The handler answered plainly: what follows is the next request."""
        tail, self._tail = bytes(self._tail or b""), None
        self._transport.resume_reading()
        if tail:
            self._feed(tail)

    async def _wait_drained(self) -> None:
        """Wait for a slow client, at most ``stall_timeout_s``. Raises ConnectionError."""
        drain = self._drain
        if drain is None:
            return
        try:
            async with asyncio.timeout(self._server.limits.stall_timeout_s):
                await drain
        except TimeoutError:
            self._transport.abort()
            raise ConnectionAbortedError("the client does not read") from None
        if self._lost:
            raise ConnectionResetError("the client is gone")

    async def _linger(self) -> None:
        """Let the client read the answer before a close that unread input turns into a reset."""
        transport = self._transport
        if not self._tls and transport.can_write_eof():
            transport.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while not (self._lost or self._eof):
                    self._drain = self._server.loop.create_future()
                    await self._drain

    # -- ending ---------------------------------------------------------------------------

    def end(self) -> None:
        """Graceful: finish the running answer, end a stream, close."""
        self._ending = True
        if not self._busy:
            self._transport.close()
        elif self._streaming and self._task is not None:
            self._task.cancel()

    def abort_if_done(self) -> None:
        """Close at once if everything is said and only the client's farewell is missing."""
        transport = self._transport
        if self._task is None and transport.is_closing() and not transport.get_write_buffer_size():
            transport.abort()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()

    def check_deadline(self, now: float) -> None:
        """Close a connection that was too slow to say something."""
        if now < self._deadline or self._busy:
            return
        self._deadline = _NEVER
        if self._in_message:
            self._refuse(408, "the request did not arrive in time")
            self._start()
        else:
            self._transport.close()


def plain_error(status: int, message: str) -> Response:
    """An answer for a peer that may not speak our protocol at all."""
    headers = [("Content-Type", "text/plain; charset=utf-8")]
    return Response(status, headers, f"{status} {message}\n".encode())


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


async def _close_stream(response: Response) -> None:
    """Let go of what an answer holds: its iterator, or an upgrade that will not run."""
    close = getattr(response.stream or response.upgrade, "aclose", None)
    if close is not None:
        try:
            await close()
        except Exception as error:
            _log.warning("closing a response stream failed", error=repr(error))
