"""Port forwarding, both sides.

Server: SPDY (``portforward.k8s.io``), SPDY inside WebSocket messages (what kubectl >= 1.31
asks first), and the older WebSocket channels (``v4.channel.k8s.io``, as the Python client
speaks). Client: SPDY inside WebSocket messages.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import struct
from collections.abc import Awaitable, Callable

import msgspec

from kutter.base.log import get_logger
from kutter.base.tasks import Scope
from kutter.http.messages import ByteStream, Request, Response
from kutter.http.relay import relay
from kutter.http.remotecommand import choose_protocol, negotiate_spdy, refuse, spdy_headers
from kutter.http.remotecommand_client import RemoteCommandError, Upgrade
from kutter.http.spdy import PROTOCOL, SpdyConnection, SpdyStream
from kutter.http.websocket import (
    HandshakeError,
    WebSocket,
    accept_handshake,
    check_handshake,
    is_websocket,
    request_headers,
)

TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
SPDY_PROTOCOL = "portforward.k8s.io"
_CHANNEL_PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")
_PAIR_TIMEOUT_S = 30.0
_PORTS_LIMIT = 64

_log = get_logger("http.portforward")

#: Opens a connection to a port of the pod. Raises OSError (or another Exception: the reason).
Connect = Callable[[int], Awaitable[ByteStream]]


def answer_port_forward(request: Request, connect: Connect) -> Response:
    """Answer a port-forward request; each forwarded connection is made by ``connect``."""
    if is_websocket(request):
        protocol = choose_protocol(request, (TUNNEL_PROTOCOL, *_CHANNEL_PROTOCOLS))
        if protocol is None:
            return refuse(403, "unable to negotiate a websocket subprotocol")
        try:
            headers = accept_handshake(request, protocol)
        except HandshakeError as error:
            return refuse(400, str(error))
        if protocol == TUNNEL_PROTOCOL:

            async def tunnel(stream: ByteStream) -> None:
                await _serve_spdy(WebSocketStream(WebSocket(stream, client=False)), connect)

            return Response(101, headers, upgrade=tunnel)
        return _answer_channels(request, headers, protocol, connect)
    if request.headers.get("upgrade", "").lower() != PROTOCOL.lower():
        return refuse(400, "Upgrade request required")
    protocol, refusal = negotiate_spdy(request, (SPDY_PROTOCOL,))
    if refusal is not None:
        return refusal

    async def upgrade(stream: ByteStream) -> None:
        await _serve_spdy(stream, connect)

    return Response(101, spdy_headers(protocol), upgrade=upgrade)


class WebSocketStream:
    """A ByteStream inside binary WebSocket messages."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._rest = b""

    async def read(self, limit: int = 65536) -> bytes:
        while not self._rest:
            message = await self._socket.receive()
            if message is None:
                return b""
            self._rest = message.data
        data, self._rest = self._rest[:limit], self._rest[limit:]
        return data

    async def write(self, data: bytes) -> None:
        await self._socket.send(data)

    async def write_eof(self) -> None:
        await self._socket.close()

    def close(self) -> None:
        self._socket.disconnect()


# -- SPDY ------------------------------------------------------------------------------------


class _Pair(msgspec.Struct):
    """The two streams of one forwarded connection."""

    port: int
    data: SpdyStream | None = None
    error: SpdyStream | None = None
    whole: asyncio.Event = msgspec.field(default_factory=asyncio.Event)


async def _serve_spdy(stream: ByteStream, connect: Connect) -> None:
    async with SpdyConnection(stream, client=False) as connection, Scope("portforward") as scope:
        pairs: dict[str, _Pair] = {}
        while (opened := await connection.accept()) is not None:
            kind = opened.headers.get("streamtype", "")
            port = opened.headers.get("port", "")
            if kind not in ("data", "error") or not port.isdigit() or not 0 < int(port) < 65536:
                await opened.reset()
                continue
            # Clients before requestID paired by the order of stream ids: error, then data.
            request_id = opened.headers.get("requestid", "") or str(
                opened.id if kind == "error" else opened.id - 2
            )
            pair = pairs.get(request_id)
            if pair is None:
                pair = pairs[request_id] = _Pair(int(port))
                scope.start(_forward(pairs, request_id, connect), "forward")
            if kind == "data":
                pair.data = opened
            else:
                pair.error = opened
            if pair.data is not None and pair.error is not None:
                pair.whole.set()


async def _forward(pairs: dict[str, _Pair], request_id: str, connect: Connect) -> None:
    pair = pairs[request_id]
    try:
        async with asyncio.timeout(_PAIR_TIMEOUT_S):
            await pair.whole.wait()
    except TimeoutError:
        for half in (pair.data, pair.error):
            if half is not None:
                await half.reset()
        return
    finally:
        pairs.pop(request_id, None)
    assert pair.data is not None
    assert pair.error is not None
    try:
        target = await connect(pair.port)
    except Exception as error:
        with contextlib.suppress(ConnectionError):
            message = f"error forwarding port {pair.port} to pod: {error}"
            await pair.error.write(message.encode())
        await pair.error.write_eof()
        await pair.data.reset()
        return
    await relay(pair.data, target)
    await pair.error.write_eof()


# -- WebSocket channels ------------------------------------------------------------------------


def _answer_channels(
    request: Request, headers: list[tuple[str, str]], protocol: str, connect: Connect
) -> Response:
    # Clients say "ports"; an API server in front says "port", as to an upstream kubelet.
    given = request.params("ports") + request.params("port")
    texts = [p for value in given for p in value.split(",") if p]
    if not texts:
        return refuse(400, 'query parameter "ports" is required')
    if not all(p.isdigit() and 0 < int(p) < 65536 for p in texts) or len(texts) > _PORTS_LIMIT:
        return refuse(400, f'invalid "ports" {",".join(texts)!r}')
    ports = [int(p) for p in texts]
    is_base64 = "base64" in protocol

    async def upgrade(stream: ByteStream) -> None:
        await _Channels(WebSocket(stream, client=False), is_base64, connect).run(ports)

    return Response(101, headers, upgrade=upgrade)


class _Channels:
    """Channel 2n carries the data of the n-th port, 2n+1 its error."""

    def __init__(self, socket: WebSocket, is_base64: bool, connect: Connect) -> None:
        self._socket = socket
        self._base64 = is_base64
        self._connect = connect
        self._targets: dict[int, asyncio.Future[ByteStream]] = {}

    async def run(self, ports: list[int]) -> None:
        loop = asyncio.get_running_loop()
        async with Scope("portforward") as scope:
            for n, port in enumerate(ports):
                self._targets[n] = loop.create_future()
                # Each channel begins with its port, little-endian.
                await self._send(2 * n, struct.pack("<H", port))
                await self._send(2 * n + 1, struct.pack("<H", port))
                scope.start(self._pump(n, port), "port")
            try:
                while (message := await self._socket.receive()) is not None:
                    await self._take(message.data)
            finally:
                for target in self._targets.values():
                    if target.done() and not target.cancelled() and not target.exception():
                        target.result().close()
                self._socket.disconnect()

    async def _take(self, data: bytes) -> None:
        if not data:
            return
        channel, payload = data[0], data[1:]
        if self._base64:
            channel -= 0x30
            try:
                payload = base64.b64decode(payload, validate=True)
            except ValueError:
                return
        target = self._targets.get(channel // 2)
        if target is None or channel % 2 or not payload:
            return
        with contextlib.suppress(ConnectionError):
            await (await asyncio.shield(target)).write(payload)

    async def _pump(self, n: int, port: int) -> None:
        future = self._targets[n]
        try:
            target = await self._connect(port)
        except Exception as error:
            future.set_exception(ConnectionRefusedError(str(error)))
            future.exception()
            message = f"error forwarding port {port} to pod: {error}"
            with contextlib.suppress(ConnectionError):
                await self._send(2 * n + 1, message.encode())
            return
        future.set_result(target)
        with contextlib.suppress(ConnectionError):
            while data := await target.read():
                await self._send(2 * n, data)
            if len(self._targets) == 1:
                await self._socket.close()
        target.close()

    async def _send(self, channel: int, data: bytes) -> None:
        if self._base64:
            await self._socket.send(bytes((0x30 + channel,)) + base64.b64encode(data), text=True)
        else:
            await self._socket.send(bytes((channel,)) + data)


# -- client ------------------------------------------------------------------------------------


class PortForwarder:
    """Connections to a pod's ports through one upgraded connection. Use ``async with``."""

    def __init__(self, connection: SpdyConnection) -> None:
        self._connection = connection
        self._requests = 0

    async def __aenter__(self) -> PortForwarder:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    @property
    def closed(self) -> asyncio.Event:
        """Set when the server is gone."""
        return self._connection.closed

    async def forward(self, local: ByteStream, port: int) -> None:
        """Carry ``local`` to ``port`` until both ends are done; closes ``local``.

        Raises RemoteCommandError with the server's reason when the pod cannot be reached.
        """
        headers = {"port": str(port), "requestID": str(self._requests)}
        self._requests += 1
        try:
            error = await self._connection.open({**headers, "streamType": "error"})
            await error.write_eof()
            data = await self._connection.open({**headers, "streamType": "data"})
        except BaseException:
            local.close()
            raise
        await relay(local, data)
        reason = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while part := await error.read():
                    reason += part
        error.close()
        if reason:
            raise RemoteCommandError(reason.decode("utf-8", "replace"))


async def dial_port_forward(upgrade: Upgrade) -> PortForwarder:
    """Connect; raises what ``upgrade`` raises, RemoteCommandError for a wrong handshake."""
    protocols = (TUNNEL_PROTOCOL,)
    headers, key = request_headers(protocols)
    answered, stream = await upgrade(headers)
    try:
        if check_handshake(answered, key, protocols) != TUNNEL_PROTOCOL:
            raise HandshakeError("the server does not forward ports over WebSocket")
    except HandshakeError as error:
        stream.close()
        raise RemoteCommandError(str(error)) from error
    return PortForwarder(
        SpdyConnection(WebSocketStream(WebSocket(stream, client=True)), client=True)
    )
