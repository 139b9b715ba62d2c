"""Bodies told in WebSocket messages."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from kutter.http.client import HttpClient
from kutter.http.messages import Request, Response
from kutter.http.server import HttpServer, serve
from kutter.http.websocket import CloseCode, Opcode, WebSocket, request_headers
from kutter.http.websocket_body import answer_in_messages, without_handshake


class Body:
    """Two lines, then nothing until told to end."""

    def __init__(self) -> None:
        self.lines = [b"one\n", b"two\n"]
        self.end = asyncio.Event()
        self.closed = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self.lines:
            return self.lines.pop(0)
        await self.end.wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed.set()


async def start(body: Body) -> HttpServer:
    async def handle(request: Request) -> Response:
        assert "upgrade" not in without_handshake(request).headers
        return answer_in_messages(request, Response(200, stream=body))

    return await serve(handle, "127.0.0.1", 0)


async def connect(client: HttpClient, port: int, *protocols: str) -> tuple[int, WebSocket | None]:
    headers, _ = request_headers(protocols)
    answer = await client.upgrade(f"http://127.0.0.1:{port}/", headers=list(headers.items()))
    return answer.status, WebSocket(answer.stream, client=True) if answer.stream else None


@pytest.mark.parametrize(
    ("protocols", "opcode"),
    [
        ((), Opcode.BINARY),
        (("binary.k8s.io",), Opcode.BINARY),
        (("other", "base64.binary.k8s.io"), Opcode.TEXT),
    ],
)
async def test_messages_then_the_close(protocols: tuple[str, ...], opcode: Opcode) -> None:
    body = Body()
    server, client = await start(body), HttpClient()
    try:
        _, socket = await connect(client, server.port, *protocols)
        assert socket is not None
        for line in (b"one\n", b"two\n"):
            message = await socket.receive()
            assert message is not None
            text = base64.b64decode(message.data) if opcode == Opcode.TEXT else message.data
            assert (message.opcode, text) == (opcode, line)
        body.end.set()
        assert await socket.receive() is None
        assert socket.close_code == CloseCode.NORMAL
    finally:
        await client.close()
        await server.close()


async def test_a_caller_that_closes_lets_the_body_go() -> None:
    body = Body()
    server, client = await start(body), HttpClient()
    try:
        _, socket = await connect(client, server.port)
        assert socket is not None
        await socket.receive()
        await socket.close()
        async with asyncio.timeout(30):
            await body.closed.wait()
    finally:
        await client.close()
        await server.close()


async def test_unknown_protocols_are_refused() -> None:
    server, client = await start(Body()), HttpClient()
    try:
        assert await connect(client, server.port, "v9.channel.k8s.io") == (403, None)
    finally:
        await client.close()
        await server.close()
