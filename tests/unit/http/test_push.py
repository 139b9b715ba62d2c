"""Streams that push: items at once while the client keeps up, through the reader otherwise."""

from __future__ import annotations

import asyncio
from collections import deque

from kutter.http import Response, serve
from kutter.http.messages import Push


class Feed:
    """A stream fed by the test; counts how items left."""

    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque()
        self.wake = asyncio.Event()
        self.push: Push | None = None
        self.attached = asyncio.Event()
        self.pushed = self.read = 0
        self.closed = asyncio.Event()
        self.idle = False

    def attach(self, push: Push | None) -> None:
        self.push = push
        self.attached.set()

    def give(self, item: bytes) -> None:
        if self.idle and not self.waiting and self.push is not None and self.push(item):
            self.pushed += 1
            return
        self.waiting.append(item)
        self.wake.set()

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> bytes:
        while not self.waiting:
            self.idle = True
            self.wake.clear()
            await self.wake.wait()
        self.idle = False
        self.read += 1
        return self.waiting.popleft()

    async def aclose(self) -> None:
        self.closed.set()


async def opened(feed: Feed, version: str = "1.1"):
    async def handler(_: object) -> Response:
        return Response(200, stream=feed)

    server = await serve(handler)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET / HTTP/{version}\r\nHost: a\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    return server, reader, writer


async def next_chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await reader.readline(), 16)
    return (await reader.readexactly(size + 2))[:-2]


async def test_items_are_pushed_in_order_while_the_client_reads():
    feed = Feed()
    server, reader, writer = await opened(feed)
    async with asyncio.timeout(20):
        while not feed.idle:
            await asyncio.sleep(0)
        for number in range(50):
            feed.give(b"item %d" % number)
        assert [await next_chunk(reader) for _ in range(50)] == [b"item %d" % n for n in range(50)]
        assert (feed.pushed, feed.read) == (50, 0)
        writer.close()
        await feed.closed.wait()
    assert feed.push is None
    await server.close(grace_s=1)


async def test_a_client_that_does_not_read_stops_the_pushing_and_loses_nothing():
    feed = Feed()
    server, reader, writer = await opened(feed)
    writer.transport.pause_reading()
    item = b"x" * 65536
    async with asyncio.timeout(30):
        while not feed.idle:
            await asyncio.sleep(0)
        given = 0
        while not feed.waiting:  # until the socket's and the server's buffers are full
            feed.give(item)
            given += 1
            await asyncio.sleep(0)
            assert given < 5000
        for _ in range(5):
            feed.give(b"late %d" % given)
            given += 1
        writer.transport.resume_reading()
        chunks = [await next_chunk(reader) for _ in range(given)]
    assert chunks[-5:] == [b"late %d" % n for n in range(given - 5, given)]
    assert all(chunk == item for chunk in chunks[:-5])
    assert feed.read > 0
    writer.close()
    await server.close(grace_s=1)


async def test_without_chunks_nothing_is_pushed():
    feed = Feed()
    server, reader, writer = await opened(feed, "1.0")
    async with asyncio.timeout(20):
        feed.give(b"one")
        assert await reader.readexactly(3) == b"one"
    assert (feed.pushed, feed.push) == (0, None)
    writer.close()
    await server.close(grace_s=1)


async def test_a_large_body_arrives_whole_and_other_requests_get_their_turn():
    body = bytes(range(256)) * 40_000  # ten megabytes

    async def handler(request) -> Response:
        return Response(200, body=body if request.path == "/large" else b"small")

    server = await serve(handler)
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        # While this client has not read, another is answered.
        other, other_writer = await asyncio.open_connection("127.0.0.1", server.port)
        other_writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await other.readuntil(b"small")).endswith(b"small")
        assert await reader.readexactly(len(body)) == body
        assert (await reader.readuntil(b"small")).endswith(b"small")
    writer.close()
    other_writer.close()
    await server.close(grace_s=1)
