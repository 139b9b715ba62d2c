"""Between addresses and :class:`~kutter.http.tls_transport.TlsTransport`: listening, connecting."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl

from kutter.base.log import get_logger
from kutter.http.tls_transport import Factory, Loop, TlsTransport

_log = get_logger("http.tls")

_ACCEPTS = 64  # connections taken in one turn of the loop
_ACCEPT_PAUSE_S = 1.0  # when the process has no descriptors left
# Handshakes under way; past that the one that began first is given up: an honest one is over long
# before, and nobody keeps others out by beginning many.
_HANDSHAKES_MAX = 2048
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class TlsListener:
    """Sockets that accept TLS connections; made by :func:`listen_tls`."""

    def __init__(
        self,
        loop: Loop,
        sockets: list[socket.socket],
        context: ssl.SSLContext,
        factory: Factory,
        handshake_timeout_s: float,
    ) -> None:
        self._loop = loop
        self.sockets = sockets
        self._context = context
        self._factory = factory
        self._handshake_timeout_s = handshake_timeout_s
        self._handshakes: dict[TlsTransport, None] = {}
        self._closed = False
        for listening in sockets:
            self._listen(listening)

    def _listen(self, listening: socket.socket) -> None:
        if not self._closed:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS):
            try:
                accepted, _address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                # It stays readable: without a pause this would be all the loop does.
                _log.error("no room to accept a connection", error=repr(error))
                self._loop.remove_reader(listening.fileno())
                self._loop.call_later(_ACCEPT_PAUSE_S, self._listen, listening)
                return
            try:
                accepted.setblocking(False)
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                accepted.close()  # gone already
                continue
            self._shake_hands(accepted)

    def _shake_hands(self, accepted: socket.socket) -> None:
        def made() -> asyncio.Protocol:
            self._handshakes.pop(transport, None)
            return self._factory()

        def failed(error: Exception) -> None:
            self._handshakes.pop(transport, None)

        transport = TlsTransport(
            self._loop,
            accepted,
            self._context,
            made,
            handshake_timeout_s=self._handshake_timeout_s,
            failed=failed,
        )
        if len(self._handshakes) >= _HANDSHAKES_MAX:
            oldest = next(iter(self._handshakes))
            del self._handshakes[oldest]
            oldest.abort()
        self._handshakes[transport] = None

    def close(self) -> None:
        """Accept no more; open connections stay, handshakes under way are given up."""
        if not self._closed:
            self._closed = True
            for listening in self.sockets:
                self._loop.remove_reader(listening.fileno())
                listening.close()
            for transport in self._handshakes:
                transport.abort()


async def listen_tls(
    host: str,
    port: int,
    context: ssl.SSLContext,
    factory: Factory,
    *,
    backlog: int,
    handshake_timeout_s: float,
) -> TlsListener:
    """Listen on each address of ``host``. Raises OSError if one of them cannot be had."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listening = socket.socket(family, kind, protocol)
            sockets.append(listening)
            listening.setblocking(False)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(address)
            listening.listen(backlog)
    except OSError as error:
        for listening in sockets:
            listening.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
    return TlsListener(loop, sockets, context, factory, handshake_timeout_s)


async def connect_tls(
    host: str,
    port: int,
    context: ssl.SSLContext,
    factory: Factory,
    *,
    server_hostname: str = "",
    handshake_timeout_s: float = 15.0,
) -> TlsTransport:
    """Connect to the first address of ``host`` that answers; the protocol is made by then.

    Raises OSError (ssl.SSLError is one).
    """
    loop = asyncio.get_running_loop()
    connected = await _connect(loop, host, port)
    done: asyncio.Future[TlsTransport] = loop.create_future()

    def open_() -> None:
        if not done.done():
            done.set_result(transport)

    def made() -> asyncio.Protocol:
        loop.call_soon(open_)
        return factory()

    def failed(error: Exception) -> None:
        if not done.done():
            done.set_exception(error)

    transport = TlsTransport(
        loop,
        connected,
        context,
        made,
        handshake_timeout_s=handshake_timeout_s,
        server_hostname=server_hostname or host,
        failed=failed,
    )
    try:
        return await done
    except asyncio.CancelledError:
        transport.abort()
        raise


async def _connect(loop: Loop, host: str, port: int) -> socket.socket:
    failure: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        connected = socket.socket(family, kind, protocol)
        try:
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(connected, address)
        except OSError as error:
            connected.close()
            failure = error
        except BaseException:
            connected.close()
            raise
        else:
            return connected
    raise failure
