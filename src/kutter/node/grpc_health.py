"""One unary gRPC call over clear-text HTTP/2: ``grpc.health.v1.Health/Check``.

A probe needs a single request per connection, so this speaks only that much of HTTP/2
(RFC 9113) and HPACK (RFC 7541): literal headers out, no dynamic table (its size is announced as
0), enough decoding in to read ``grpc-status``. https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32
FRAME_LIMIT = 1 << 20

SERVING = 1
STATUS_NAMES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


class HealthError(Exception):
    """The service did not answer that it serves; the text is for people."""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes((kind, flags))
        + struct.pack(">I", stream)
        + payload
    )


def _literal(name: str, value: str) -> bytes:
    """A header field without indexing, no Huffman; both strings shorter than 127 bytes."""
    return b"".join(
        (b"\x00", bytes((len(name),)), name.encode(), bytes((len(value),)), value.encode())
    )


def render_request(authority: str, service: str) -> bytes:
    """All bytes of the call: preface, settings, headers, one message."""
    headers = b"".join(
        _literal(name, value[:126])
        for name, value in (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "kube-probe/1.36"),
        )
    )
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    body = b"\x00" + struct.pack(">I", len(message)) + message
    settings = struct.pack(">HI", 1, 0)  # SETTINGS_HEADER_TABLE_SIZE = 0
    return (
        PREFACE
        + _frame(SETTINGS, 0, 0, settings)
        + _frame(HEADERS, END_HEADERS, 1, headers)
        + _frame(DATA, END_STREAM, 1, body)
    )


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes((*out, number))


def parse_message(data: bytes) -> int:
    """The ``status`` of a ``HealthCheckResponse`` behind its gRPC prefix. Raises HealthError."""
    if len(data) < 5:
        raise HealthError("the answer holds no message")
    message = data[5 : 5 + struct.unpack(">I", data[1:5])[0]]
    index = status = 0
    while index < len(message):
        tag = message[index]
        index += 1
        if tag & 7 == 2:
            index += 1 + message[index]
            continue
        value = shift = 0
        while index < len(message):
            byte = message[index]
            index += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if tag >> 3 == 1:
            status = value
    return status


async def check_health(host: str, port: int, service: str, timeout_s: float) -> None:
    """Ask once. Raises HealthError, OSError, TimeoutError."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(render_request(f"{host}:{port}", service))
            body = await _read_answer(reader, writer)
        except asyncio.IncompleteReadError as error:
            raise HealthError("the connection was closed before an answer") from error
        finally:
            writer.close()
    status = parse_message(body)
    if status != SERVING:
        name = STATUS_NAMES.get(status, str(status))
        raise HealthError(f"service unhealthy (responded with {name!r})".replace("'", '"'))


async def _read_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    body = b""
    while True:
        head = await reader.readexactly(9)
        size = int.from_bytes(head[:3], "big")
        kind, flags = head[3], head[4]
        stream = int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
        if size > FRAME_LIMIT:
            raise HealthError("the answer's frame is too large")
        payload = await reader.readexactly(size)
        if kind == SETTINGS and not flags & ACK:
            writer.write(_frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            writer.write(_frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            raise HealthError("the server went away")
        elif stream != 1:
            continue
        elif kind == DATA:
            if flags & PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            body += payload
        elif kind == RST_STREAM:
            raise HealthError("the server refused the call")
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            if not body:
                raise HealthError("the server does not implement the health service")
            return body
