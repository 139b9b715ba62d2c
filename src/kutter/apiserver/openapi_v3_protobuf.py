"""OpenAPI v3 documents in protobuf, for clients that ask for them so.

Between :mod:`kutter.apiserver.openapi` and clients in Go that read documents as gnostic's
messages. Numbers are those of google/gnostic's ``OpenAPIv3.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import orjson

from kutter.api.protobuf.wire import BYTES, FIXED64, VARINT, delimited, tag_bytes, varint
from kutter.apiserver.ports import Tree

MEDIA = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
# Older clients ask for a type that is not well-formed as a media type.
OLD_MEDIA = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"

_TAGS = [tag_bytes(number, BYTES) for number in range(64)]
_METHODS = {"get": 4, "put": 5, "post": 6, "delete": 7, "options": 8, "head": 9, "patch": 10}
_SCHEMA_TEXTS = {"title": 9, "pattern": 17, "type": 25, "description": 34, "format": 35}
_SCHEMA_NUMBERS = {"multipleOf": 10, "maximum": 11, "minimum": 13}
_SCHEMA_COUNTS = {
    "nullable": 1,
    "exclusiveMaximum": 12,
    "exclusiveMinimum": 14,
    "maxLength": 15,
    "minLength": 16,
    "maxItems": 18,
    "minItems": 19,
    "uniqueItems": 20,
    "maxProperties": 21,
    "minProperties": 22,
}
_SCHEMA_LISTS = {"allOf": 26, "oneOf": 27, "anyOf": 28}


def encode_document(document: Tree) -> bytes:
    """A document as an ``openapi.v3.Document``."""
    info, components = document["info"], document.get("components") or {}
    paths = (_named(path, _path_item(item)) for path, item in document["paths"].items())
    parts = [
        _text(1, document["openapi"]),
        _field(2, _text(1, info["title"]) + _text(6, info["version"])),
        _field(4, _repeated(1, paths)),
        _field(5, _components(components)),
    ]
    return b"".join(parts)


def _components(components: Tree) -> bytes:
    made = b""
    if schemas := components.get("schemas"):
        named = (_named(name, _schema_or_reference(one)) for name, one in schemas.items())
        made += _field(1, _repeated(1, named))
    if schemes := components.get("securitySchemes"):
        named = (_named(name, _field(1, _security(one))) for name, one in schemes.items())
        made += _field(7, _repeated(1, named))
    return made


def _security(scheme: Tree) -> bytes:
    numbers = {"type": 1, "description": 2, "name": 3, "in": 4}
    return b"".join(_text(n, scheme[key]) for key, n in numbers.items() if scheme.get(key))


def _path_item(item: Tree) -> bytes:
    parts = [_field(n, _operation(item[m])) for m, n in _METHODS.items() if m in item]
    parts += [_field(13, _parameter(one)) for one in item.get("parameters", ())]
    return b"".join(parts)


def _operation(operation: Tree) -> bytes:
    parts = [_text(1, tag) for tag in operation.get("tags", ())]
    if text := operation.get("description"):
        parts.append(_text(3, text))
    parts.append(_text(5, operation["operationId"]))
    parts += [_field(6, _parameter(one)) for one in operation.get("parameters", ())]
    if body := operation.get("requestBody"):
        made = _field(2, _content(body["content"]))
        made += _count(3, 1) if body.get("required") else b""
        parts.append(_field(7, _field(1, made)))
    answers = (_named(c, _field(1, _answer(one))) for c, one in operation["responses"].items())
    parts.append(_field(8, _repeated(2, answers)))
    parts += [_field(13, _named(k, _any(v))) for k, v in operation.items() if k.startswith("x-")]
    return b"".join(parts)


def _answer(response: Tree) -> bytes:
    made = _text(1, response["description"])
    content = response.get("content")
    return made + _field(3, _content(content)) if content else made


def _content(content: Tree) -> bytes:
    return _repeated(
        1, (_named(m, _field(1, _schema_or_reference(c["schema"]))) for m, c in content.items())
    )


def _parameter(one: Tree) -> bytes:
    made = _text(1, one["name"]) + _text(2, one["in"])
    if text := one.get("description"):
        made += _text(3, text)
    if one.get("required"):
        made += _count(4, 1)
    return _field(1, made + _field(10, _schema_or_reference(one["schema"])))


def _schema_or_reference(schema: Tree) -> bytes:
    reference = schema.get("$ref")
    return _field(2, _text(1, reference)) if reference else _field(1, encode_schema(schema))


def encode_schema(schema: Tree) -> bytes:
    """One schema that is no reference."""
    parts: list[bytes] = []
    for key, value in schema.items():
        match key:
            case "required":
                parts += [_text(23, name) for name in value]
            case "enum":
                parts += [_field(24, _any(item)) for item in value]
            case "not":
                parts.append(_field(29, encode_schema(value)))
            case "items":
                parts.append(_field(30, _field(1, _schema_or_reference(value))))
            case "properties":
                named = (_named(name, _schema_or_reference(s)) for name, s in value.items())
                parts.append(_field(31, _repeated(1, named)))
            case "additionalProperties" if isinstance(value, bool):
                parts.append(_field(32, _count(2, int(value))))
            case "additionalProperties":
                parts.append(_field(32, _field(1, _schema_or_reference(value))))
            case "default":
                parts.append(_default(value))
            case _ if key in _SCHEMA_LISTS:
                parts += [_field(_SCHEMA_LISTS[key], _schema_or_reference(one)) for one in value]
            case _ if key.startswith("x-"):
                parts.append(_field(36, _named(key, _any(value))))
            case _ if key in _SCHEMA_TEXTS:
                parts.append(_text(_SCHEMA_TEXTS[key], value))
            case _ if key in _SCHEMA_COUNTS:
                parts.append(_count(_SCHEMA_COUNTS[key], int(value)))
            case _ if key in _SCHEMA_NUMBERS:
                parts.append(_double(_SCHEMA_NUMBERS[key], float(value)))
    return b"".join(parts)


def _default(value: Any) -> bytes:
    """A default, of which the message knows scalars only; others are told as upstream tells them:
    that there is one, without its value.
    """
    match value:
        case bool():
            return _field(33, _count(2, int(value)))
        case int() | float():
            return _field(33, _double(1, float(value)))
        case str():
            return _field(33, _text(3, value))
    return _field(33, b"")


def _any(value: Any) -> bytes:
    return _text(2, orjson.dumps(value).decode())


def _named(name: str, value: bytes) -> bytes:
    return _text(1, name) + _field(2, value)


def _repeated(number: int, values: Iterable[bytes]) -> bytes:
    return b"".join(_field(number, value) for value in values)


def _count(number: int, value: int) -> bytes:
    return tag_bytes(number, VARINT) + varint(value)


def _double(number: int, value: float) -> bytes:
    return tag_bytes(number, FIXED64) + struct.pack("<d", value)


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _field(number: int, content: bytes) -> bytes:
    return delimited(_TAGS[number], content)
