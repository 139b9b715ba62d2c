"""gRPC health checks against the reference implementation of gRPC, and against broken peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from kutter.node.grpc_health import HealthError, check_health, parse_message

_STATUSES = health_pb2.HealthCheckResponse


@pytest.fixture
def service() -> health.HealthServicer:
    return health.HealthServicer()


@pytest.fixture
def port(service: health.HealthServicer) -> Iterator[int]:
    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    health_pb2_grpc.add_HealthServicer_to_server(service, server)
    found = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield found
    server.stop(None).wait()


async def test_a_serving_server_is_healthy(service: health.HealthServicer, port: int) -> None:
    await check_health("127.0.0.1", port, "", 20)
    service.set("my.Service", _STATUSES.SERVING)
    await check_health("127.0.0.1", port, "my.Service", 20)


@pytest.mark.parametrize("status", ["NOT_SERVING", "UNKNOWN", "SERVICE_UNKNOWN"])
async def test_another_status_is_named(
    service: health.HealthServicer, port: int, status: str
) -> None:
    service.set("my.Service", _STATUSES.ServingStatus.Value(status))
    with pytest.raises(HealthError) as caught:
        await check_health("127.0.0.1", port, "my.Service", 20)
    assert str(caught.value) == f'service unhealthy (responded with "{status}")'


async def test_an_unknown_service_is_an_error(port: int) -> None:
    with pytest.raises(HealthError, match=r"^error: health rpc probe failed: rpc error: code ="):
        await check_health("127.0.0.1", port, "no.Such", 20)


async def test_a_server_without_the_health_service() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with pytest.raises(HealthError) as caught:
        await check_health("127.0.0.1", port, "", 20)
    await server.stop(None)
    assert str(caught.value).startswith(
        "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
    )


async def test_a_slow_server() -> None:
    class Slow(health_pb2_grpc.HealthServicer):
        async def Check(self, request: object, context: object) -> None:
            await asyncio.Event().wait()

    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(Slow(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with pytest.raises(HealthError) as caught:
        await check_health("127.0.0.1", port, "", 0.2)
    await server.stop(None)
    assert str(caught.value) == "timeout: health rpc did not complete within 0.2s"


# Peers that break the rules


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


_OK = _literal(b"grpc-status", b"0")
_SERVING = b"\x00\x00\x00\x00\x02\x08\x01"


@asynccontextmanager
async def peer(answer: bytes, asked: bytearray) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.extend(await reader.read(4096))
        writer.write(answer)
        await writer.drain()
        await reader.read(4096)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def test_frames_in_pieces_with_padding_and_pings() -> None:
    answer = b"".join(
        (
            _frame(4, 0, 0, b""),
            _frame(6, 0, 0, b"12345678"),
            _frame(1, 4, 1, b"\x88"),
            _frame(0, 8, 1, b"\x03" + _SERVING[:4] + b"\0\0\0"),
            _frame(0, 0, 1, _SERVING[4:]),
            _frame(1, 1, 1, _OK[:3]),  # the end of the stream, its headers go on
            _frame(9, 4, 1, _OK[3:]),
        )
    )
    asked = bytearray()
    async with peer(answer, asked) as port:
        await check_health("127.0.0.1", port, "my.Service", 20)
    assert asked.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert b"/grpc.health.v1.Health/Check" in asked
    assert b"\x0a\x0amy.Service" in asked


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (_frame(7, 0, 0, b"\0" * 8), "the server went away"),
        (_frame(3, 0, 1, b"\0" * 4), "the server refused the call"),
        (_frame(1, 5, 1, b"\x88"), "not a gRPC server"),
        (_frame(1, 5, 1, b"\x3f\xe1\x1f"), "a dynamic table that was not allowed"),
        (_frame(1, 5, 1, _OK), "the answer holds no message"),
        (b"\xff\xff\xff\0\0\0\0\0\1", "frame is too large"),
    ],
)
async def test_broken_answers_are_told(answer: bytes, trouble: str) -> None:
    async with peer(answer, bytearray()) as port:
        with pytest.raises(HealthError, match=trouble):
            await check_health("127.0.0.1", port, "", 20)


def test_health_message_needs_its_prefix() -> None:
    with pytest.raises(HealthError):
        parse_message(b"\x00")
