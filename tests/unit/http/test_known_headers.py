"""A connection that has seen a header block once reads only the line before it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.http import Limits, Request, Response, serve

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


POST = b"\r\nHost: a\r\nX-One: 1\r\nX-One: 2\r\nContent-Length: %d\r\nAccept: b\r\n\r\n%b"


def bodied(line: bytes, body: bytes, head: bytes = POST) -> bytes:
    return line + b" HTTP/1.1" + head % (len(body), body)


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE"])
@pytest.mark.parametrize(
    "head",
    [
        POST,
        b"\r\nContent-Length: %d\r\nHost: a\r\n\r\n%b",
        b"\r\nHost: a\r\nConnection: keep-alive\r\ncontent-length: %d\r\n\r\n%b",
    ],
)
async def test_requests_with_bodies_look_the_same_parsed_or_known(method: bytes, head: bytes):
    requests = [
        bodied(method + b" /a?b=c", b"x", head),
        bodied(method + b" /other", b"y" * 4000, head),
        bodied(method + b" /a", b"\r\n\r\nGET / HTTP/9\r\nHost: a\r\n\r\n", head),
    ]
    fresh = [seen for request in requests for seen in await answers(request)]
    known = await answers(requests[0], *requests)
    assert known == [fresh[0], *fresh]


async def test_with_and_without_a_body_on_one_connection():
    requests = [b"GET /g HTTP/1.1" + HEADERS, bodied(b"POST /p", b"1"), bodied(b"PUT /p", b"22")]
    requests.append(b"DELETE /d HTTP/1.1" + HEADERS)
    fresh = [seen for request in requests for seen in await answers(request)]
    assert await answers(*requests, *requests) == fresh + fresh


@pytest.mark.parametrize(
    "odd",
    [
        b"POST /a HTTP/1.1" + POST % (2, b"x"),
        b"POST /a HTTP/1.1" + POST % (0, b""),
        b"POST /a HTTP/1.1" + POST.replace(b"%d", b"0%d") % (1, b"x"),
        b"POST /a HTTP/1.1" + POST.replace(b"%d", b"+%d") % (1, b"x"),
        b"POST /a HTTP/1.1" + POST.replace(b"%d", b"%d ") % (1, b"x"),
        b"POST /a HTTP/1.0" + POST % (1, b"x"),
        b"GET /a HTTP/1.1" + POST % (1, b"x"),
        bodied(b"POST /a b", b"x"),
        bodied(b"POST /a", b"x", POST.replace(b"Accept", b"Transfer-Encoding: chunked\r\nAccept")),
        bodied(b"POST /a", b"x", POST.replace(b"Accept", b"Content-Length: 5\r\nAccept")),
        bodied(b"POST /a", b"xy")[:-1] + bodied(b"POST /b", b"x"),
        bodied(b"POST /a", b"x") + bodied(b"POST /b", b"xyz"),
        bodied(b"POST /a", b"x") + b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_what_is_odd_about_a_body_means_the_same_behind_known_headers(odd: bytes):
    async def after(*before: bytes) -> list[bytes]:
        end = b"POST /end HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nz"
        return (await answers(*before, odd + end))[len(before) :]

    before = [bodied(b"POST /known", b"x"), bodied(b"POST /known", b"x")]
    assert await after() == await after(*before)


async def test_a_body_past_the_bound_is_refused_behind_known_headers_too():
    async def handler(request: Request) -> Response:
        return Response(200, body=b"%d" % len(request.body))

    server = await serve(handler, limits=Limits(body_bytes=10))
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for size, status in ((3, b"200"), (10, b"200"), (11, b"413")):
            writer.write(bodied(b"POST /a", b"x" * size))
            async with asyncio.timeout(20):
                assert (await reader.readline()).split()[1] == status
                await reader.readuntil(b"\r\n\r\n")
                if status == b"200":
                    assert await reader.readexactly(len(b"%d" % size)) == b"%d" % size
        writer.close()
    finally:
        await server.close(grace_s=1)


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


async def test_what_was_made_of_a_header_block_is_remembered_with_it_whatever_the_body():
    remembered = []

    async def handler(request: Request) -> Response:
        remembered.append(request.remembered)
        return Response(200, body=b"x")

    server = await serve(handler)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for line, body in ((b"POST /a", b"x"), (b"PUT /b", b"yy"), (b"PATCH /c", b"z" * 100)):
            writer.write(bodied(line, body))
            async with asyncio.timeout(20):
                await reader.readuntil(b"\r\n\r\nx")
        writer.close()
    finally:
        await server.close(grace_s=1)
    assert remembered[0] is None
    assert remembered[1] is not None
    assert remembered[1] is remembered[2]
