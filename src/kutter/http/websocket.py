"""WebSocket (RFC 6455), both sides: a sans-I/O codec, handshakes, and messages over a ByteStream.

Laws: frames and messages are bounded; a client masks, a server does not, and each refuses a peer
that does otherwise (5.1); a close is answered once; control frames come between fragments.
No extensions are negotiated.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from enum import IntEnum

import msgspec

from kutter.http.messages import ByteStream, Request

MESSAGE_LIMIT_BYTES = 32 * 1024 * 1024
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


class Opcode(IntEnum):
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011


_DATA = (Opcode.TEXT, Opcode.BINARY)
_WIRE_CODES = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


class WebSocketError(ConnectionError):
    """The peer broke the protocol; ``code`` is what it is told."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class HandshakeError(ValueError):
    """Not a WebSocket request (answer 400) or not a WebSocket answer."""


class Message(msgspec.Struct, frozen=True):
    """A whole message or control frame. TEXT payloads are valid UTF-8."""

    opcode: Opcode
    data: bytes


def mask(data: bytes, key: bytes) -> bytes:
    """XOR with the repeated four-byte key; its own inverse."""
    size = len(data)
    if not size:
        return b""
    # One big-integer XOR: ~50 times faster than byte by byte.
    repeated = (key * (size // 4 + 1))[:size]
    mixed = int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")
    return mixed.to_bytes(size, "little")


def encode_frame(
    opcode: int, data: bytes, *, key: bytes | None = None, final: bool = True
) -> bytes:
    """One frame; masked when there is a ``key``."""
    size = len(data)
    first = opcode | (0x80 if final else 0)
    bit = 0x80 if key is not None else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    if key is None:
        return head + data
    return head + key + mask(data, key)


class Decoder:
    """Bytes in, messages out. ``masked``: what the peer's frames must be."""

    def __init__(self, *, masked: bool, limit_bytes: int = MESSAGE_LIMIT_BYTES) -> None:
        self._masked = masked
        self._limit = limit_bytes
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._size = 0
        self._opcode: Opcode | None = None

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are whole now. Raises WebSocketError."""
        self._buffer += data
        messages: list[Message] = []
        while self._next_frame(messages):
            pass
        return messages

    def _next_frame(self, messages: list[Message]) -> bool:
        """Take a frame, which may complete a message; False when there is not a whole one."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        first, second = buffer[0], buffer[1]
        if first & 0x70:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "reserved bits are set")
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "unknown opcode") from None
        final = bool(first & 0x80)
        if bool(second & 0x80) != self._masked:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "wrong masking")
        size = second & 0x7F
        at = 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(buffer) < at + width:
                return False
            size = int.from_bytes(buffer[at : at + width], "big")
            at += width
        if opcode >= Opcode.CLOSE and (size > 125 or not final):
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "bad control frame")
        if size + self._size > self._limit:
            raise WebSocketError(CloseCode.TOO_BIG, "the message is too big")
        key = b""
        if self._masked:
            if len(buffer) < at + 4:
                return False
            key = bytes(buffer[at : at + 4])
            at += 4
        if len(buffer) < at + size:
            return False
        payload = bytes(buffer[at : at + size])
        del buffer[: at + size]
        if self._masked:
            payload = mask(payload, key)
        message = self._take(opcode, final, payload)
        if message is not None:
            messages.append(message)
        return True

    def _take(self, opcode: Opcode, final: bool, payload: bytes) -> Message | None:
        if opcode >= Opcode.CLOSE:
            return Message(opcode, payload)
        if opcode == Opcode.CONTINUATION:
            if self._opcode is None:
                raise WebSocketError(CloseCode.PROTOCOL_ERROR, "nothing to continue")
        else:
            if self._opcode is not None:
                raise WebSocketError(CloseCode.PROTOCOL_ERROR, "a message is not finished")
            self._opcode = opcode
        self._parts.append(payload)
        self._size += len(payload)
        if not final:
            if len(self._parts) > 65536:
                raise WebSocketError(CloseCode.TOO_BIG, "too many fragments")
            return None
        kind = self._opcode
        assert kind is not None
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        self._size = 0
        self._opcode = None
        if kind == Opcode.TEXT:
            try:
                data.decode("utf-8")
            except UnicodeDecodeError:
                raise WebSocketError(CloseCode.INVALID_DATA, "text is not UTF-8") from None
        return Message(kind, data)


# -- handshake ---------------------------------------------------------------------------


def accept_key(key: str) -> str:
    """``Sec-WebSocket-Accept`` for a ``Sec-WebSocket-Key`` (RFC 6455, 4.2.2)."""
    digest = hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def is_websocket(request: Request) -> bool:
    """Whether the client asks for a WebSocket."""
    return request.headers.get("upgrade", "").lower() == "websocket"


def offered_protocols(request: Request) -> list[str]:
    """The subprotocols a client offers, in its order of preference."""
    offered = request.headers.get("sec-websocket-protocol", "")
    return [p.strip() for p in offered.split(",") if p.strip()]


def accept_handshake(request: Request, protocol: str = "") -> list[tuple[str, str]]:
    """Headers of the 101 that takes up ``request``. Raises HandshakeError."""
    headers = request.headers
    key = headers.get("sec-websocket-key", "")
    if request.method != "GET" or not is_websocket(request):
        raise HandshakeError("not a websocket request")
    if headers.get("sec-websocket-version") != "13":
        raise HandshakeError("unsupported websocket version")
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            raise HandshakeError("malformed Sec-WebSocket-Key")
    except ValueError as error:
        raise HandshakeError("malformed Sec-WebSocket-Key") from error
    answer = [("Upgrade", "websocket"), ("Sec-WebSocket-Accept", accept_key(key))]
    if protocol:
        answer.append(("Sec-WebSocket-Protocol", protocol))
    return answer


def request_headers(protocols: Sequence[str]) -> tuple[dict[str, str], str]:
    """A client's handshake headers and the key they carry."""
    key = base64.b64encode(os.urandom(16)).decode()
    headers = {
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
    }
    if protocols:
        headers["Sec-WebSocket-Protocol"] = ", ".join(protocols)
    return headers, key


def check_handshake(headers: dict[str, str], key: str, protocols: Sequence[str]) -> str:
    """Check a server's 101; answers the subprotocol. Raises HandshakeError."""
    if headers.get("upgrade", "").lower() != "websocket":
        raise HandshakeError("the server did not switch to websocket")
    if headers.get("sec-websocket-accept") != accept_key(key):
        raise HandshakeError("the server's Sec-WebSocket-Accept is wrong")
    chosen = headers.get("sec-websocket-protocol", "")
    if chosen and chosen not in protocols:
        raise HandshakeError(f"the server chose {chosen!r}, which was not offered")
    return chosen


# -- messages over a stream ----------------------------------------------------------------


class WebSocket:
    """Messages over an upgraded connection. One reader, any number of writers."""

    def __init__(
        self, stream: ByteStream, *, client: bool, limit_bytes: int = MESSAGE_LIMIT_BYTES
    ) -> None:
        self._stream = stream
        self._client = client
        self._decoder = Decoder(masked=not client, limit_bytes=limit_bytes)
        self._ready: list[Message] = []
        self._close_sent = False
        #: What the peer said when it closed; ABNORMAL when it just went.
        self.close_code: int = 0
        self.close_reason = ""

    async def receive(self) -> Message | None:
        """The next TEXT or BINARY message; None when the peer closed or went.

        Pings are answered here. Raises WebSocketError when the peer breaks the protocol (it has
        then been told).
        """
        while True:
            while self._ready:
                message = self._ready.pop(0)
                if message.opcode in _DATA:
                    return message
                if message.opcode == Opcode.PING:
                    await self._send_frame(Opcode.PONG, message.data)
                elif message.opcode == Opcode.CLOSE:
                    await self._answer_close(message.data)
                    return None
            if self.close_code:
                return None
            try:
                data = await self._stream.read()
            except ConnectionError:
                data = b""
            if not data:
                self.close_code = CloseCode.ABNORMAL
                return None
            try:
                self._ready = self._decoder.feed(data)
            except WebSocketError as error:
                await self.close(error.code, str(error))
                raise

    async def send(self, data: bytes, *, text: bool = False) -> None:
        """One message, waiting while the peer is slow. Raises ConnectionError."""
        if self._close_sent:
            raise ConnectionResetError("the websocket is closed")
        await self._send_frame(Opcode.TEXT if text else Opcode.BINARY, data)

    async def ping(self, data: bytes = b"") -> None:
        await self._send_frame(Opcode.PING, data)

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send a close frame once; the peer answers it. Never raises for a gone peer."""
        if self._close_sent:
            return
        self._close_sent = True
        payload = code.to_bytes(2, "big") + reason.encode()[:123]
        try:
            await self._send_frame(Opcode.CLOSE, payload)
        except ConnectionError:
            self.close_code = self.close_code or CloseCode.ABNORMAL

    def disconnect(self) -> None:
        """Close the connection under it."""
        self._stream.close()

    async def _answer_close(self, payload: bytes) -> None:
        code: int = CloseCode.NO_STATUS
        if payload:
            code = int.from_bytes(payload[:2], "big")
            valid = len(payload) >= 2 and (code in _WIRE_CODES or 3000 <= code < 5000)
            if not valid:
                code = CloseCode.PROTOCOL_ERROR
        self.close_code = code
        self.close_reason = payload[2:].decode("utf-8", "replace")
        await self.close(CloseCode.NORMAL if code == CloseCode.NO_STATUS else code)

    async def _send_frame(self, opcode: Opcode, data: bytes) -> None:
        key = os.urandom(4) if self._client else None
        await self._stream.write(encode_frame(opcode, data, key=key))
