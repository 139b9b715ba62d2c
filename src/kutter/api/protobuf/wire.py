"""Protobuf's wire format: variable-length integers, tags, skipping. Knows no messages.

https://protobuf.dev/programming-guides/encoding/ . Reading past the end raises IndexError; the
one who decodes a whole message turns it into :class:`ProtobufError`.
"""

from __future__ import annotations

VARINT, FIXED64, BYTES, GROUP_START, GROUP_END, FIXED32 = range(6)
# Messages within messages; deeper than any schema of ours but for custom definitions' schemas,
# which go three messages down per level.
DEPTH_LIMIT = 192
_VARINT_BYTES = 10
_UINT64 = (1 << 64) - 1


class ProtobufError(ValueError):
    """Bytes that are no message, or a tree that does not fit one. The text is the caller's."""


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


# Lengths and small numbers are looked up.
SMALL = [_varint(value) for value in range(4096)]
SMALL_LIMIT = len(SMALL)


def varint(value: int) -> bytes:
    """``value`` as a varint; negative ones as 64 bits of two's complement."""
    if 0 <= value < SMALL_LIMIT:
        return SMALL[value]
    return _varint(value & _UINT64)


def tag_bytes(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def delimited(tag: bytes, content: bytes) -> bytes:
    """A length-delimited field."""
    size = len(content)
    return tag + (SMALL[size] if size < SMALL_LIMIT else _varint(size)) + content


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """(value, position after it). Raises ProtobufError past 64 bits."""
    byte = data[position]
    if byte < 128:
        return byte, position + 1
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & _UINT64, position
        shift += 7
        if shift == 7 * _VARINT_BYTES:
            raise ProtobufError("proto: integer overflow")


def signed(value: int, bits: int) -> int:
    """The low ``bits`` as a signed number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def skip_field(data: bytes, position: int, end: int, tag: int) -> int:
    """The position after the unknown field whose tag was just read."""
    depth = 0
    while True:
        wire_type = tag & 7
        if not tag >> 3:
            raise ProtobufError(f"proto: illegal tag {tag >> 3} (wire type {wire_type})")
        if wire_type == VARINT:
            _, position = read_varint(data, position)
        elif wire_type == FIXED64:
            position += 8
        elif wire_type == BYTES:
            size, position = read_varint(data, position)
            position += size
        elif wire_type == FIXED32:
            position += 4
        elif wire_type == GROUP_START:
            depth += 1
        elif wire_type == GROUP_END:
            if not depth:
                raise ProtobufError("proto: unexpected end of group")
            depth -= 1
        else:
            raise ProtobufError(f"proto: illegal wireType {wire_type}")
        if position > end:
            raise ProtobufError("unexpected EOF")
        if not depth:
            return position
        tag, position = read_varint(data, position)
