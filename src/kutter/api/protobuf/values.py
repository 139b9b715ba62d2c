"""Values that are scalars in JSON and messages in protobuf, one pair of functions each.

Between the codec and upstream's own marshalling of ``metav1.Time``, ``resource.Quantity`` and
the like. ``encode_*`` gives a message's content, ``decode_*`` reads one; a decoder that answers
None read a zero value for which JSON has only null. Wrong values raise ValueError, TypeError,
AttributeError or IndexError.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from kutter.api.protobuf.wire import (
    BYTES,
    VARINT,
    ProtobufError,
    delimited,
    read_varint,
    signed,
    skip_field,
    varint,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
# Go's zero time, which its JSON shows as null and its protobuf as an empty message.
_UNSET = datetime(1, 1, 1, tzinfo=UTC) - _EPOCH
_ONE_NUMBER, _TWO_NUMBER = b"\x08", b"\x10"
_ONE_BYTES, _TWO_BYTES, _THREE_BYTES = b"\x0a", b"\x12", b"\x1a"


def scan(data: bytes, position: int, end: int) -> dict[int, int | bytes]:
    """The fields of a small message by number, the last of each: a number or bytes."""
    found: dict[int, int | bytes] = {}
    while position < end:
        tag = data[position]
        position += 1
        if tag > 127:
            tag, position = read_varint(data, position - 1)
        wire_type = tag & 7
        if wire_type == VARINT and tag >> 3:
            found[tag >> 3], position = read_varint(data, position)
        elif wire_type == BYTES and tag >> 3:
            size, position = read_varint(data, position)
            found[tag >> 3] = data[position : position + size]
            position += size
        else:
            position = skip_field(data, position, end, tag)
    if position != end:
        raise ProtobufError("unexpected EOF")
    return found


def _number(fields: dict[int, int | bytes], number: int, bits: int) -> int:
    value = fields.get(number, 0)
    if not isinstance(value, int):
        raise ProtobufError(f"proto: wrong wireType = {BYTES} for field {number}")
    return signed(value, bits)


def bytes_of(fields: dict[int, int | bytes], number: int) -> bytes:
    value = fields.get(number, b"")
    if not isinstance(value, bytes):
        raise ProtobufError(f"proto: wrong wireType = {VARINT} for field {number}")
    return value


def text_of(fields: dict[int, int | bytes], number: int) -> str:
    return str(bytes_of(fields, number), "utf-8")


def _moment(text: str) -> timedelta:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ProtobufError(f"time {text!r} has no zone")
    return moment - _EPOCH


def encode_time(text: str | None) -> bytes:
    """Whole seconds: upstream writes no more, its JSON shows no more.

    None, which JSON shows within maps, is a time nobody set.
    """
    if text is None or (moment := _moment(text)) == _UNSET:
        return b""
    return _ONE_NUMBER + varint(moment // _SECOND) + b"\x10\x00"


def encode_micro_time(text: str) -> bytes:
    moment = _moment(text)
    if moment == _UNSET:
        return b""
    seconds, rest = divmod(moment, _SECOND)
    nanos = rest.microseconds * 1000
    return _ONE_NUMBER + varint(seconds) + _TWO_NUMBER + varint(nanos)


def _instant(data: bytes, position: int, end: int, *, exact: bool) -> datetime | None:
    if position == end:
        return None
    fields = scan(data, position, end)
    nanos = _number(fields, 2, 32) if exact else 0
    try:
        passed = timedelta(seconds=_number(fields, 1, 64), microseconds=int(nanos / 1000))
        return None if passed == _UNSET else _EPOCH + passed
    except OverflowError:
        raise ProtobufError("year is not in the range [0,9999]") from None


def decode_time(data: bytes, position: int, end: int) -> str | None:
    moment = _instant(data, position, end, exact=False)
    return moment.isoformat()[:19] + "Z" if moment else None


def decode_micro_time(data: bytes, position: int, end: int) -> str | None:
    moment = _instant(data, position, end, exact=True)
    return moment.isoformat(timespec="microseconds")[:26] + "Z" if moment else None


def encode_quantity(value: str | float) -> bytes:
    # Trees may hold a number that was not canonicalised.
    text = value if type(value) is str else str(value)
    return delimited(_ONE_BYTES, text.encode())


def decode_quantity(data: bytes, position: int, end: int) -> str:
    return text_of(scan(data, position, end), 1) or "0"


def encode_int_or_string(value: int | str) -> bytes:
    if type(value) is int:
        return b"\x08\x00\x10" + varint(value) + b"\x1a\x00"
    return b"\x08\x01\x10\x00" + delimited(_THREE_BYTES, value.encode())  # type: ignore[union-attr]


def decode_int_or_string(data: bytes, position: int, end: int) -> int | str:
    fields = scan(data, position, end)
    kind = _number(fields, 1, 64)
    if kind not in (0, 1):
        raise ProtobufError("impossible IntOrString.Type")
    return text_of(fields, 3) if kind else _number(fields, 2, 32)


def encode_any(value: Any) -> bytes:
    """``RawExtension``, ``FieldsV1`` and custom definitions' ``JSON``: JSON text in field 1."""
    return delimited(_ONE_BYTES, orjson.dumps(value))


def decode_any(data: bytes, position: int, end: int) -> Any:
    raw = bytes_of(scan(data, position, end), 1)
    return orjson.loads(raw) if raw else None


def encode_strings(value: list[str]) -> bytes:
    """A list in a message of its own (``ExtraValue``, ``Verbs``)."""
    return b"".join([delimited(_ONE_BYTES, text.encode()) for text in value])


def decode_strings(data: bytes, position: int, end: int) -> list[str]:
    return [str(text, "utf-8") for text in decode_repeated(data, position, end, 1)]


def decode_repeated(data: bytes, position: int, end: int, number: int) -> list[bytes]:
    """All contents of one length-delimited field of a small message."""
    found = []
    while position < end:
        tag, position = read_varint(data, position)
        if tag == number << 3 | BYTES:
            size, position = read_varint(data, position)
            found.append(data[position : position + size])
            position += size
        else:
            position = skip_field(data, position, end, tag)
    if position != end:
        raise ProtobufError("unexpected EOF")
    return found
