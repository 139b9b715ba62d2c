"""From messages to trees: one function per message, compiled when first needed.

Laws: the tree is the JSON upstream's own types would be written as. A zero value is kept where
Go has a pointer or JSON shows zeros, and left out where JSON leaves it out; what JSON shows as
null is left out too; a field given twice counts as upstream's decoder counts it (the last
scalar, messages merged). Unknown fields are skipped. A known field in another wire type, bytes
that end early, numbers that are too long and nesting past a bound are errors.
"""

from __future__ import annotations

import math
import struct
from binascii import b2a_base64
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from kutter.api.protobuf import values
from kutter.api.protobuf.tables import Field, Message, message
from kutter.api.protobuf.wire import (
    BYTES,
    DEPTH_LIMIT,
    FIXED64,
    VARINT,
    ProtobufError,
    read_varint,
    signed,
    skip_field,
)

Tree = dict[str, Any]
# (data, position, end, tree to fill, depth)
Fill = Callable[[bytes, int, int, Tree, int], None]
# (data, position, end, depth) → value, None for null
Read = Callable[[bytes, int, int, int], Any]
# Wire type; what to call: a Fill for bytes, (number, tree) for varints and fixed ones; for text
# the field's name and whether an empty one is kept.
Taker = tuple[int, Callable[..., None], str, bool]


def decode_message(held: Message, data: bytes) -> Tree:
    """``data`` as a tree without kind and apiVersion. Raises ProtobufError."""
    tree: Tree = {}
    try:
        filler_of(held.table, held.name)(data, 0, len(data), tree, 0)
    except ProtobufError:
        raise
    except RecursionError:
        raise ProtobufError("proto: nested too deeply") from None
    except IndexError:
        raise ProtobufError("unexpected EOF") from None
    except UnicodeDecodeError:
        raise ProtobufError("proto: string field contains invalid UTF-8") from None
    except (ValueError, OverflowError) as error:
        raise ProtobufError(str(error)) from error
    return tree


@lru_cache(maxsize=2048)
def filler_of(table: str, name: str) -> Fill:
    """The compiled decoder of a message."""
    held = message(table, name)
    takers: dict[int, Taker] | None = None

    def fill(data: bytes, position: int, end: int, tree: Tree, depth: int) -> None:
        nonlocal takers
        if takers is None:
            takers = _takers(held)
        if depth > DEPTH_LIMIT:
            raise ProtobufError("proto: nested too deeply")
        depth += 1
        while position < end:
            tag = data[position]
            position += 1
            if tag > 127:
                tag, position = read_varint(data, position - 1)
            taker = takers.get(tag)
            if taker is None:
                _check_unknown(held, tag)
                position = skip_field(data, position, end, tag)
                continue
            wire_type, take, name, keeps_empty = taker
            if wire_type == FIXED64:
                take(data[position : position + 8], tree)
                position += 8
                continue
            value = data[position]
            position += 1
            if value > 127:
                value, position = read_varint(data, position - 1)
            if wire_type == VARINT:
                take(value, tree)
                continue
            stop = position + value
            if stop > end:
                raise ProtobufError("unexpected EOF")
            if not name:
                take(data, position, stop, tree, depth)
            elif value:  # text, the most frequent by far, is read without a call
                tree[name] = data[position:stop].decode()
            elif keeps_empty:
                tree[name] = ""
            else:
                tree.pop(name, None)
            position = stop
        if position != end:
            raise ProtobufError("unexpected EOF")

    return fill


def _check_unknown(held: Message, tag: int) -> None:
    for field in held.fields:
        if field.number == tag >> 3:
            name = field.name.strip("<>")
            raise ProtobufError(
                f"proto: wrong wireType = {tag & 7} for field {name[:1].upper()}{name[1:]}"
            )


def _takers(held: Message) -> dict[int, Taker]:
    takers: dict[int, tuple[int, Callable[..., None]]] = {}
    texts: dict[int, Field] = {}
    for field in held.fields:
        wire_type = _wire_type(field.type)
        own = field.number << 3
        if field.shape == "map":
            takers[own | BYTES] = BYTES, _map_taker(held, field)
        elif field.mark == "inline":
            takers[own | BYTES] = BYTES, _filler(held, field.type)
        elif field.shape == "list":
            if wire_type == BYTES:
                takers[own | BYTES] = BYTES, _list_taker(held, field)
            else:
                takers[own | wire_type] = wire_type, _append_taker(field)
                takers[own | BYTES] = BYTES, _packed_taker(field, wire_type)
        elif field.type == "string":
            texts[own | BYTES] = field
        elif wire_type == BYTES:
            takers[own | BYTES] = BYTES, _taker(held, field)
        else:
            takers[own | wire_type] = wire_type, _number_taker(field)
    read: dict[int, Taker] = {tag: (*taker, "", False) for tag, taker in takers.items()}
    for tag, field in texts.items():
        read[tag] = BYTES, _nothing, field.name, field.mark != "omitempty"
    return read


def _nothing() -> None:
    """Stands where text is read without a call."""


def _wire_type(type: str) -> int:
    if type in ("boolean", "int32", "int64"):
        return VARINT
    return FIXED64 if type == "double" else BYTES


def _filler(held: Message, type: str) -> Fill:
    target = held.reference(type)
    return filler_of(target.table, target.name)


def _taker(held: Message, field: Field) -> Fill:
    name = field.name
    if field.type[0] == "@":
        fill = _filler(held, field.type)

        def take(data: bytes, position: int, end: int, tree: Tree, depth: int) -> None:
            below = tree.get(name)
            if below is None:
                below = tree[name] = {}
            fill(data, position, end, below, depth)

        return take
    read = _READS[field.type]
    # Zero quantities and the like are shown by JSON; empty bytes are not, they are omitempty.
    drops = (None, "") if field.type == "byte" else (None,)

    def take_value(data: bytes, position: int, end: int, tree: Tree, depth: int) -> None:
        value = read(data, position, end, depth)
        if value in drops:
            tree.pop(name, None)
        else:
            tree[name] = value

    return take_value


def _number_taker(field: Field) -> Callable[[Any, Tree], None]:
    name, convert = field.name, _NUMBERS[field.type]
    keeps_zero = field.mark != "omitempty"

    def take(raw: Any, tree: Tree) -> None:
        if raw == 0 and not keeps_zero:  # what most numbers are
            tree.pop(name, None)
            return
        value = convert(raw)
        if value or keeps_zero:
            tree[name] = value
        else:
            tree.pop(name, None)

    return take


def _append_taker(field: Field) -> Callable[[Any, Tree], None]:
    name, convert = field.name, _NUMBERS[field.type]

    def take(raw: Any, tree: Tree) -> None:
        tree.setdefault(name, []).append(convert(raw))

    return take


def _packed_taker(field: Field, wire_type: int) -> Fill:
    name, convert = field.name, _NUMBERS[field.type]

    def take(data: bytes, position: int, end: int, tree: Tree, depth: int) -> None:
        while position < end:
            if wire_type == VARINT:
                raw: Any
                raw, position = read_varint(data, position)
            else:
                raw = data[position : position + 8]
                position += 8
            tree.setdefault(name, []).append(convert(raw))
        if position != end:
            raise ProtobufError("unexpected EOF")

    return take


def _read(held: Message, type: str) -> Read:
    if type[0] != "@":
        return _READS[type]
    fill = _filler(held, type)

    def read(data: bytes, position: int, end: int, depth: int) -> Tree:
        tree: Tree = {}
        fill(data, position, end, tree, depth)
        return tree

    return read


def _list_taker(held: Message, field: Field) -> Fill:
    name, read = field.name, _read(held, field.type)

    def take(data: bytes, position: int, end: int, tree: Tree, depth: int) -> None:
        items = tree.get(name)
        if items is None:
            items = tree[name] = []
        items.append(read(data, position, end, depth))

    return take


def _map_taker(held: Message, field: Field) -> Fill:
    name, read = field.name, _read(held, field.type)

    def take(data: bytes, position: int, end: int, tree: Tree, depth: int) -> None:
        items = tree.get(name)
        if items is None:
            items = tree[name] = {}
        key, low, high = "", end, end
        while position < end:
            tag = data[position]
            position += 1
            if tag in (0x0A, 0x12):
                size = data[position]
                position += 1
                if size > 127:
                    size, position = read_varint(data, position - 1)
                if tag == 0x0A:
                    key = str(data[position : position + size], "utf-8")
                else:
                    low, high = position, position + size
                position += size
            else:
                tag, position = read_varint(data, position - 1)
                position = skip_field(data, position, end, tag)
        if position != end:
            raise ProtobufError("unexpected EOF")
        items[key] = read(data, low, high, depth)

    return take


def _read_text(data: bytes, position: int, end: int, depth: int) -> str:
    return str(data[position:end], "utf-8")


def _read_base64(data: bytes, position: int, end: int, depth: int) -> str:
    return b2a_base64(data[position:end], newline=False).decode("ascii")


def _flat(read: Callable[[bytes, int, int], Any]) -> Read:
    """A reader that has no messages below it."""

    def read_flat(data: bytes, position: int, end: int, depth: int) -> Any:
        return read(data, position, end)

    return read_flat


def _read_schema(data: bytes, depth: int) -> Tree:
    tree: Tree = {}
    filler_of("apiextensions.k8s.io/v1", "JSONSchemaProps")(data, 0, len(data), tree, depth)
    return tree


def _read_schema_or_list(data: bytes, position: int, end: int, depth: int) -> Any:
    schemas = values.decode_repeated(data, position, end, 2)
    if schemas:
        return [_read_schema(schema, depth) for schema in schemas]
    fields = values.scan(data, position, end)
    return _read_schema(values.bytes_of(fields, 1), depth) if 1 in fields else None


def _read_schema_or_boolean(data: bytes, position: int, end: int, depth: int) -> Any:
    fields = values.scan(data, position, end)
    if 2 in fields:
        return _read_schema(values.bytes_of(fields, 2), depth)
    return bool(fields.get(1, 0))


def _read_schema_or_strings(data: bytes, position: int, end: int, depth: int) -> Any:
    strings = values.decode_repeated(data, position, end, 2)
    if strings:
        return [str(text, "utf-8") for text in strings]
    fields = values.scan(data, position, end)
    return _read_schema(values.bytes_of(fields, 1), depth) if 1 in fields else None


_READS: dict[str, Read] = {
    "string": _read_text,
    "byte": _read_base64,
    "time": _flat(values.decode_time),
    "microtime": _flat(values.decode_micro_time),
    "quantity": _flat(values.decode_quantity),
    "intstr": _flat(values.decode_int_or_string),
    "any": _flat(values.decode_any),
    "strings": _flat(values.decode_strings),
    "schemaOrList": _read_schema_or_list,
    "schemaOrBoolean": _read_schema_or_boolean,
    "schemaOrStrings": _read_schema_or_strings,
}
_double = struct.Struct("<d").unpack


def _to_double(raw: bytes) -> float:
    if len(raw) != 8:
        raise ProtobufError("unexpected EOF")
    value: float = _double(raw)[0]
    if not math.isfinite(value):
        raise ProtobufError(f"json: unsupported value: {value}")
    return value


_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "boolean": bool,
    "int32": lambda raw: signed(raw, 32),
    "int64": lambda raw: signed(raw, 64),
    "double": _to_double,
}
