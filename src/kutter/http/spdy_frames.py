"""SPDY/3.1 frames, sans I/O: the part that kubectl and Go's spdystream speak.

Follows draft-mbelshe-httpbis-spdy-00 (3) with the session ping and window frames of 3.1. Header
blocks share one zlib stream per direction, so frames must be encoded in the order they are sent
and decoded in the order they came.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from enum import IntEnum

import msgspec

from kutter.http.spdy_dictionary import DICTIONARY

VERSION = 3
FLAG_FIN = 1
_HEADER_BLOCK_LIMIT_BYTES = 256 * 1024
_CONTROL_LIMIT_BYTES = 256 * 1024


class Kind(IntEnum):
    DATA = 0
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Reset(IntEnum):
    """Why a stream was reset."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9


class SpdyError(ConnectionError):
    """The peer broke the protocol: the connection cannot go on."""


class Frame(msgspec.Struct, frozen=True):
    """One frame. ``number``: ping id, reset or goaway status, window delta."""

    kind: Kind
    stream_id: int = 0
    fin: bool = False
    data: bytes = b""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    number: int = 0


class Encoder:
    """Frames to bytes."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 8, 0, DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        """The bytes of ``frame``; those with headers change the codec's state."""
        kind, stream_id, fin = frame.kind, frame.stream_id, FLAG_FIN if frame.fin else 0
        if kind is Kind.DATA:
            return struct.pack("!II", stream_id, fin << 24 | len(frame.data)) + frame.data
        if kind is Kind.SYN_STREAM:
            payload = struct.pack("!IIBB", stream_id, 0, 0, 0) + self._headers(frame.headers)
        elif kind in (Kind.SYN_REPLY, Kind.HEADERS):
            payload = struct.pack("!I", stream_id) + self._headers(frame.headers)
        elif kind is Kind.PING:
            payload = struct.pack("!I", frame.number)
        elif kind in (Kind.RST_STREAM, Kind.GOAWAY, Kind.WINDOW_UPDATE):
            payload = struct.pack("!II", stream_id, frame.number)
        else:
            payload = struct.pack("!I", 0)  # SETTINGS without entries
        return struct.pack("!HHI", 0x8000 | VERSION, kind, fin << 24 | len(payload)) + payload

    def _headers(self, headers: Mapping[str, str]) -> bytes:
        parts = [struct.pack("!I", len(headers))]
        for name, value in headers.items():
            for text in (name.lower(), value):
                raw = text.encode("latin-1", "replace")
                parts += (struct.pack("!I", len(raw)), raw)
        block = self._zlib.compress(b"".join(parts))
        return block + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class Decoder:
    """Bytes to frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS, DICTIONARY)

    def feed(self, data: bytes) -> Iterable[Frame]:
        """Yields the frames that are whole now. Raises SpdyError; exhaust before feeding more."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= 8:
            first, second = struct.unpack_from("!II", buffer)
            size = second & 0xFFFFFF
            if first & 0x80000000 and size > _CONTROL_LIMIT_BYTES:
                raise SpdyError(f"control frame of {size} bytes")
            if len(buffer) < 8 + size:
                return
            payload = bytes(buffer[8 : 8 + size])
            del buffer[: 8 + size]
            frame = self._decode(first, second >> 24, payload)
            if frame is not None:
                yield frame

    def _decode(self, first: int, flags: int, payload: bytes) -> Frame | None:
        fin = bool(flags & FLAG_FIN)
        if not first & 0x80000000:
            return Frame(Kind.DATA, first, fin, payload)
        if (first >> 16) & 0x7FFF != VERSION:
            raise SpdyError(f"SPDY version {(first >> 16) & 0x7FFF}")
        try:
            kind = Kind(first & 0xFFFF)
        except ValueError:
            return None  # unknown control frames are skipped (draft, 2.2.1)
        if kind is Kind.SETTINGS or kind is Kind.DATA:
            return None
        try:
            number = struct.unpack_from("!I", payload)[0]
            if kind is Kind.PING:
                return Frame(kind, number=number)
            stream_id = number & 0x7FFFFFFF
            if kind is Kind.SYN_STREAM:
                struct.unpack_from("!IBB", payload, 4)
                return Frame(kind, stream_id, fin, headers=self._headers(payload[10:]))
            if kind in (Kind.SYN_REPLY, Kind.HEADERS):
                return Frame(kind, stream_id, fin, headers=self._headers(payload[4:]))
            return Frame(kind, stream_id, number=struct.unpack_from("!I", payload, 4)[0])
        except struct.error as error:
            raise SpdyError(f"short {kind.name} frame") from error

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            text = self._zlib.decompress(block, _HEADER_BLOCK_LIMIT_BYTES)
        except zlib.error as error:
            raise SpdyError("header block cannot be inflated") from error
        if self._zlib.unconsumed_tail:
            raise SpdyError("header block is too big")
        headers: dict[str, str] = {}
        try:
            (count,) = struct.unpack_from("!I", text)
            at = 4
            for _ in range(count):
                pair = []
                for _ in range(2):
                    (size,) = struct.unpack_from("!I", text, at)
                    at += 4
                    if at + size > len(text):
                        raise SpdyError("header block is cut short")
                    pair.append(text[at : at + size].decode("latin-1"))
                    at += size
                # Several values of one name are joined by NUL; the first is enough here.
                headers[pair[0].lower()] = pair[1].partition("\0")[0]
        except struct.error as error:
            raise SpdyError("header block is cut short") from error
        return headers
