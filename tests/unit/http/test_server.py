"""The server over real loopback sockets: framing, order, limits, ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kutter.http import (
    ByteStream,
    HttpServer,
    Limits,
    Request,
    Response,
    ServerTls,
    client_context,
    serve,
)


async def echo(request: Request) -> Response:
    text = f"{request.method} {request.path} {request.raw_query} {len(request.body)}"
    return Response(200, [("Content-Type", "text/plain")], text.encode())


@contextlib.asynccontextmanager
async def running(handler=echo, **options) -> AsyncIterator[HttpServer]:
    server = await serve(handler, **options)
    try:
        yield server
    finally:
        await server.close(grace_s=1)


async def talk(server: HttpServer, *parts: bytes, gap_s: float = 0.0) -> bytes:
    """Send, half-close, read all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(gap_s)
    answer = await reader.read()
    writer.close()
    return answer


def head_and_body(answer: bytes) -> tuple[str, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode(), body


GET = b"GET /a%20b?x=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


async def test_answers_with_length_and_date() -> None:
    async with running() as server:
        head, body = head_and_body(await talk(server, GET))
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert body == b"GET /a b x=1 0"
    assert f"Content-Length: {len(body)}" in head
    assert "Date: " in head
    assert "Connection: close" in head


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def slow_first(request: Request) -> Response:
        if request.path == "/0":
            await asyncio.sleep(0.05)
        return Response(body=request.path.encode() + b";")

    count = 100
    requests = [f"GET /{i} HTTP/1.1\r\nHost: h\r\n\r\n".encode() for i in range(count)]
    async with running(slow_first) as server:
        answer = await talk(server, b"".join(requests), GET)
    positions = [answer.index(f"/{i};".encode()) for i in range(count)]
    assert positions == sorted(positions)
    assert answer.count(b"HTTP/1.1 200") == count + 1


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cuts=st.lists(st.integers(1, 250), max_size=12))
def test_any_split_of_the_bytes_is_the_same_request(cuts: list[int]) -> None:
    data = (
        b"POST /chunks?q=1 HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n3;ext=1\r\n, w\r\n0\r\n\r\n"
        b"PUT /length HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody"
    )
    edges = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    parts = [data[a:b] for a, b in itertools.pairwise(edges)]
    seen: list[tuple[str, str, bytes, str]] = []

    async def keep(request: Request) -> Response:
        seen.append((request.method, request.path, request.body, request.headers.get("x-one", "")))
        return Response()

    async def scenario() -> None:
        async with running(keep) as server:
            await talk(server, *parts)

    asyncio.run(scenario())
    assert seen == [("POST", "/chunks", b"hello, w", "1"), ("PUT", "/length", b"body", "")]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nbad header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 5000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", 413),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n"
            + b"x" * 1001,
            413,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9999\r\n\r\n",
            413,
        ),
    ],
)
async def test_refusals(data: bytes, status: int) -> None:
    limits = Limits(body_bytes=1000, header_bytes=4096)
    async with running(limits=limits) as server:
        head, body = head_and_body(await talk(server, data))
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert "Connection: close" in head
    assert body
    assert "100 Continue" not in head


async def test_endless_header_is_refused_while_it_arrives() -> None:
    async with running(limits=Limits(header_bytes=4096)) as server:
        parts = [b"GET / HTTP/1.1\r\nHost: h\r\nX: "] + [b"x" * 2000] * 4
        head, _ = head_and_body(await talk(server, *parts, gap_s=0.02))
    assert head.startswith("HTTP/1.1 431 ")


async def test_too_large_is_rendered_by_the_caller() -> None:
    def render(status: int, message: str) -> Response:
        return Response(status, [("Content-Type", "application/json")], b'{"kind":"Status"}')

    async with running(limits=Limits(body_bytes=10), render_error=render) as server:
        data = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nxxxxxxxxxxx"
        head, body = head_and_body(await talk(server, data))
    assert head.startswith("HTTP/1.1 413 ")
    assert body == b'{"kind":"Status"}'


async def test_trailers_are_no_headers() -> None:
    seen: list[Request] = []

    async def keep(request: Request) -> Response:
        seen.append(request)
        return Response()

    async with running(keep) as server:
        await talk(
            server,
            b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
            b"\r\n1\r\nx\r\n0\r\nX-Remote-User: admin\r\n\r\n",
        )
    assert seen[0].body == b"x"
    assert "x-remote-user" not in seen[0].headers
    assert len(seen[0].header_list) == 3


async def test_too_many_connections_are_dropped() -> None:
    async with running(limits=Limits(connections=1)) as server:
        _, first = await asyncio.open_connection("127.0.0.1", server.port)
        await wait_for(lambda: server.connection_count == 1)
        with contextlib.suppress(ConnectionError):
            assert await talk(server, GET) == b""
        first.close()
        await wait_for(lambda: server.connection_count == 0)
        assert b"200 OK" in await talk(server, GET)


async def test_expect_continue() -> None:
    async with running() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"data")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def test_head_answers_without_body() -> None:
    async with running() as server:
        data = b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        head, body = head_and_body(await talk(server, data))
    assert "Content-Length: 9" in head
    assert body == b""


async def test_http_1_0_is_closed_after_an_unframed_stream() -> None:
    async def numbers() -> AsyncIterator[bytes]:
        for i in range(3):
            yield str(i).encode()

    async def handler(request: Request) -> Response:
        return Response(stream=numbers())

    async with running(handler) as server:
        head, body = head_and_body(await talk(server, b"GET / HTTP/1.0\r\n\r\n"))
    assert "Transfer-Encoding" not in head
    assert body == b"012"


async def test_handler_failure_is_500_and_the_connection_lives(caplog) -> None:
    async def handler(request: Request) -> Response:
        if request.path == "/bad":
            raise RuntimeError("secret detail")
        return Response(body=b"fine")

    async with running(handler) as server:
        answer = await talk(server, b"GET /bad HTTP/1.1\r\nHost: h\r\n\r\n", GET)
    assert answer.count(b"HTTP/1.1 500") == 1
    assert b"secret detail" not in answer
    assert answer.endswith(b"fine")


async def test_line_break_in_a_header_never_reaches_the_wire() -> None:
    async def handler(request: Request) -> Response:
        return Response(headers=[("X", "a\r\nSet-Cookie: b")])

    async with running(handler) as server:
        answer = await talk(server, GET)
    assert b"Set-Cookie" not in answer


async def test_offer_to_upgrade_with_a_body_is_read_whole() -> None:
    # curl --http2 -d ... and java.net.http offer h2c with every request.
    async with running() as server:
        data = (
            b"POST /h2c HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 4\r\n\r\nbody"
        )
        answer = await talk(server, data, GET)
    assert b"POST /h2c  4" in answer
    assert b"GET /a b x=1 0" in answer


async def test_declined_upgrade_goes_on_as_http() -> None:
    async with running() as server:
        data = b"GET /u HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
        answer = await talk(server, data + GET)
    assert answer.count(b"HTTP/1.1 200") == 2


async def test_upgrade_hands_over_early_bytes() -> None:
    async def shout(stream: ByteStream) -> None:
        while data := await stream.read():
            await stream.write(data.upper())

    async def handler(request: Request) -> Response:
        return Response(headers=[("Upgrade", "shout")], upgrade=shout)

    async with running(handler) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nearly "
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"Connection: Upgrade\r\n" in head
        writer.write(b"late")
        writer.write_eof()
        assert await reader.read() == b"EARLY LATE"
        writer.close()


async def wait_for(condition, timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


async def test_stream_is_closed_when_the_client_goes() -> None:
    closed = asyncio.Event()

    async def forever() -> AsyncIterator[bytes]:
        try:
            yield b"first\n"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def handler(request: Request) -> Response:
        return Response(stream=forever())

    async with running(handler) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"first\n")
        writer.close()
        async with asyncio.timeout(30):
            await closed.wait()
        await wait_for(lambda: server.connection_count == 0)


async def test_slow_client_stops_the_stream_and_is_dropped() -> None:
    produced = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal produced
        while True:
            produced += 1
            yield b"x" * 65536

    async def handler(request: Request) -> Response:
        return Response(stream=flood())

    async with running(handler, limits=Limits(stall_timeout_s=0.2)) as server:
        client = socket.create_connection(("127.0.0.1", server.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await wait_for(lambda: server.connection_count == 1)
        await wait_for(lambda: server.connection_count == 0)
        client.close()
    assert produced < 300  # bounded by the socket and transport buffers, not by time


async def test_read_handler_is_cancelled_and_write_handler_finishes_when_the_client_goes() -> None:
    ends: list[str] = []
    started = asyncio.Event()
    go = asyncio.Event()

    async def handler(request: Request) -> Response:
        started.set()
        try:
            await go.wait()
            ends.append(f"{request.method} finished")
        except asyncio.CancelledError:
            ends.append(f"{request.method} cancelled")
            raise
        return Response()

    async with running(handler) as server:
        for method in ("GET", "POST"):
            started.clear()
            client = socket.create_connection(("127.0.0.1", server.port))
            client.sendall(f"{method} / HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            await started.wait()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()  # a reset
            if method == "GET":
                await wait_for(lambda: ends == ["GET cancelled"])
        await asyncio.sleep(0.05)
        go.set()
        await wait_for(lambda: ends == ["GET cancelled", "POST finished"])


async def test_graceful_close_finishes_answers_and_ends_streams() -> None:
    go = asyncio.Event()
    running_answers = 0

    async def ticks() -> AsyncIterator[bytes]:
        yield b"tick"
        await asyncio.Event().wait()

    async def handler(request: Request) -> Response:
        nonlocal running_answers
        if request.path == "/watch":
            return Response(stream=ticks())
        running_answers += 1
        await go.wait()
        return Response(body=b"done")

    server = await serve(handler)
    watch = asyncio.create_task(talk(server, b"GET /watch HTTP/1.1\r\nHost: h\r\n\r\n"))
    plain = asyncio.create_task(talk(server, b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"))
    idle = asyncio.create_task(talk(server))
    await wait_for(lambda: running_answers == 1 and server.connection_count == 3)
    await asyncio.sleep(0.05)
    closing = asyncio.create_task(server.close(grace_s=5))
    assert (await watch).endswith(b"4\r\ntick\r\n0\r\n\r\n")
    assert await idle == b""
    go.set()
    head, body = head_and_body(await plain)
    assert body == b"done"
    assert "Connection: close" in head
    await closing
    with pytest.raises(ConnectionError):
        await talk(server, GET)


async def test_timeouts() -> None:
    limits = Limits(header_timeout_s=0.1, body_timeout_s=0.1, idle_timeout_s=0.1)
    async with running(limits=limits) as server:
        assert await talk(server) == b""
        head, _ = head_and_body(await talk(server, b"GET / HTTP/1.1\r\nHo"))
        assert head.startswith("HTTP/1.1 408 ")
        part = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nx"
        head, _ = head_and_body(await talk(server, part))
        assert head.startswith("HTTP/1.1 408 ")
        answer = await talk(server, GET.replace(b"Connection: close\r\n", b""))
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_tls_peer_certificate_and_reload(pki, tmp_path: Path) -> None:
    seen: list[bytes | None] = []

    async def handler(request: Request) -> Response:
        seen.append(request.peer_certificate.der if request.peer_certificate else None)
        return Response(body=b"ok")

    tls = ServerTls(
        pki.path("server.crt"), pki.path("server.key"), client_ca_file=pki.path("ca.crt")
    )
    async with running(handler, tls=tls) as server:

        async def call(context: ssl.SSLContext) -> bytes:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=context, server_hostname="localhost"
            )
            writer.write(GET)
            assert (await reader.read()).endswith(b"ok")
            der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            writer.close()
            return der

        anonymous = client_context(ca_file=pki.path("ca.crt"))
        first = await call(anonymous)
        admin = client_context(
            ca_file=pki.path("ca.crt"),
            cert_data=pki.path("admin.crt").read_bytes(),
            key_data=pki.path("admin.key").read_bytes(),
        )
        await call(admin)
        assert seen[0] is None
        assert seen[1] == ssl.PEM_cert_to_DER_cert(pki.path("admin.crt").read_text())

        pki.path("server.crt").write_text("half written")
        tls._checked = -10.0
        assert await call(anonymous) == first
        pki.issue("localhost", file="server")
        tls._checked = -10.0
        renewed = await call(anonymous)
        assert renewed != first
        assert renewed == ssl.PEM_cert_to_DER_cert(pki.path("server.crt").read_text())


async def test_client_certificates_that_do_not_hold_are_told_to_the_handler(
    pki, tmp_path: Path
) -> None:
    from .conftest import make_pki

    stranger = make_pki(tmp_path / "stranger")
    stranger.issue("admin")
    stranger.issue("claimed", issuer=pki)
    pki.issue("late", valid=(-48, -24))
    tls = ServerTls(
        pki.path("server.crt"), pki.path("server.key"), client_ca_file=pki.path("ca.crt")
    )

    async def handler(request: Request) -> Response:
        assert (request.peer_certificate is None) == bool(request.refused_certificate)
        return Response(body=request.refused_certificate.encode() or b"holds")

    async with running(handler, tls=tls) as server:

        async def call(folder, name: str) -> bytes:
            context = client_context(
                ca_file=pki.path("ca.crt"),
                cert_file=folder.path(f"{name}.crt"),
                key_file=folder.path(f"{name}.key"),
            )
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=context, server_hostname="localhost"
            )
            writer.write(GET)
            answer = await reader.read()
            writer.close()
            return answer.partition(b"\r\n\r\n")[2]

        async def asked_again(folder, name: str) -> list[bytes]:
            """The same request twice on one connection, whose headers are known by then."""
            context = client_context(
                ca_file=pki.path("ca.crt"),
                cert_file=folder.path(f"{name}.crt"),
                key_file=folder.path(f"{name}.key"),
            )
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=context, server_hostname="localhost"
            )
            bodies = []
            for _ in range(2):
                writer.write(GET.replace(b"Connection: close\r\n", b""))
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                bodies.append(await reader.readexactly(length))
            writer.close()
            return bodies

        assert await call(pki, "admin") == b"holds"
        assert await call(stranger, "claimed") == b"holds"
        assert (await call(stranger, "admin")).startswith(b"certificate is not trusted")
        assert (await call(pki, "late")).startswith(b"certificate is not trusted")
        assert await call(pki, "admin") == b"holds"
        refused = await asked_again(stranger, "admin")
        assert refused[0].startswith(b"certificate is not trusted")
        assert refused[1] == refused[0]
        # The authority is replaced while connections come and go.
        pki.path("ca.crt").write_bytes(
            pki.path("ca.crt").read_bytes() + stranger.path("ca.crt").read_bytes()
        )
        tls._checked = -10.0
        assert await call(stranger, "admin") == b"holds"


async def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with running(unix_path=path):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(GET)
        assert (await reader.read()).endswith(b"GET /a b x=1 0")
        writer.close()
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


async def test_curl_agrees(tmp_path: Path) -> None:
    async def handler(request: Request) -> Response:
        if request.path == "/stream":

            async def parts() -> AsyncIterator[bytes]:
                for i in range(5):
                    yield f"{i}\n".encode()

            return Response(stream=parts())
        return await echo(request)

    async with running(handler) as server:
        base = f"http://127.0.0.1:{server.port}"
        big = tmp_path / "big"
        big.write_bytes(b"x" * 2_000_000)
        process = await asyncio.create_subprocess_exec(
            *("curl", "-sS", "--fail", "--http2", f"{base}/stream", f"{base}/one"),
            *("--next", "-sS", "--data-binary", f"@{big}", f"{base}/big"),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert out == b"0\n1\n2\n3\n4\nGET /one  0POST /big  2000000"


async def test_a_connection_that_is_over_is_not_left_to_the_cycle_collector(pki) -> None:
    tls = ServerTls(pki.path("server.crt"), pki.path("server.key"))

    def left() -> list[str]:
        kinds = ("TlsTransport", "ServerConnection", "RequestReader")
        return [type(o).__name__ for o in gc.get_objects() if type(o).__name__ in kinds]

    async with running(tls=tls) as server:
        context = client_context(ca_file=pki.path("ca.crt"))
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", server.port, ssl=context, server_hostname="localhost"
                )
                for request in (GET.replace(b"Connection: close\r\n", b""), GET):
                    writer.write(request)
                assert (await reader.read()).count(b"HTTP/1.1 200") == 2
                writer.close()
            async with asyncio.timeout(20):
                while server.connection_count:
                    await asyncio.sleep(0.005)
            for _ in range(5):
                await asyncio.sleep(0)
            assert left() == []
        finally:
            gc.enable()
