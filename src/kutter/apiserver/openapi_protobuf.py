"""The OpenAPI v2 document in protobuf, the one form in which kubectl reads it.

Between :mod:`kutter.apiserver.openapi` and client-go's ``OpenAPISchema``, which decodes protobuf
whatever it is answered. kubectl validates manifests of kind List by it, and asks it for patch
strategies; generators and tools that look for operations find them as in the JSON form.

Numbers are those of google/gnostic's ``OpenAPIv2.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import orjson

from kutter.api.protobuf.wire import BYTES, FIXED64, VARINT, delimited, tag_bytes, varint
from kutter.apiserver.ports import Tree

MEDIA = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# Older clients ask for a type that is not well-formed as a media type.
OLD_MEDIA = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

_TAGS = [tag_bytes(number, BYTES) for number in range(32)]
# Document
_SWAGGER, _INFO, _PATHS, _DEFINITIONS, _PARAMETERS = 1, 2, 8, 9, 10
_SECURITY, _SECURITY_DEFINITIONS = 12, 13
# Schema
_REF, _FORMAT, _DESCRIPTION, _REQUIRED, _ENUM, _ADDITIONAL = 1, 2, 4, 19, 20, 21
_TYPE, _ITEMS, _ALL_OF, _PROPERTIES, _EXTENSION = 22, 23, 24, 25, 31
_SCHEMA_TEXTS = {"title": 3, "pattern": 13}
_SCHEMA_NUMBERS = {
    "multipleOf": 6,
    "maximum": 7,
    "minimum": 9,
}
_SCHEMA_COUNTS = {
    "exclusiveMaximum": 8,
    "exclusiveMinimum": 10,
    "maxLength": 11,
    "minLength": 12,
    "maxItems": 14,
    "minItems": 15,
    "uniqueItems": 16,
    "maxProperties": 17,
    "minProperties": 18,
}
_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}
_ITEM_PARAMETERS = 9
# Operation: lists of texts by their number.
_LISTS = {"tags": 1, "produces": 6, "consumes": 7, "schemes": 10}
# Query and path parameters differ in where their type and uniqueItems are.
_TYPE_OF = {"query": (3, 6, 20), "path": (4, 5, 19)}
# An AdditionalPropertiesItem's boolean is its second field.
_TRUE, _FALSE = b"\x10\x01", b"\x10\x00"
# Named values are (1: name, 2: value); an Any's text is YAML, of which JSON is a part.
_NAME, _VALUE, _YAML = 1, 2, 2


def encode_document(document: Tree) -> bytes:
    """A document as an ``openapi.v2.Document``."""
    info = document["info"]
    paths = (_named(path, _path_item(item)) for path, item in document.get("paths", {}).items())
    named = (_named(name, encode_schema(s)) for name, s in document["definitions"].items())
    parts = [
        _text(_SWAGGER, document["swagger"]),
        _field(_INFO, _text(1, info["title"]) + _text(2, info["version"])),
        _field(_PATHS, _repeated(2, paths)),
        _field(_DEFINITIONS, _repeated(1, named)),
    ]
    if parameters := document.get("parameters"):
        shared = (_named(name, _parameter(one)) for name, one in parameters.items())
        parts.append(_field(_PARAMETERS, _repeated(1, shared)))
    for wanted in document.get("security", ()):
        schemes = (_named(name, _texts(1, scopes)) for name, scopes in wanted.items())
        parts.append(_field(_SECURITY, _repeated(1, schemes)))
    if found := document.get("securityDefinitions"):
        keys = (_named(name, _field(2, _api_key(one))) for name, one in found.items())
        parts.append(_field(_SECURITY_DEFINITIONS, _repeated(1, keys)))
    return b"".join(parts)


def _api_key(scheme: Tree) -> bytes:
    made = _text(1, scheme["type"]) + _text(2, scheme["name"]) + _text(3, scheme["in"])
    text = scheme.get("description")
    return made + _text(4, text) if text else made


def _path_item(item: Tree) -> bytes:
    parts = [
        _field(_METHODS[method], _operation(operation))
        for method, operation in item.items()
        if method in _METHODS
    ]
    parts += [
        _field(_ITEM_PARAMETERS, _parameter_or_reference(one)) for one in item.get("parameters", ())
    ]
    return b"".join(parts)


def _operation(operation: Tree) -> bytes:
    parts: list[bytes] = []
    for key, value in operation.items():
        if key in _LISTS:
            parts.append(_texts(_LISTS[key], value))
        elif key == "description":
            parts.append(_text(3, value))
        elif key == "operationId":
            parts.append(_text(5, value))
        elif key == "parameters":
            parts += [_field(8, _parameter_or_reference(one)) for one in value]
        elif key == "responses":
            named = (_named(code, _field(1, _response(one))) for code, one in value.items())
            parts.append(_field(9, _repeated(1, named)))
        elif key == "deprecated" and value:
            parts.append(_count(11, 1))
        elif key.startswith("x-"):
            parts.append(_field(13, _named(key, _any(value))))
    return b"".join(parts)


def _response(response: Tree) -> bytes:
    made = _text(1, response.get("description", ""))
    schema = response.get("schema")
    return made if schema is None else made + _field(2, _field(1, encode_schema(schema)))


def _parameter_or_reference(one: Tree) -> bytes:
    reference = one.get("$ref")
    return _field(2, _text(1, reference)) if reference else _field(1, _parameter(one))


def _parameter(one: Tree) -> bytes:
    text = _text(1, one["description"]) if one.get("description") else b""
    if one["in"] == "body":
        body = text + _text(2, one["name"]) + _text(3, "body")
        if one.get("required"):
            body += _count(4, 1)
        return _field(1, body + _field(5, encode_schema(one["schema"])))
    kind, type_number, unique_number = _TYPE_OF.get(one["in"], _TYPE_OF["query"])
    made = _count(1, 1) if one.get("required") else b""
    made += _text(2, one["in"])
    if one.get("description"):
        made += _text(3, one["description"])
    made += _text(4, one["name"]) + _text(type_number, one.get("type", "string"))
    if one.get("uniqueItems"):
        made += _count(unique_number, 1)
    return _field(2, _field(kind, made))


def encode_schema(schema: Tree) -> bytes:
    """One schema. A reference with facts beside it carries both, as upstream's does."""
    parts: list[bytes] = []
    for key, value in schema.items():
        match key:
            case "$ref":
                parts.append(_text(_REF, value))
            case "allOf":
                # Ours are references with siblings, which is how upstream's carry facts.
                parts += [
                    _text(_REF, part["$ref"])
                    if "$ref" in part
                    else _field(_ALL_OF, encode_schema(part))
                    for part in value
                ]
            case "format":
                parts.append(_text(_FORMAT, value))
            case "description":
                parts.append(_text(_DESCRIPTION, value))
            case "enum":
                parts += [_field(_ENUM, _any(item)) for item in value]
            case "type":
                parts.append(_field(_TYPE, _text(1, value)))
            case "required":
                parts += [_text(_REQUIRED, name) for name in value]
            case "items":
                parts.append(_field(_ITEMS, _field(1, encode_schema(value))))
            case "additionalProperties" if isinstance(value, bool):
                parts.append(_field(_ADDITIONAL, _TRUE if value else _FALSE))
            case "additionalProperties":
                parts.append(_field(_ADDITIONAL, _field(1, encode_schema(value))))
            case "properties":
                named = (_named(name, encode_schema(s)) for name, s in value.items())
                parts.append(_field(_PROPERTIES, _repeated(1, named)))
            case _ if key.startswith("x-"):
                parts.append(_field(_EXTENSION, _named(key, _any(value))))
            case _ if key in _SCHEMA_TEXTS:
                parts.append(_text(_SCHEMA_TEXTS[key], value))
            case _ if key in _SCHEMA_COUNTS:
                parts.append(_count(_SCHEMA_COUNTS[key], int(value)))
            case _ if key in _SCHEMA_NUMBERS:
                parts.append(_double(_SCHEMA_NUMBERS[key], float(value)))
    return b"".join(parts)


def _any(value: Any) -> bytes:
    return _field(_YAML, orjson.dumps(value))


def _named(name: str, value: bytes) -> bytes:
    return _text(_NAME, name) + _field(_VALUE, value)


def _repeated(number: int, values: Iterable[bytes]) -> bytes:
    return b"".join(_field(number, value) for value in values)


def _count(number: int, value: int) -> bytes:
    return tag_bytes(number, VARINT) + varint(value)


def _double(number: int, value: float) -> bytes:
    return tag_bytes(number, FIXED64) + struct.pack("<d", value)


def _texts(number: int, texts: Iterable[str]) -> bytes:
    return b"".join(_text(number, text) for text in texts)


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _field(number: int, content: bytes) -> bytes:
    return delimited(_TAGS[number], content)
