"""WebSockets over real sockets, against ourselves and against websocket-client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import websocket as third_party

from kutter.http import ByteStream, Request, Response, serve
from kutter.http.client import HttpClient
from kutter.http.websocket import (
    HandshakeError,
    Opcode,
    WebSocket,
    WebSocketError,
    accept_handshake,
    check_handshake,
    offered_protocols,
    request_headers,
)


@contextlib.asynccontextmanager
async def echo_server(limit_bytes: int = 10_000_000) -> AsyncIterator[tuple[int, list[WebSocket]]]:
    sockets: list[WebSocket] = []

    async def handler(request: Request) -> Response:
        offered = offered_protocols(request)
        try:
            headers = accept_handshake(request, offered[-1] if offered else "")
        except HandshakeError as error:
            return Response(400, body=str(error).encode())

        async def run(stream: ByteStream) -> None:
            socket = WebSocket(stream, client=False, limit_bytes=limit_bytes)
            sockets.append(socket)
            while (message := await socket.receive()) is not None:
                await socket.send(message.data, text=message.opcode is Opcode.TEXT)

        return Response(headers=headers, upgrade=run)

    server = await serve(handler)
    try:
        yield server.port, sockets
    finally:
        await server.close(grace_s=0.5)


async def connect(port: int, *protocols: str) -> tuple[HttpClient, WebSocket, str]:
    client = HttpClient()
    headers, key = request_headers(protocols)
    answer = await client.upgrade(f"http://127.0.0.1:{port}/", headers=headers)
    assert answer.stream is not None, answer
    chosen = check_handshake(answer.headers, key, protocols)
    return client, WebSocket(answer.stream, client=True), chosen


async def test_both_sides_of_ours() -> None:
    async with echo_server() as (port, sockets):
        client, socket, chosen = await connect(port, "one", "two")
        assert chosen == "two"
        for size in (0, 1, 125, 126, 65535, 65536, 3_000_000):
            await socket.send(b"\x80" * size)
            message = await socket.receive()
            assert (message.opcode, len(message.data)) == (Opcode.BINARY, size)
        await socket.ping(b"hello")
        await socket.send(b"text", text=True)
        assert (await socket.receive()).opcode is Opcode.TEXT
        await socket.close(3001, "enough")
        assert await socket.receive() is None
        assert socket.close_code == 3001
        assert (sockets[0].close_code, sockets[0].close_reason) == (3001, "enough")
        with pytest.raises(ConnectionError):
            await socket.send(b"late")
        socket.disconnect()
        await client.close()


async def test_too_big_and_abnormal_ends() -> None:
    async with echo_server(limit_bytes=1000) as (port, sockets):
        client, socket, _ = await connect(port)
        await socket.send(b"x" * 1001)
        assert await socket.receive() is None
        assert socket.close_code == 1009
        socket.disconnect()
        client, socket, _ = await connect(port)
        socket.disconnect()
        async with asyncio.timeout(30):
            while len(sockets) < 2 or sockets[1].close_code != 1006:
                await asyncio.sleep(0.005)
        await client.close()


async def test_unmasked_client_is_refused() -> None:
    async with echo_server() as (port, _):
        client, socket, _ = await connect(port)
        socket._client = False
        await socket.send(b"x")
        socket._client = True
        assert await socket.receive() is None
        assert socket.close_code == 1002
        socket.disconnect()
        await client.close()


@pytest.mark.parametrize(
    "change",
    [
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": "not base64 at all!"},
        {"Upgrade": "other"},
    ],
)
async def test_bad_handshakes(change: dict[str, str]) -> None:
    async with echo_server() as (port, _):
        client = HttpClient()
        headers, key = request_headers(())
        answer = await client.upgrade(f"http://127.0.0.1:{port}/", headers={**headers, **change})
        assert answer.status == 400
        with pytest.raises(HandshakeError):
            check_handshake(answer.headers, key, ())
        await client.close()


async def test_websocket_client_agrees() -> None:
    def talk(port: int) -> None:
        peer = third_party.create_connection(
            f"ws://127.0.0.1:{port}/", subprotocols=["v5.channel.k8s.io"], timeout=5
        )
        assert peer.getsubprotocol() == "v5.channel.k8s.io"
        peer.send("gr\u00fc\u00df")
        assert peer.recv() == "gr\u00fc\u00df"
        for size in (10, 200, 100_000):
            peer.send_binary(b"b" * size)
            assert peer.recv() == b"b" * size
        peer.send_frame(third_party.ABNF.create_frame("a", third_party.ABNF.OPCODE_TEXT, 0))
        peer.ping("p")
        assert peer.recv_frame().opcode == third_party.ABNF.OPCODE_PONG
        peer.send_frame(third_party.ABNF.create_frame("b", third_party.ABNF.OPCODE_CONT, 1))
        assert peer.recv() == "ab"
        peer.send_close(1000, b"bye")
        assert peer.recv_frame().opcode == third_party.ABNF.OPCODE_CLOSE
        peer.shutdown()

    async with echo_server() as (port, sockets):
        await asyncio.to_thread(talk, port)
        async with asyncio.timeout(30):
            while not sockets[0].close_code:
                await asyncio.sleep(0.005)
        assert sockets[0].close_reason == "bye"


def test_errors_are_connection_errors() -> None:
    assert issubclass(WebSocketError, ConnectionError)
