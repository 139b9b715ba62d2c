"""The cluster's name server: :class:`kutter.network.interface.DnsServer` on UDP and TCP.

It lives in the agent's event loop. The address it listens on is put on the node by the pod
network (on the bridge, with host scope) and goes with it; sockets may be bound before that.
Bounds: questions that wait for upstream, TCP connections and their idle time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Sequence
from typing import Any, cast

from kutter.base.log import get_logger
from kutter.base.tasks import Scope
from kutter.network.dns.resolve import Query, Resolver
from kutter.network.dns.upstream import Upstream
from kutter.network.interface import DnsService, NetworkConfig

_log = get_logger("network.dns")
_IP_FREEBIND = 15
_MAXIMUM_WAITING = 2000
_MAXIMUM_CONNECTIONS = 256
_TRIES = 20
_IDLE_S = 10.0
_RECEIVE_BUFFER = 1 << 20


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: ClusterDns) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the shape, not the class.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, peer: tuple[str | Any, int]) -> None:
        answer = self._server.resolver.answer_now(data)
        if isinstance(answer, bytes):
            self.send(answer, peer)
        elif answer is not None:
            self._server.answer_later(answer, self, peer)

    def send(self, data: bytes, peer: tuple[str | Any, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, peer)


class ClusterDns:
    """Serve :class:`DnsService` values under ``config.cluster_domain``, forward the rest."""

    def __init__(self, config: NetworkConfig, upstream: Upstream | None = None) -> None:
        self._upstream = upstream or Upstream()
        self.resolver = Resolver(config, self._upstream)
        self._scope = Scope("dns")
        self._waiting = 0
        self._connections: set[asyncio.Task[Any]] = set()
        self._transports: list[asyncio.DatagramTransport] = []
        self._listeners: list[asyncio.Server] = []

    async def start(self, addresses: Sequence[str], port: int = 53) -> None:
        """Listen on every address. Raises OSError, and then listens on none."""
        self._upstream.exclude(addresses)
        loop = asyncio.get_running_loop()
        try:
            for address in addresses:
                packets, stream = _bind_both(address, port)
                transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), sock=packets)
                self._transports.append(transport)
                self._listeners.append(await asyncio.start_server(self._serve_stream, sock=stream))
        except BaseException:
            await self.close()
            raise

    @property
    def ports(self) -> list[int]:
        """The port of each address, in their order."""
        return [t.get_extra_info("sockname")[1] for t in self._transports]

    def set_services(self, services: Sequence[DnsService]) -> None:
        self.resolver.set_services(services)

    def answer_later(self, query: Query, channel: _Udp, peer: tuple[str | Any, int]) -> None:
        """Ask upstream and answer when that is done; past the bound, silence."""
        if self._waiting >= _MAXIMUM_WAITING:
            return
        self._waiting += 1

        async def work() -> None:
            try:
                channel.send(await self.resolver.answer(query), peer)
            finally:
                self._waiting -= 1

        self._scope.start(work(), "question")

    async def _serve_stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= _MAXIMUM_CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                while await self._serve_one(reader, writer):
                    pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with asyncio.timeout(_IDLE_S):
            length = struct.unpack("!H", await reader.readexactly(2))[0]
            data = await reader.readexactly(length)
        answer = self.resolver.answer_now(data, over_tcp=True)
        if answer is None:
            return False
        if not isinstance(answer, bytes):
            answer = await self.resolver.answer(answer)
        writer.write(struct.pack("!H", len(answer)) + answer)
        async with asyncio.timeout(_IDLE_S):
            await writer.drain()
        return True

    async def close(self) -> None:
        for transport in self._transports:
            transport.close()
        for listener in self._listeners:
            listener.close()
        self._transports, self._listeners = [], []
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await self._upstream.close()
        await self._scope.close()


def _bind_both(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Sockets for packets and for streams at one port; 0: at any that is free for both."""
    tries = _TRIES if port == 0 else 1
    while True:
        tries -= 1
        packets = _bind(address, port, socket.SOCK_DGRAM)
        try:
            return packets, _bind(address, packets.getsockname()[1], socket.SOCK_STREAM)
        except OSError:
            packets.close()
            if not tries:
                raise


def _bind(address: str, port: int, kind: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if family == socket.AF_INET:
            made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        made.bind((address, port))
        if kind == socket.SOCK_STREAM:
            made.listen(128)
    except OSError as error:
        made.close()
        raise OSError(
            error.errno, f"the name server cannot listen on {address} port {port}: {error.strerror}"
        ) from error
    return made
