"""From trees to messages: one function per message, compiled when first needed.

Law: the bytes are those upstream's marshaller writes for the same object. Fields come in the
order of their numbers; a field that is no pointer in Go is written even when it is zero; lists
and maps only when they have items; maps by key. Unknown fields of the tree are left out.
"""

from __future__ import annotations

import struct
from binascii import a2b_base64
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from kutter.api.protobuf import values
from kutter.api.protobuf.tables import Field, Message, message
from kutter.api.protobuf.wire import (
    BYTES,
    FIXED64,
    SMALL,
    SMALL_LIMIT,
    VARINT,
    ProtobufError,
    delimited,
    tag_bytes,
    varint,
)

# Tree or value → content; for fields: value → the whole field.
Encode = Callable[[Any], bytes]
# A field: its name (empty: inline), its tag, its writer (None: text), what stands for absence.
Step = tuple[str, bytes, Encode | None, bytes]


def encode_message(held: Message, tree: dict[str, Any]) -> bytes:
    """``tree`` as a message. Raises ProtobufError for what the message has no form for."""
    try:
        return encoder_of(held.table, held.name)(tree)
    except ProtobufError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise ProtobufError(f"{held.name}: {error}") from error
    except RecursionError:
        raise ProtobufError(f"{held.name}: nested too deeply") from None


@lru_cache(maxsize=2048)
def encoder_of(table: str, name: str) -> Encode:
    """The compiled encoder of a message."""
    held = message(table, name)
    plan: list[Step] | None = None

    def encode(tree: dict[str, Any]) -> bytes:
        nonlocal plan
        if plan is None:
            plan = _plan(held)
        get = tree.get
        parts: list[bytes] = []
        value: Any
        # Text is the most frequent by far, so it is written without a call.
        for key, tag, write, zero in plan:
            value = get(key) if key else tree
            if value is None:
                if zero:
                    parts.append(zero)
            elif write is not None:
                parts.append(write(value))
            else:
                text = value.encode()
                size = len(text)
                parts += (tag, SMALL[size] if size < SMALL_LIMIT else varint(size), text)
        return b"".join(parts)

    return encode


def _plan(held: Message) -> list[Step]:
    plan: list[Step] = []
    for field in held.fields:
        wire_type, content = _content(held, field.type)
        tag = tag_bytes(field.number, wire_type)
        if field.mark == "inline":
            plan.append(("", tag, _delimited_writer(tag, content), b""))
            continue
        write: Encode | None
        if field.type == "string" and field.shape == "one":
            write = None
        elif field.shape == "list":
            write = _list_writer(tag, wire_type, content)
        elif field.shape == "map":
            write = _map_writer(tag, wire_type, content)
        elif wire_type == BYTES:
            write = _delimited_writer(tag, content)
        else:
            write = _plain_writer(tag, content)
        plan.append((field.name, tag, write, _zero(held, field, tag)))
    return plan


def _content(held: Message, type: str) -> tuple[int, Encode]:
    if type[0] == "@":
        target = held.reference(type)
        return BYTES, encoder_of(target.table, target.name)
    return _CONTENTS[type]


def _zero(held: Message, field: Field, tag: bytes) -> bytes:
    if field.shape != "one" or field.mark == "pointer":
        return b""
    if field.type[0] == "@":
        target = held.reference(field.type)
        return delimited(tag, encoder_of(target.table, target.name)({}))
    if field.type == "double":
        return tag + bytes(8)
    return delimited(tag, _ZEROS.get(field.type, b"")) if field.type in _LONG else tag + b"\x00"


def _delimited_writer(tag: bytes, content: Encode) -> Encode:
    def write(value: Any) -> bytes:
        return delimited(tag, content(value))

    return write


def _plain_writer(tag: bytes, content: Encode) -> Encode:
    def write(value: Any) -> bytes:
        return tag + content(value)

    return write


def _list_writer(tag: bytes, wire_type: int, content: Encode) -> Encode:
    if wire_type == BYTES:

        def write(value: list[Any]) -> bytes:
            return b"".join([delimited(tag, content(item)) for item in value])

    else:

        def write(value: list[Any]) -> bytes:
            return b"".join([tag + content(item) for item in value])

    return write


def _map_writer(tag: bytes, wire_type: int, content: Encode) -> Encode:
    value_tag = tag_bytes(2, wire_type)

    def write(value: dict[str, Any]) -> bytes:
        parts = []
        for key in sorted(value):
            name = delimited(b"\x0a", key.encode())
            item = content(value[key])
            entry = delimited(value_tag, item) if wire_type == BYTES else value_tag + item
            parts.append(delimited(tag, name + entry))
        return b"".join(parts)

    return write


def _text(value: str) -> bytes:
    return value.encode()


def _schema(tree: Any) -> bytes:
    return encoder_of("apiextensions.k8s.io/v1", "JSONSchemaProps")(tree)


def _schema_or_list(value: Any) -> bytes:
    if type(value) is list:
        return b"".join([delimited(b"\x12", _schema(item)) for item in value])
    return delimited(b"\x0a", _schema(value))


def _schema_or_boolean(value: Any) -> bytes:
    if type(value) is bool:
        return b"\x08\x01" if value else b"\x08\x00"
    return b"\x08\x01" + delimited(b"\x12", _schema(value))


def _schema_or_strings(value: Any) -> bytes:
    if type(value) is list:
        return b"".join([delimited(b"\x12", text.encode()) for text in value])
    return delimited(b"\x0a", _schema(value))


_double = struct.Struct("<d").pack
_CONTENTS: dict[str, tuple[int, Encode]] = {
    "string": (BYTES, _text),
    "byte": (BYTES, a2b_base64),
    "boolean": (VARINT, lambda value: b"\x01" if value else b"\x00"),
    "int32": (VARINT, varint),
    "int64": (VARINT, varint),
    "double": (FIXED64, _double),
    "time": (BYTES, values.encode_time),
    "microtime": (BYTES, values.encode_micro_time),
    "quantity": (BYTES, values.encode_quantity),
    "intstr": (BYTES, values.encode_int_or_string),
    "any": (BYTES, values.encode_any),
    "strings": (BYTES, values.encode_strings),
    "schemaOrList": (BYTES, _schema_or_list),
    "schemaOrBoolean": (BYTES, _schema_or_boolean),
    "schemaOrStrings": (BYTES, _schema_or_strings),
}
_LONG = frozenset(name for name, (wire_type, _) in _CONTENTS.items() if wire_type == BYTES)
# Zero values that are not empty messages.
_ZEROS = {
    "quantity": values.encode_quantity("0"),
    "intstr": values.encode_int_or_string(0),
    "schemaOrBoolean": b"\x08\x00",
}
