"""The OpenAPI v2 document in protobuf, the one form in which kubectl reads it.

Between :mod:`kutter.apiserver.openapi` and client-go's ``OpenAPISchema``, which decodes protobuf
whatever it is answered. kubectl validates manifests of kind List by it, and asks it for patch
strategies. Only definitions are carried: who looks at paths reads the JSON form, or v3.

Numbers are those of google/gnostic's ``OpenAPIv2.proto``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from kutter.api.protobuf.wire import BYTES, delimited, tag_bytes
from kutter.apiserver.ports import Tree

MEDIA = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# Older clients ask for a type that is not well-formed as a media type.
_WANTED = (MEDIA, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")

_TAGS = [tag_bytes(number, BYTES) for number in range(32)]
# Document
_SWAGGER, _INFO, _PATHS, _DEFINITIONS = 1, 2, 8, 9
# Schema
_REF, _FORMAT, _REQUIRED, _ADDITIONAL = 1, 2, 19, 21
_TYPE, _ITEMS, _PROPERTIES, _EXTENSION = 22, 23, 25, 31
# Named values are (1: name, 2: value); an Any's text is YAML, of which JSON is a part.
_NAME, _VALUE, _YAML = 1, 2, 2


def wants_protobuf(accept: str) -> bool:
    """Whether an ``Accept`` header asks for this form."""
    return any(media in accept for media in _WANTED)


def encode_document(document: Tree) -> bytes:
    """The document's definitions as an ``openapi.v2.Document``."""
    info = document["info"]
    named = (_named(name, encode_schema(s)) for name, s in document["definitions"].items())
    return b"".join(
        (
            _text(_SWAGGER, document["swagger"]),
            _field(_INFO, _text(1, info["title"]) + _text(2, info["version"])),
            _field(_PATHS, b""),
            _field(_DEFINITIONS, _repeated(1, named)),
        )
    )


def encode_schema(schema: Tree) -> bytes:
    """One schema. A reference with facts beside it carries both, as upstream's does."""
    parts: list[bytes] = []
    for key, value in schema.items():
        match key:
            case "$ref":
                parts.append(_text(_REF, value))
            case "allOf":
                # Version 2 has no other use for it here than a reference with siblings.
                parts += [_text(_REF, part["$ref"]) for part in value]
            case "format":
                parts.append(_text(_FORMAT, value))
            case "type":
                parts.append(_field(_TYPE, _text(1, value)))
            case "required":
                parts += [_text(_REQUIRED, name) for name in value]
            case "items":
                parts.append(_field(_ITEMS, _field(1, encode_schema(value))))
            case "additionalProperties":
                parts.append(_field(_ADDITIONAL, _field(1, encode_schema(value))))
            case "properties":
                named = (_named(name, encode_schema(s)) for name, s in value.items())
                parts.append(_field(_PROPERTIES, _repeated(1, named)))
            case _ if key.startswith("x-"):
                parts.append(_field(_EXTENSION, _named(key, _any(value))))
    return b"".join(parts)


def _any(value: Any) -> bytes:
    return _field(_YAML, orjson.dumps(value))


def _named(name: str, value: bytes) -> bytes:
    return _text(_NAME, name) + _field(_VALUE, value)


def _repeated(number: int, values: Iterable[bytes]) -> bytes:
    return b"".join(_field(number, value) for value in values)


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _field(number: int, content: bytes) -> bytes:
    return delimited(_TAGS[number], content)
