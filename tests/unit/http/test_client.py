"""The client against our server and against servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kutter.http import ByteStream, HttpServer, Request, Response, ServerTls, client_context, serve
from kutter.http.client import HttpClient, TooManyRedirectsError
from kutter.http.client_connection import HttpProtocolError


@contextlib.asynccontextmanager
async def served(handler, **options) -> AsyncIterator[tuple[HttpServer, str]]:
    server = await serve(handler, **options)
    scheme = "https" if options.get("tls") else "http"
    try:
        yield server, f"{scheme}://127.0.0.1:{server.port}"
    finally:
        await server.close(grace_s=0.5)


@contextlib.asynccontextmanager
async def raw_server(*scripts: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answers the n-th connection with the n-th script, after one request head, then hangs up."""
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(scripts[min(len(heads), len(scripts)) - 1])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
    finally:
        server.close()


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient()
    yield made
    await made.close()


async def echo(request: Request) -> Response:
    text = f"{request.method} {request.raw_path}?{request.raw_query} {len(request.body)}"
    headers = [("X-Host", request.headers["host"]), ("X-Two", "1"), ("X-Two", "2")]
    return Response(200, headers, text.encode())


async def test_requests_share_a_kept_connection(client: HttpClient) -> None:
    async with served(echo) as (server, url):
        for _ in range(3):
            answer = await client.request("POST", f"{url}/a%20b?q=1", body=b"x" * 200_000)
            assert (answer.status, answer.body) == (200, b"POST /a%20b?q=1 200000")
        assert answer.headers["x-two"] == "1, 2"
        assert server.connection_count == 1
        head = await client.request("HEAD", url)
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "9")
        assert (await client.request("GET", url, headers={"Host": "other"})).headers[
            "x-host"
        ] == "other"
        assert server.connection_count == 1


@pytest.mark.parametrize(("method", "retried"), [("GET", True), ("POST", False)])
async def test_stale_connection_is_tried_again_for_reads_only(method: str, retried: bool) -> None:
    taken = ended = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Each connection answers once; a second request on it is met by a close.
        nonlocal taken, ended
        taken += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
        ended += 1

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = HttpClient()
    assert (await client.request(method, url)).body == b"ok"
    if retried:
        assert (await client.request(method, url)).body == b"ok"
        assert taken == 2
    else:
        with pytest.raises(ConnectionError):
            await client.request(method, url)
        assert taken == 1
    await client.close()
    server.close()
    async with asyncio.timeout(30):
        while ended < taken:
            await asyncio.sleep(0.001)


async def test_pool_is_bounded(client: HttpClient) -> None:
    busy = peak = 0

    async def handler(request: Request) -> Response:
        nonlocal busy, peak
        busy += 1
        peak = max(peak, busy)
        await asyncio.sleep(0.005)
        busy -= 1
        return Response()

    client = HttpClient(max_connections=3)
    async with served(handler) as (server, url):
        await asyncio.gather(*[client.request("GET", url) for _ in range(30)])
        assert peak == 3
        assert server.connection_count == 3
    await client.close()


async def test_waiting_for_a_place_can_be_given_up(client: HttpClient) -> None:
    go = asyncio.Event()

    async def handler(request: Request) -> Response:
        await go.wait()
        return Response()

    client = HttpClient(max_connections=1)
    async with served(handler) as (_, url):
        first = asyncio.create_task(client.request("GET", url))
        await asyncio.sleep(0.02)
        given_up = [asyncio.create_task(client.request("GET", url)) for _ in range(5)]
        last = asyncio.create_task(client.request("GET", url))
        await asyncio.sleep(0.02)
        for task in given_up:
            task.cancel()
        go.set()
        assert (await first).status == (await last).status == 200
    await client.close()


async def test_origins_without_connections_are_forgotten(client: HttpClient) -> None:
    async with served(echo) as (_, url):
        await client.request("GET", url)
        assert len(client._pools) == 1
    async with asyncio.timeout(30):
        while client._pools:
            await asyncio.sleep(0.005)
    with pytest.raises(OSError):
        await client.request("GET", url)
    assert not client._pools


async def test_stream_arrives_piece_by_piece_and_closing_tells_the_server(
    client: HttpClient,
) -> None:
    go = asyncio.Event()
    gone = asyncio.Event()

    async def ticks() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            await go.wait()
            yield b"two"
            await asyncio.Event().wait()
        finally:
            gone.set()

    async def handler(request: Request) -> Response:
        return Response(stream=ticks())

    async with served(handler) as (_, url):
        answer = await client.stream("GET", url)
        chunks = answer.chunks()
        assert await anext(chunks) == b"one"
        go.set()
        assert await anext(chunks) == b"two"
        await answer.close()
        async with asyncio.timeout(30):
            await gone.wait()


async def test_a_long_body_waits_for_its_reader(client: HttpClient) -> None:
    produced = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal produced
        for _ in range(1000):
            produced += 1
            yield b"x" * 65536

    async def handler(request: Request) -> Response:
        return Response(stream=flood())

    async with served(handler) as (_, url):
        answer = await client.stream("GET", url)
        await asyncio.sleep(0.2)
        assert produced < 500
        total = 0
        async for chunk in answer.chunks():
            total += len(chunk)
        assert total == 1000 * 65536


async def test_limit_on_the_body(client: HttpClient) -> None:
    async def handler(request: Request) -> Response:
        return Response(body=b"x" * 100_000)

    async with served(handler) as (_, url):
        with pytest.raises(HttpProtocolError, match="longer than"):
            await client.request("GET", url, limit_bytes=1000)


async def test_timeouts(client: HttpClient) -> None:
    async def handler(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with served(handler) as (server, url):
        with pytest.raises(TimeoutError):
            await client.request("GET", url, timeout_s=0.05)
        with pytest.raises(TimeoutError):
            await client.stream("GET", url, timeout_s=0.05)
        async with asyncio.timeout(30):
            while server.connection_count:
                await asyncio.sleep(0.005)
    with pytest.raises(OSError):
        await client.request("GET", url)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.0 200 OK\nContent-Length: 2\n\nok", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nshort", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort", None),
        (b"HTTP/1.1 200 OK\r\nContent-", None),
        (b"SSH-2.0-server\r\n", None),
        (b"", None),
    ],
)
async def test_what_servers_do(client: HttpClient, script: bytes, expected: bytes | None) -> None:
    async with raw_server(script) as (url, _):
        if expected is None:
            with pytest.raises(ConnectionError):
                await client.request("GET", url)
        else:
            assert (await client.request("GET", url)).body == expected


async def test_redirects(client: HttpClient) -> None:
    seen: list[tuple[str, str, str]] = []

    async def handler(request: Request) -> Response:
        seen.append((request.method, request.path, request.headers.get("authorization", "")))
        if request.path == "/start":
            return Response(302, [("Location", "/next")], b"moved")
        if request.path == "/away":
            return Response(307, [("Location", f"http://localhost:{port}/next")])
        if request.path == "/loop":
            return Response(301, [("Location", "/loop")])
        return Response(body=b"here")

    async with served(handler) as (server, url):
        port = server.port
        headers = {"Authorization": "Bearer t"}
        answer = await client.request("POST", f"{url}/start", headers=headers, redirects=10)
        assert (answer.body, answer.url) == (b"here", f"{url}/next")
        assert (await client.request("GET", f"{url}/start")).status == 302
        assert (await client.request("GET", f"{url}/away", redirects=10)).status == 307
        answer = await client.request(
            "GET", f"{url}/away", headers=headers, redirects=10, across_hosts=True
        )
        assert answer.body == b"here"
        with pytest.raises(TooManyRedirectsError, match="stopped after 10 redirects"):
            await client.request("GET", f"{url}/loop", redirects=10)
    assert seen[:2] == [("POST", "/start", "Bearer t"), ("GET", "/next", "Bearer t")]
    assert seen[4:6] == [("GET", "/away", "Bearer t"), ("GET", "/next", "")]
    assert len(seen) == 6 + 11


async def test_upgrade_and_refused_upgrade(client: HttpClient) -> None:
    async def shout(stream: ByteStream) -> None:
        await stream.write(b"hello;")
        while data := await stream.read():
            await stream.write(data.upper())

    async def handler(request: Request) -> Response:
        if request.headers["upgrade"] != "shout":
            return Response(403, body=b"no")
        return Response(headers=[("Upgrade", "shout")], upgrade=shout)

    async with served(handler) as (_server, url):
        refused = await client.upgrade(url, headers={"Upgrade": "whisper"})
        assert (refused.status, refused.body, refused.stream) == (403, b"no", None)
        upgraded = await client.upgrade(url, method="POST", headers={"Upgrade": "shout"})
        stream = upgraded.stream
        assert upgraded.headers["upgrade"] == "shout"
        await stream.write(b"x" * 1_000_000)
        await stream.write_eof()
        got = b""
        while data := await stream.read():
            got += data
        assert got == b"hello;" + b"X" * 1_000_000
        stream.close()


async def test_tls_identity_and_names(pki, tmp_path: Path) -> None:
    async def handler(request: Request) -> Response:
        return Response(body=request.peer_certificate.der if request.peer_certificate else b"-")

    ca = pki.path("ca.crt")
    tls = ServerTls(pki.path("server.crt"), pki.path("server.key"), client_ca_file=ca)
    async with served(handler, tls=tls) as (_server, url):
        for context, name, expected in (
            (client_context(ca_file=ca), "", b"-"),
            (client_context(ca_data=ca.read_bytes()), "localhost", b"-"),
            (client_context(insecure=True), "wrong.example", b"-"),
            (client_context(ca_file=ca), "wrong.example", None),
            (client_context(), "", None),
        ):
            client = HttpClient(tls=context, server_hostname=name)
            if expected is None:
                with pytest.raises(ssl.SSLCertVerificationError):
                    await client.request("GET", url)
            else:
                assert (await client.request("GET", url)).body == expected
            await client.close()
        identity = client_context(
            ca_file=ca, cert_file=pki.path("admin.crt"), key_file=pki.path("admin.key")
        )
        client = HttpClient(tls=lambda: identity)
        der = ssl.PEM_cert_to_DER_cert(pki.path("admin.crt").read_text())
        assert (await client.request("GET", url)).body == der
        await client.close()


async def test_unix_socket(tmp_path: Path) -> None:
    server = await serve(echo, unix_path=tmp_path / "s")
    client = HttpClient(unix_path=tmp_path / "s")
    assert (await client.request("GET", "http://agent/x")).body == b"GET /x? 0"
    await client.close()
    await server.close()
