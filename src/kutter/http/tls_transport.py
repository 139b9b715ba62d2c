"""Between connected sockets and protocols: TLS.

asyncio's and uvloop's own TLS is a protocol on top of a transport: buffers, states and callbacks
of two layers for each read and write, which cost more than the encryption. Here a read is one
system call, one record and one call of the protocol, and a write one record and one system call.
OpenSSL works on memory: on a socket it would ask the kernel twice for each record.

Laws: unsent output is told to the protocol past a bound, as by any transport; nothing calls the
protocol from within its own calls but ``pause_writing``; a handshake and a close are bounded in
time; a closed connection lets the client read what was sent before the socket goes.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

from kutter.base.log import get_logger

_log = get_logger("http.tls")

_READ_BYTES = 64 * 1024
_RECORD_BYTES = 16 * 1024  # no record has more in it
_HIGH_BYTES = 64 * 1024
_CLOSE_TIMEOUT_S = 30.0


class _Incoming(threading.local):
    """Where what is read from sockets is on its way to OpenSSL, a loop's for all connections: to
    make one for each read and cut it to size was dearer than the read.
    """

    def __init__(self) -> None:
        self.room = memoryview(bytearray(_READ_BYTES))


_incoming = _Incoming()

Loop = asyncio.AbstractEventLoop
Factory = Callable[[], asyncio.Protocol]
# Who is told of a connection that is gone.
_NOBODY = asyncio.Protocol()


class TlsTransport(asyncio.Transport):
    """One connection. ``factory`` is asked for its protocol when the handshake is done.

    ``server_hostname``: set where we are the client, and whom we mean to speak to. ``failed`` is
    told why a handshake came to nothing.
    """

    __slots__ = (
        "_backlog",
        "_closing",
        "_factory",
        "_failed",
        "_fd",
        "_finished",
        "_high",
        "_in",
        "_loop",
        "_low",
        "_open",
        "_out",
        "_paused",
        "_peer_done",
        "_protocol",
        "_reading",
        "_room",
        "_socket",
        "_timer",
        "_tls",
    )

    def __init__(
        self,
        loop: Loop,
        connected: socket.socket,
        context: ssl.SSLContext,
        factory: Factory,
        *,
        handshake_timeout_s: float,
        server_hostname: str | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        super().__init__()
        self._loop = loop
        self._socket = connected
        self._fd = connected.fileno()
        self._factory = factory
        self._failed = failed
        self._room = _incoming.room
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = server_hostname is not None
        self._tls = context.wrap_bio(
            self._in, self._out, server_side=not client, server_hostname=server_hostname
        )
        self._protocol: asyncio.Protocol
        self._open = False  # the handshake is done
        self._closing = False
        self._finished = False  # nothing is read or written any more
        self._peer_done = False  # the client has said that it sends no more
        self._reading = True
        self._backlog = bytearray()  # encrypted, not taken by the kernel yet
        self._high, self._low = _HIGH_BYTES, _HIGH_BYTES // 4
        self._paused = False  # the protocol's writing
        self._timer: asyncio.TimerHandle | None = loop.call_later(
            handshake_timeout_s, self._time_out
        )
        loop.add_reader(self._fd, self._readable)
        if client:
            loop.call_soon(self._shake_hands)

    # -- what protocols ask ---------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As of asyncio's transports: peername, sockname, socket, ssl_object, sslcontext."""
        if name == "ssl_object":
            return self._tls
        if name == "socket":
            return self._socket
        if name == "sslcontext":
            return self._tls.context
        if name in ("peername", "sockname"):
            ask = self._socket.getpeername if name == "peername" else self._socket.getsockname
            try:
                return ask()
            except OSError:
                return default
        return default

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol  # type: ignore[assignment]

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return len(self._backlog)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = _HIGH_BYTES if low is None else 4 * low
        self._high, self._low = high, high // 4 if low is None else low

    # -- reading --------------------------------------------------------------------------

    def pause_reading(self) -> None:
        if self._reading and not self._closing:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        if not self._reading and not self._closing:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)
            # What was read from the socket already wakes nobody.
            self._loop.call_soon(self._decrypt)

    def _readable(self) -> None:
        try:
            count = self._socket.recv_into(self._room)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._finish(error)
            return
        if self._closing:
            # Waiting for the client to have read everything; what it still says is not wanted.
            if not count:
                self._peer_done = True
                if self._backlog:
                    self._loop.remove_reader(self._fd)
                else:
                    self._finish(None)
            return
        if not count:
            self._end_of_input()
            return
        self._in.write(self._room[:count])
        if self._open:
            self._decrypt(min(count, _RECORD_BYTES))
        else:
            self._shake_hands()

    def _decrypt(self, size: int = _RECORD_BYTES) -> None:
        """Give the protocol what has arrived, record by record; they are about of ``size``."""
        incoming = self._in
        read = self._tls.read
        try:
            while self._reading and not self._closing:
                data = read(size)
                if not data:
                    self._end_of_input()
                    return
                self._protocol.data_received(data)
                # As much as was asked for: there may be more of its record.
                if len(data) < size and not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._fail(error)
            return
        except Exception as error:
            _log.error("protocol failed", error=repr(error), exc_info=error)
            self.abort()
            return
        if self._out.pending:  # an answer of TLS itself
            self._send(self._out.read())

    def _end_of_input(self) -> None:
        self._peer_done = True
        if not self._open:
            self._finish(ConnectionResetError("closed during the handshake"))
            return
        # Half a TLS connection is of no use to anybody here: whatever the protocol says.
        try:
            self._protocol.eof_received()
        except Exception as error:
            _log.error("protocol failed", error=repr(error), exc_info=error)
        self.close()

    def _time_out(self) -> None:
        self._finish(TimeoutError("the TLS handshake took too long"))

    def _shake_hands(self) -> None:
        if self._finished:
            return
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            if self._out.pending:
                self._send(self._out.read())
            return
        except (ssl.SSLError, OSError) as error:
            self._fail(error)
            return
        if self._out.pending:
            self._send(self._out.read())
        if self._finished:
            return
        self._cancel_timer()
        self._open = True
        self._protocol = self._factory()
        self._let_go()
        try:
            self._protocol.connection_made(self)
        except Exception as error:
            _log.error("protocol failed", error=repr(error), exc_info=error)
            self.abort()
            return
        if self._in.pending:
            self._decrypt()

    # -- writing --------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; what the kernel does not take waits, and the protocol is told."""
        if self._closing or not data:
            return
        try:
            count = self._tls.write(data)
            while count < len(data):
                data = memoryview(data)[count:]
                count = self._tls.write(data)
        except ssl.SSLError as error:
            self._fail(error)
            return
        # Written out here and not as _send: this is what a thousand watchers are told with.
        encrypted = self._out.read()
        if self._backlog:
            self._keep(encrypted)
            return
        try:
            sent = self._socket.send(encrypted)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._finish(error)
            return
        if sent < len(encrypted):
            self._keep(encrypted[sent:])

    def _send(self, encrypted: bytes) -> None:
        if not self._backlog:
            try:
                encrypted = encrypted[self._socket.send(encrypted) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self._finish(error)
                return
        if encrypted:
            self._keep(encrypted)

    def _keep(self, encrypted: bytes) -> None:
        if self._finished:
            return
        if not self._backlog:
            self._loop.add_writer(self._fd, self._writable)
        self._backlog += encrypted
        if len(self._backlog) > self._high and not self._paused and self._open:
            self._paused = True
            self._protocol.pause_writing()

    def _writable(self) -> None:
        backlog = self._backlog
        try:
            sent = self._socket.send(backlog)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._finish(error)
            return
        del backlog[:sent]
        if not backlog:
            self._loop.remove_writer(self._fd)
        if self._paused and len(backlog) <= self._low:
            self._paused = False
            self._protocol.resume_writing()
        if not backlog and self._closing and not self._finished:
            self._say_farewell()

    # -- ending ---------------------------------------------------------------------------

    def close(self) -> None:
        """Send what was written, then close."""
        if self._closing:
            return
        self._closing = True
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)
        self._cancel_timer()
        self._timer = self._loop.call_later(_CLOSE_TIMEOUT_S, self.abort)
        if not self._backlog:
            self._say_farewell()

    def _say_farewell(self) -> None:
        """All is sent: say so, and wait for the client to say the same. Closing while there is
        something unread would reset the connection, and the client lose what it has not read.
        """
        try:
            self._tls.unwrap()
        except (ssl.SSLError, OSError):
            pass  # it wants the client's answer, or the client has broken off
        try:
            if self._out.pending:
                self._socket.send(self._out.read())
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._finish(None if error.errno == errno.ENOTCONN else error)
            return
        if self._peer_done:
            self._finish(None)

    def abort(self) -> None:
        """Close at once."""
        self._finish(None)

    def _fail(self, error: Exception) -> None:
        """TLS is broken: what it has to say about it is sent, then the end."""
        if self._out.pending and not self._backlog:
            try:
                self._socket.send(self._out.read())
            except OSError:
                pass
        self._finish(error)

    def _finish(self, error: Exception | None) -> None:
        if self._finished:
            return
        self._finished = self._closing = True
        self._reading = False
        self._cancel_timer()
        self._loop.remove_reader(self._fd)
        if self._backlog:
            self._backlog.clear()
            self._loop.remove_writer(self._fd)
        self._loop.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        self._socket.close()
        try:
            if self._open:
                self._protocol.connection_lost(error)
            elif self._failed is not None:
                self._failed(error or ConnectionAbortedError("given up during the handshake"))
        finally:
            self._let_go()
            self._protocol = _NOBODY

    def _let_go(self) -> None:
        """Who made us knows us, and we them: until the cycle collector came, which is rare, each
        would keep the other, and OpenSSL's memory with it.
        """
        self._factory = asyncio.Protocol
        self._failed = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
