"""One unary gRPC call over clear-text HTTP/2: ``grpc.health.v1.Health/Check``.

A probe needs a single request per connection, so this speaks only that much of HTTP/2
(RFC 9113): literal headers out, no dynamic table (its size is announced as 0). Reasons are worded
as upstream's prober words them. https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
import struct
from urllib.parse import unquote

from kutter.http.hpack import HpackError, decode_fields

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32
FRAME_LIMIT = 1 << 20

SERVING = 1
UNKNOWN, UNIMPLEMENTED = 2, 12
CODE_NAMES = {
    1: "Canceled",
    2: "Unknown",
    3: "InvalidArgument",
    4: "DeadlineExceeded",
    5: "NotFound",
    6: "AlreadyExists",
    7: "PermissionDenied",
    8: "ResourceExhausted",
    9: "FailedPrecondition",
    10: "Aborted",
    11: "OutOfRange",
    12: "Unimplemented",
    13: "Internal",
    14: "Unavailable",
    15: "DataLoss",
    16: "Unauthenticated",
}
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
    connected = False
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            connected = True
            try:
                writer.write(render_request(f"{host}:{port}", service))
                answer = await _read_answer(reader, writer)
            finally:
                writer.close()
    except TimeoutError:
        if not connected:
            raise
        text = f"timeout: health rpc did not complete within {timeout_s:g}s"
        raise HealthError(text) from None
    except asyncio.IncompleteReadError as error:
        raise _failed("Unavailable", "the connection was closed before an answer") from error
    except HpackError as error:
        raise _failed("Internal", str(error)) from error
    code, message = answer.outcome()
    if code == UNIMPLEMENTED:
        raise HealthError(
            "error: this server does not implement the grpc health protocol "
            f"(grpc.health.v1.Health): {message}"
        )
    if code:
        raise _failed(CODE_NAMES.get(code, f"Code({code})"), message)
    status = parse_message(answer.body)
    if status != SERVING:
        raise HealthError(
            f'service unhealthy (responded with "{STATUS_NAMES.get(status, str(status))}")'
        )


def _failed(code: str, message: str) -> HealthError:
    return HealthError(f"error: health rpc probe failed: rpc error: code = {code} desc = {message}")


class _Answer:
    """Header blocks and body of one answer."""

    def __init__(self) -> None:
        self.body = b""
        self._block = b""
        self._fields: dict[bytes, bytes] = {}

    def add_block(self, part: bytes, *, ended: bool) -> None:
        self._block += part
        if len(self._block) > FRAME_LIMIT:
            raise HealthError("the answer's headers are too large")
        if ended:
            self._fields.update(decode_fields(self._block))
            self._block = b""

    def outcome(self) -> tuple[int, str]:
        """(``grpc-status``, ``grpc-message``)."""
        text = self._fields.get(b"grpc-status", b"")
        if not text.isdigit():
            return UNKNOWN, "the answer has no status: not a gRPC server"
        message = self._fields.get(b"grpc-message", b"").decode(errors="replace")
        return int(text), unquote(message)


async def _read_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Answer:
    answer = _Answer()
    last = False
    while True:
        head = await reader.readexactly(9)
        size = int.from_bytes(head[:3], "big")
        kind, flags = head[3], head[4]
        stream = int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
        if size > FRAME_LIMIT:
            raise _failed("ResourceExhausted", "the answer's frame is too large")
        payload = await reader.readexactly(size)
        if kind == SETTINGS and not flags & ACK:
            writer.write(_frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            writer.write(_frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            raise _failed("Unavailable", "the server went away")
        elif stream != 1:
            continue
        elif kind == RST_STREAM:
            raise _failed("Internal", "the server refused the call")
        if kind == DATA:
            answer.body += _unpadded(payload, flags)
            if len(answer.body) > FRAME_LIMIT:
                raise _failed("ResourceExhausted", "the answer is too large")
        elif kind == HEADERS:
            part = _unpadded(payload, flags)
            answer.add_block(
                part[5:] if flags & PRIORITY else part, ended=bool(flags & END_HEADERS)
            )
        elif kind == CONTINUATION:
            answer.add_block(payload, ended=bool(flags & END_HEADERS))
        last = last or (kind in (DATA, HEADERS) and bool(flags & END_STREAM))
        if last and (kind == DATA or flags & END_HEADERS):
            return answer


def _unpadded(payload: bytes, flags: int) -> bytes:
    return payload[1 : len(payload) - payload[0]] if flags & PADDED and payload else payload
