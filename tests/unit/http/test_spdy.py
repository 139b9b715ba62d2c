"""SPDY connections of ours, face to face."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from kutter.http import ByteStream, Request, Response, serve
from kutter.http.client import HttpClient
from kutter.http.spdy import STREAM_BYTES, SpdyConnection
from kutter.http.spdy_frames import Frame, Kind


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[SpdyConnection, SpdyConnection]]:
    """(client, server)"""
    made: asyncio.Future[SpdyConnection] = asyncio.get_running_loop().create_future()

    async def run(stream: ByteStream) -> None:
        async with SpdyConnection(stream, client=False) as connection:
            made.set_result(connection)
            await connection.closed.wait()

    async def handler(request: Request) -> Response:
        return Response(headers=[("Upgrade", "SPDY/3.1")], upgrade=run)

    server = await serve(handler)
    client = HttpClient()
    answer = await client.upgrade(
        f"http://127.0.0.1:{server.port}/", method="POST", headers={"Upgrade": "SPDY/3.1"}
    )
    assert answer.stream is not None
    async with SpdyConnection(answer.stream, client=True) as connection:
        yield connection, await made
    await client.close()
    await server.close(grace_s=0.5)


async def read_all(stream) -> bytes:
    parts = []
    while data := await stream.read():
        parts.append(data)
    return b"".join(parts)


async def test_streams_both_ways_with_half_close() -> None:
    async with pair() as (client, server):
        stream = await client.open({"streamType": "data", "Port": "80"})
        there = await server.accept()
        assert there.headers == {"streamtype": "data", "port": "80"}
        payload = bytes(range(256)) * 2000
        await stream.write(payload)
        await stream.write_eof()
        assert await read_all(there) == payload
        await there.write(b"answer")
        await there.write_eof()
        assert await read_all(stream) == b"answer"
        with pytest.raises(ConnectionError):
            await stream.write(b"late")
        back = await server.open({"from": "server"})
        assert (await client.accept()).headers == {"from": "server"}
        assert back.id == 2


async def test_many_streams_interleave() -> None:
    async with pair() as (client, server):

        async def echo() -> None:
            async with asyncio.TaskGroup() as tasks:
                while (stream := await server.accept()) is not None:
                    tasks.create_task(answer(stream))

        async def answer(stream) -> None:
            while data := await stream.read():
                await stream.write(data)
            await stream.write_eof()

        async def ask(n: int) -> None:
            stream = await client.open({"n": str(n)})
            await stream.write(str(n).encode() * 5000)
            await stream.write_eof()
            assert await read_all(stream) == str(n).encode() * 5000

        echoing = asyncio.create_task(echo())
        await asyncio.gather(*[ask(n) for n in range(100)])
        assert not client._streams
        await client.close()
        await echoing


async def test_reset_reaches_the_peer() -> None:
    async with pair() as (client, server):
        stream = await client.open({})
        there = await server.accept()
        await stream.reset()
        assert await there.read() == b""
        with pytest.raises(ConnectionError):
            await there.write(b"x")
        other = await client.open({})
        (await server.accept()).close()
        assert await other.read() == b""


async def test_unread_stream_holds_the_sender_back() -> None:
    async with pair() as (client, server):
        stream = await client.open({})
        there = await server.accept()
        sent = 0

        async def flood() -> None:
            nonlocal sent
            for _ in range(1000):
                await stream.write(b"x" * 65536)
                sent += 65536
            await stream.write_eof()

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(0.2)
        assert there.buffered <= STREAM_BYTES + 65536
        assert sent < 30_000_000
        assert len(await read_all(there)) == 65_536_000
        await flooding


async def test_ping_is_answered_and_the_end_is_seen() -> None:
    async with pair() as (client, server):
        seen: list[Frame] = []
        take = client._take

        async def spy(frame: Frame) -> None:
            seen.append(frame)
            await take(frame)

        client._take = spy
        await client.send(Frame(Kind.PING, number=1))
        stream = await client.open({})
        await server.accept()
        assert Frame(Kind.PING, number=1) in seen
        await server.close()
        assert await stream.read() == b""
        assert await client.accept() is None
        with pytest.raises(ConnectionError):
            await client.open({})


async def test_garbage_ends_the_connection() -> None:
    async with pair() as (client, server):
        await client._stream.write(b"\x80\x02\x00\x01\x00\x00\x00\x00")  # version 2
        async with asyncio.timeout(30):
            await client.closed.wait()
            await server.closed.wait()
