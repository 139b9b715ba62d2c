"""Whole requests and upgraded connections passed on to another server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from kutter.http import ByteStream, Request, Response, serve
from kutter.http.client import HttpClient
from kutter.http.relay import proxy_request


@contextlib.asynccontextmanager
async def proxied(handler) -> AsyncIterator[tuple[str, list[Request]]]:
    """A server that forwards everything to another one, which runs ``handler``."""
    seen: list[Request] = []

    async def record(request: Request) -> Response:
        seen.append(request)
        return await handler(request)

    inner = await serve(record)
    inside = HttpClient()

    async def forward(request: Request) -> Response:
        return await proxy_request(
            request,
            inside,
            f"http://127.0.0.1:{inner.port}/inner{request.raw_path}?{request.raw_query}",
            set_headers=[("X-Forwarded-For", request.remote_address)],
            drop_headers=("authorization",),
        )

    outer = await serve(forward)
    try:
        yield f"http://127.0.0.1:{outer.port}", seen
    finally:
        await outer.close(grace_s=0.5)
        await inside.close()
        await inner.close(grace_s=0.5)


async def test_request_and_answer_pass_without_hop_by_hop_headers() -> None:
    async def handler(request: Request) -> Response:
        size = int(request.param("size"))
        headers = [
            ("X-Kept", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Set-Cookie", "a"),
            ("set-cookie", "b"),
        ]
        return Response(201, headers, b"y" * size)

    client = HttpClient()
    async with proxied(handler) as (url, seen):
        for size in (0, 10, 1_000_000):
            answer = await client.request(
                "PUT",
                f"{url}/p%2Fq?size={size}",
                headers={
                    "Authorization": "secret",
                    "Connection": "X-Mine",
                    "X-Mine": "1",
                    "X-Forwarded-For": "forged",
                    "TE": "trailers",
                },
                body=b"b" * 100_000,
            )
            assert (answer.status, len(answer.body)) == (201, size)
            assert "keep-alive" not in answer.headers
            assert answer.headers["x-kept"] == "1"
            assert answer.headers["set-cookie"] == "a, b"
            assert answer.headers["content-length"] == str(size)
    request = seen[0]
    assert (request.method, request.raw_path) == ("PUT", "/inner/p%2Fq")
    assert len(request.body) == 100_000
    assert request.headers["x-forwarded-for"] == "127.0.0.1"
    assert not {"authorization", "x-mine", "te", "connection"} & set(request.headers)
    await client.close()


async def test_stream_flows_and_its_end_reaches_the_far_server() -> None:
    gone = asyncio.Event()

    async def ticks() -> AsyncIterator[bytes]:
        try:
            yield b"tick"
            await asyncio.Event().wait()
        finally:
            gone.set()

    async def handler(request: Request) -> Response:
        return Response(stream=ticks())

    client = HttpClient()
    async with proxied(handler) as (url, _):
        answer = await client.stream("GET", f"{url}/watch")
        assert await answer.read() == b"tick"
        await answer.close()
        async with asyncio.timeout(30):
            await gone.wait()
    await client.close()


async def test_upgrade_is_relayed_both_ways_with_half_close() -> None:
    async def count(stream: ByteStream) -> None:
        total = 0
        while data := await stream.read():
            total += len(data)
        await stream.write(str(total).encode())

    async def handler(request: Request) -> Response:
        if request.headers.get("upgrade") != "count":
            return Response(400, body=b"upgrade, please")
        return Response(headers=[("Upgrade", "count"), ("X-More", "1")], upgrade=count)

    client = HttpClient()
    async with proxied(handler) as (url, _):
        upgraded = await client.upgrade(f"{url}/c", headers={"Upgrade": "count"})
        assert upgraded.headers["x-more"] == "1"
        assert upgraded.headers["upgrade"] == "count"
        for _ in range(50):
            await upgraded.stream.write(b"z" * 100_000)
        await upgraded.stream.write_eof()
        assert await upgraded.stream.read() == b"5000000"
        assert await upgraded.stream.read() == b""
        upgraded.stream.close()
        refused = await client.upgrade(f"{url}/c", headers={"Upgrade": "other"})
        assert (refused.status, refused.body) == (400, b"upgrade, please")
    await client.close()
