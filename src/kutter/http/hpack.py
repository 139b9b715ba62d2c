"""Reading HTTP/2 header blocks (HPACK, RFC 7541) for those who allow no dynamic table.

Between a header block and its fields. Indexed fields all come from the static table and are
left out: nobody here asks for one of them. The Huffman code is canonical, so that the lengths of
its codes (RFC 7541, appendix B) say everything.
"""

from __future__ import annotations

from typing import NamedTuple

_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b"
    "080606060505050606060606060607080f060c0a0d0607070707070707070707070707070707070707070707"
    "0807080d130d0e060f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414"
    "1616161716171717171718171818161718171717171516171617171816151416161717151716161815161717"
    "151516151716171714161616171616171a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a"
    "1c1b1b1b14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
_END = 256
_LONGEST = 30


class HpackError(Exception):
    """The block breaks the rules of RFC 7541, or needs a dynamic table."""


def _codes() -> dict[tuple[int, int], int]:
    """(length, code) → symbol."""
    made: dict[tuple[int, int], int] = {}
    code, length = 0, 0
    for symbol in sorted(range(_END + 1), key=lambda s: (_LENGTHS[s], s)):
        code <<= _LENGTHS[symbol] - length
        length = _LENGTHS[symbol]
        made[length, code] = symbol
        code += 1
    return made


_SYMBOLS = _codes()


class Field(NamedTuple):
    """One field; ``name`` is empty where it was an index."""

    name: bytes
    value: bytes


def decode_huffman(data: bytes) -> bytes:
    """The text of a Huffman-coded string. Raises HpackError."""
    text = bytearray()
    code = length = 0
    for byte in data:
        for shift in range(7, -1, -1):
            code = code << 1 | byte >> shift & 1
            length += 1
            symbol = _SYMBOLS.get((length, code))
            if symbol is None:
                if length > _LONGEST:
                    raise HpackError("no such Huffman code")
                continue
            if symbol == _END:
                raise HpackError("the end symbol inside a string")
            text.append(symbol)
            code = length = 0
    if length > 7 or code != (1 << length) - 1:
        raise HpackError("wrong padding of a Huffman string")
    return bytes(text)


def decode_fields(block: bytes) -> list[Field]:
    """The literal fields of a complete header block, in order. Raises HpackError."""
    fields: list[Field] = []
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:  # indexed
            _, at = _integer(block, at, 7)
        elif first & 0xE0 == 0x20:  # size of the dynamic table
            size, at = _integer(block, at, 5)
            if size:
                raise HpackError("a dynamic table that was not allowed")
        else:
            index, at = _integer(block, at, 6 if first & 0x40 else 4)
            name = b""
            if not index:
                name, at = _string(block, at)
            value, at = _string(block, at)
            fields.append(Field(name, value))
    return fields


def _integer(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """(number, position behind it)."""
    limit = (1 << prefix) - 1
    number = block[at] & limit
    at += 1
    if number < limit:
        return number, at
    shift = 0
    while True:
        if at >= len(block) or shift > 28:
            raise HpackError("a number without an end")
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(block):
        raise HpackError("the block ends inside a field")
    coded = bool(block[at] & 0x80)
    size, at = _integer(block, at, 7)
    data = block[at : at + size]
    if len(data) != size:
        raise HpackError("the block ends inside a string")
    return (decode_huffman(data) if coded else data), at + size
