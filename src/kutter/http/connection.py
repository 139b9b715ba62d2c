"""Between one accepted transport and the handler: the server side of an HTTP/1.1 connection.

Laws: requests of a connection are answered one at a time, in order; a handler that reads (GET,
HEAD, OPTIONS) is cancelled when its client goes, one that writes is left to finish; who is too
slow to say something is closed. Requests are read by
:class:`~kutter.http.request_reader.RequestReader`, answers sent by
:class:`~kutter.http.answer_sender.AnswerSender`, each with bounds of its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from kutter.base.log import get_logger
from kutter.http.answer_sender import AnswerSender, close_stream
from kutter.http.messages import Response
from kutter.http.request_reader import PIPELINE_LIMIT, RequestReader, plain_error
from kutter.http.stream import detect_dead_peer
from kutter.http.tls import read_peer

if TYPE_CHECKING:
    from kutter.http.server import HttpServer

_log = get_logger("http.server")

_WRITE_HIGH_BYTES = 256 * 1024
_EOF_GRACE_S = 1.0
_NEVER = float("inf")
_READS = frozenset(("GET", "HEAD", "OPTIONS"))
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ServerConnection(asyncio.Protocol):
    """One client's connection; made by :func:`kutter.http.server.serve`."""

    __slots__ = (
        "_busy",
        "_deadline",
        "_method",
        "_reader",
        "_sender",
        "_server",
        "_task",
        "_tls",
        "_transport",
    )

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._reader = RequestReader(server, self)
        self._sender: AnswerSender
        self._transport: asyncio.Transport
        # Requests are being answered; by a task once one of them has to wait.
        self._busy = False
        self._task: asyncio.Task[None] | None = None
        self._method = ""  # of the request whose handler runs
        # Asked once: asyncio's TLS transport cannot be asked any more while it is closing.
        self._tls = False
        self._deadline = _NEVER

    # -- transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(_WRITE_HIGH_BYTES)
        self._sender = AnswerSender(self._server, self._transport)
        detect_dead_peer(transport)
        reader = self._reader
        peername = transport.get_extra_info("peername")
        if isinstance(peername, tuple):
            reader.remote = str(peername[0])
        tls = transport.get_extra_info("ssl_object")
        self._tls = tls is not None
        if tls is not None:
            reader.peer, reader.refused_certificate = read_peer(tls)
        self._deadline = self._server.loop.time() + self._server.limits.header_timeout_s
        if not self._server.register(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.take(data, idle=not self._busy)
        # Not from the parser's callbacks: answering may take the connection away from it.
        if reader.pending and not self._busy:
            self._start()

    def eof_received(self) -> bool:
        sender = self._sender
        sender.eof = True
        sender.resume_writing()
        if sender.streaming and self._task is not None:
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
        sender = self._sender
        sender.lost = True
        sender.resume_writing()
        if not self._busy:
            self._release()
        elif self._task is not None and (sender.streaming or self._method in _READS):
            self._task.cancel()

    def _release(self) -> None:
        self._server.release(self)
        self._reader.let_go()

    def pause_writing(self) -> None:
        self._sender.pause_writing()

    def resume_writing(self) -> None:
        self._sender.resume_writing()

    # -- what the reader tells ------------------------------------------------------------

    def message_began(self) -> None:
        if not self._busy:
            self._deadline = self._server.loop.time() + self._server.limits.header_timeout_s

    def head_complete(self) -> None:
        if not self._busy and not self._reader.pending:
            if self._reader.continue_wanted:
                self._send_continue()
            self._deadline = self._server.loop.time() + self._server.limits.body_timeout_s

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def _send_continue(self) -> None:
        self._reader.continue_wanted = False
        self._transport.write(_CONTINUE)

    # -- answering ------------------------------------------------------------------------

    def _start(self) -> None:
        """Answer what is pending, here and now if it waits for nothing."""
        self._busy = True
        self._deadline = _NEVER
        scope = self._server.scope
        # Whoever takes the connection over must not do so while its bytes are being delivered.
        start = scope.start if self._reader.pending[0].upgrade else scope.start_now
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
            sender = self._sender
            if sender.lost:
                self._release()
            elif close or sender.eof or sender.ending:
                self._reader.discarding = True
                self._transport.close()
            else:
                if self._reader.continue_wanted:
                    self._send_continue()
                self._deadline = self._server.loop.time() + self._wait_s()

    def _wait_s(self) -> float:
        limits = self._server.limits
        if not self._reader.in_message:
            return limits.idle_timeout_s
        return limits.body_timeout_s if self._reader.headers_done else limits.header_timeout_s

    async def _answer_pending(self) -> bool:
        """Answers whether the connection is to be closed."""
        reader, sender, server = self._reader, self._sender, self._server
        pending = reader.pending
        while pending:
            item = pending.popleft()
            response = item.refused
            if response is None:
                request = item.request
                self._method = request.method
                try:
                    response = await server.handler(request)
                except Exception as error:
                    _log.error(
                        "handler failed", method=request.method, path=request.path, exc_info=error
                    )
                    response = server.render_error(500, "internal error")
                self._method = ""
            if sender.lost:
                await close_stream(response)
                return True
            keep_alive = item.keep_alive and not sender.ending and not sender.eof
            if response.upgrade is not None:
                if item.upgrade:
                    await self._hand_over(response)
                    return True
                await close_stream(response)
                response = plain_error(400, "this request needs an upgrade")
            if response.stream is not None:
                keep_alive = await sender.send_stream(item, response, keep_alive)
            else:
                rest = sender.send_body(item, response, keep_alive)
                if rest is not None:
                    await rest
            if sender.drain is not None:
                await sender.wait_drained()
            if not keep_alive:
                if item.refused is not None and not sender.eof:
                    await sender.linger(half_close=not self._tls)
                return True
            if reader.tail is not None:
                self._transport.resume_reading()
                reader.decline_upgrade()
            elif len(pending) == PIPELINE_LIMIT // 2:
                self._transport.resume_reading()
        return False

    async def _hand_over(self, response: Response) -> None:
        assert self._reader.tail is not None
        await self._sender.run_upgrade(response, bytes(self._reader.tail))

    # -- ending ---------------------------------------------------------------------------

    def end(self) -> None:
        """Graceful: finish the running answer, end a stream, close."""
        sender = self._sender
        sender.ending = True
        if not self._busy:
            self._transport.close()
        elif sender.streaming and self._task is not None:
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
        if self._reader.in_message:
            self._reader.refuse(408, "the request did not arrive in time")
            self._start()
        else:
            self._transport.close()
