"""How a server ends: not ready first, answers finished, and in bounded time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from kutter.cluster import server as module
from kutter.cluster.server import drain
from kutter.http import Request, Response, serve


class Slow:
    """Answers when it is let go."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.under_way = 0

    async def __call__(self, request: Request) -> Response:
        if request.path == "/slow":
            self.under_way += 1
            await self.gate.wait()
        return Response(body=b"done")


async def ask(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        return await reader.read()
    finally:
        writer.close()


async def until(check):
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.001)


@pytest.fixture
async def slow():
    return Slow()


@pytest.fixture
async def server(slow):
    made = await serve(slow)
    yield made
    await made.close(grace_s=0)


@pytest.fixture
def api():
    return SimpleNamespace(health=SimpleNamespace(stopping=False))


async def test_it_is_not_ready_but_serves_until_the_delay_is_over(api, server):
    draining = asyncio.ensure_future(drain(api, server, delay_s=0.5))
    await until(lambda: api.health.stopping)
    assert (await ask(server.port, "/")).endswith(b"done")
    assert not draining.done()
    await asyncio.wait_for(draining, 20)
    with pytest.raises(ConnectionError):
        await ask(server.port, "/")


async def test_answers_under_way_are_finished(api, server, slow):
    asked = asyncio.ensure_future(ask(server.port, "/slow"))
    await until(lambda: slow.under_way)
    draining = asyncio.ensure_future(drain(api, server, delay_s=0))
    await until(lambda: api.health.stopping)
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(20):
            while True:  # the listener goes in one of the next turns
                await ask(server.port, "/")
    assert not draining.done()
    slow.gate.set()
    assert (await asked).endswith(b"done")
    await asyncio.wait_for(draining, 20)


async def test_what_does_not_end_is_dropped(api, server, slow, monkeypatch):
    monkeypatch.setattr(module, "SHUTDOWN_GRACE_S", 0.05)
    asked = asyncio.ensure_future(ask(server.port, "/slow"))
    await until(lambda: slow.under_way)
    await asyncio.wait_for(drain(api, server, delay_s=0), 20)
    (answer,) = await asyncio.gather(asked, return_exceptions=True)
    assert answer == b"" or isinstance(answer, ConnectionError)


async def test_a_second_signal_ends_the_patience(api, server, slow):
    hurry = asyncio.Event()
    asked = asyncio.ensure_future(ask(server.port, "/slow"))
    await until(lambda: slow.under_way)
    draining = asyncio.ensure_future(drain(api, server, delay_s=3600, hurry=hurry))
    await until(lambda: api.health.stopping)
    hurry.set()
    await asyncio.wait_for(draining, 20)
    await asyncio.gather(asked, return_exceptions=True)
