r"""From protobuf bytes to the tree that JSON would have given.

Between ``application/vnd.kubernetes.protobuf`` bodies (the magic ``k8s\\0`` and a
``runtime.Unknown`` around one message) and the write pipeline. Field numbers come from
``table.json`` (``tools/build_protobuf_tables.py``): per type, rows of number, JSON name ("":
inlined), type text and a flag (``p``: an explicit zero is a value, else it means absent). Type
texts: scalars, ``[T`` list, ``{T`` map, ``=T`` a message around the items of T, ``@type``.
Upstream: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Any

import orjson

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_DEPTH_LIMIT = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_META_KINDS = frozenset({"DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions"})

Row = tuple[str, str, bool]
Value = int | bytes


class ProtobufError(ValueError):
    """The body is no protobuf, or of a kind that has no such form here."""


@lru_cache(maxsize=1)
def _table() -> dict[str, list[tuple[int, str, str, str]]]:
    read: dict[str, list[tuple[int, str, str, str]]] = orjson.loads(
        (files("kutter.api.protobuf") / "table.json").read_bytes()
    )
    return read


@lru_cache(maxsize=2048)
def _rows(name: str) -> dict[int, Row]:
    """A type's fields by number."""
    return {number: (json, kind, flag == "p") for number, json, kind, flag in _table()[name]}


def read_object(data: bytes) -> dict[str, Any]:
    """The object of a request's body, with kind and apiVersion. Raises ProtobufError."""
    if not data.startswith(_MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message")
    try:
        envelope = dict(_fields(data[len(_MAGIC) :]))
        meta = dict(_fields(_bytes(envelope.get(1, b""))))
        api_version, kind = _text(meta.get(1, b"")), _text(meta.get(2, b""))
        raw = _bytes(envelope.get(2, b""))
        tree: dict[str, Any] = {"kind": kind, "apiVersion": api_version}
        tree.update(_message(_type_of(api_version, kind), raw, 0))
    except (IndexError, struct.error, UnicodeDecodeError, OverflowError) as error:
        raise ProtobufError(f"malformed protobuf: {error}") from error
    return tree


def _type_of(api_version: str, kind: str) -> str:
    group, slash, version = api_version.rpartition("/")
    folder = group.split(".")[0] if slash else "core"
    name = f"{folder}/{version}:{kind}"
    if name in _table():
        return name
    if kind in _META_KINDS:
        return f"meta/v1:{kind}"
    raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"')


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise ProtobufError("a number is too long")


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Number and raw value of each field; fixed-width values stay bytes."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ProtobufError(f"unknown wire type {wire}")
        if at + size > end:
            raise ProtobufError("unexpected EOF")
        yield number, data[at : at + size]
        at += size


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ProtobufError("a message was expected, a number found")
    return value


def _text(value: Value) -> str:
    return _bytes(value).decode()


def _integer(value: Value) -> int:
    if not isinstance(value, int):
        raise ProtobufError("a number was expected, bytes found")
    return value - (1 << 64) if value >= 1 << 63 else value


def _message(name: str, data: bytes, depth: int) -> dict[str, Any]:
    if depth > _DEPTH_LIMIT:
        raise ProtobufError("nested too deeply")
    rows = _rows(name)
    tree: dict[str, Any] = {}
    for number, raw in _fields(data):
        row = rows.get(number)
        if row is None:
            continue  # a field of a newer version
        json, kind, keeps_zero = row
        head = kind[0]
        if head == "[" and kind != "[":
            tree.setdefault(json, []).append(_value(kind[1:], raw, depth))
        elif head == "{":
            key, value = _pair(kind[1:], _bytes(raw), depth)
            tree.setdefault(json, {})[key] = value
        elif not json:
            # Inlined in JSON, a message of its own here (the source of a volume).
            tree.update(_value(kind, raw, depth))
        else:
            value = _value(kind, raw, depth)
            if value is None or (not keeps_zero and value in ("", 0, False)):
                continue
            tree[json] = value
    return tree


def _pair(kind: str, data: bytes, depth: int) -> tuple[str, Any]:
    key, raw = "", None
    for number, value in _fields(data):
        if number == 1:
            key = _text(value)
        elif number == 2:
            raw = value
    if raw is None:
        raw = 0 if kind in ("int", "bool") else b""
    return key, _value(kind, raw, depth)


def _value(kind: str, raw: Value, depth: int) -> Any:
    head = kind[0]
    if head == "@":
        return _message(kind[1:], _bytes(raw), depth + 1)
    if head == "=":
        return [_value(kind[2:], item, depth) for number, item in _fields(_bytes(raw))]
    match kind:
        case "string":
            return _text(raw)
        case "bool":
            return bool(_integer(raw))
        case "int":
            return _integer(raw)
        case "double":
            return struct.unpack("<d", _bytes(raw))[0]
        case "bytes":
            return b64encode(_bytes(raw)).decode()
        case _:
            return _special(kind, dict(_fields(_bytes(raw))))


def _special(kind: str, fields: dict[int, Value]) -> Any:
    match kind:
        case "quantity":
            return _text(fields.get(1, b"")) or "0"
        case "intstr":
            if _integer(fields.get(1, 0)):
                return _text(fields.get(3, b""))
            return _integer(fields.get(2, 0))
        case "time" | "microtime":
            return _moment(fields, micro=kind == "microtime")
        case "raw":
            try:
                return orjson.loads(_bytes(fields.get(1, b"")) or b"null")
            except ValueError as error:
                raise ProtobufError(f"a raw extension is no JSON: {error}") from error
        case _:
            return None


def _moment(fields: dict[int, Value], *, micro: bool) -> str | None:
    if not fields:
        return None
    seconds, nanos = _integer(fields.get(1, 0)), _integer(fields.get(2, 0))
    moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")
