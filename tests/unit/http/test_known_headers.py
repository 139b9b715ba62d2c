"""A connection that has seen a header block once reads only the line before it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.http import Request, Response, serve

HEADERS = b"\r\nHost: a\r\nX-One: 1\r\nX-One: 2\r\nAuthorization: Bearer t\r\n\r\n"


def describe(request: Request) -> bytes:
    parts = [
        request.method,
        request.path,
        request.raw_query,
        request.raw_path,
        sorted(request.headers.items()),
        sorted(request.header_list),
        request.body,
    ]
    return repr(parts).encode()


async def answers(*sends: bytes, mutate: bool = False) -> list[bytes]:
    """What the handler saw, send by send, each sent when the one before is answered."""
    seen: list[bytes] = []

    async def handler(request: Request) -> Response:
        seen.append(describe(request))
        if mutate:
            del request.headers["authorization"]
        return Response(200, body=b"x")

    server = await serve(handler)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for send in sends:
            wanted = len(seen) + send.count(b"HTTP/1.1\r\n")
            writer.write(send)
            async with asyncio.timeout(20):
                while len(seen) < wanted and not reader.at_eof():
                    await reader.read(65536)
        writer.close()
    finally:
        await server.close(grace_s=1)
    return seen


TARGETS = ("/", "/a?b=c&d", "/a%2Fb/%C3%BC", "//double", "/a;b=c", "/x?y=%20+", "/~user/(1)")


async def test_the_same_request_looks_the_same_parsed_or_known():
    for target in TARGETS:
        line = f"GET {target} HTTP/1.1".encode()
        fresh, known = await answers(line + HEADERS, line + HEADERS)
        assert fresh == known


async def test_a_handler_that_changes_headers_changes_its_own_only():
    fresh, *rest = await answers(*[b"GET /a HTTP/1.1" + HEADERS] * 3, mutate=True)
    assert b"Bearer t" in fresh
    assert rest == [fresh, fresh]


async def test_other_headers_are_read_anew():
    other = HEADERS.replace(b"Bearer t", b"Bearer u")
    first, second, third = await answers(
        b"GET /a HTTP/1.1" + HEADERS, b"GET /a HTTP/1.1" + other, b"GET /a HTTP/1.1" + HEADERS
    )
    assert b"Bearer u" in second
    assert first == third


async def test_pipelined_and_split_requests_are_parsed_as_ever():
    get = b"GET /a HTTP/1.1" + HEADERS
    seen = await answers(get, get + get, get[:9], get[9:], get)
    assert len(seen) == 5
    assert len(set(seen)) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"GET /a b HTTP/1.1",
        b"GET  /a HTTP/1.1",
        b"GET /a HTTP/1.0",
        b"GET http://h/a HTTP/1.1",
        b"GET /a\x00 HTTP/1.1",
        b"get /a HTTP/1.1",
        b"POST /a HTTP/1.1",
        b"GET /one HTTP/1.1\r\nHost: b\r\n\r\nGET /two HTTP/1.1",
    ],
)
async def test_odd_lines_mean_the_same_before_a_known_block(line: bytes):
    odd = line + HEADERS

    async def after(*before: bytes) -> list[bytes]:
        return (await answers(*before, odd))[len(before) :]

    assert await after() == await after(b"GET /known HTTP/1.1" + HEADERS)


@settings(max_examples=30, deadline=None)
@given(target=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20))
def test_any_printable_target_means_the_same(target: str):
    line = f"GET /{target} HTTP/1.1".encode()

    async def both() -> None:
        fresh = await answers(line + HEADERS)
        known = await answers(b"GET /known HTTP/1.1" + HEADERS, line + HEADERS)
        assert known[1:] == fresh

    asyncio.run(both())
