"""OpenAPI v3 as protobuf, compared with bytes written out by hand from the published numbers."""

from __future__ import annotations

from kutter.apiserver.openapi_v3_protobuf import encode_document, encode_schema


def test_scalars_and_their_defaults() -> None:
    # type is 25, format 35, default 33: of a text its third field, of a number its first.
    made = encode_schema({"type": "string", "default": ""})
    assert made == b"\xca\x01\x06string\x8a\x02\x02\x1a\x00"
    assert encode_schema({"default": 1}) == b"\x8a\x02\x09\x09\x00\x00\x00\x00\x00\x00\xf0?"
    assert encode_schema({"default": True}) == b"\x8a\x02\x02\x10\x01"
    # That there is one is all an object's can tell.
    assert encode_schema({"default": {}}) == b"\x8a\x02\x00"


def test_references_are_told_from_schemas() -> None:
    # items is 30, its one entry 1, of which a schema is 1 and a reference 2.
    assert encode_schema({"items": {"$ref": "#/a"}}) == b"\xf2\x01\x09\x0a\x07\x12\x05\x0a\x03#/a"
    assert encode_schema({"items": {"nullable": True}}) == b"\xf2\x01\x06\x0a\x04\x0a\x02\x08\x01"


def test_a_document_carries_operations_and_schemas() -> None:
    document = {
        "openapi": "3.0.0",
        "info": {"title": "K", "version": "v"},
        "paths": {
            "/p": {"get": {"tags": ["t"], "operationId": "o", "responses": {"401": _refused()}}}
        },
        "components": {"schemas": {"d": {"title": "T"}}},
    }
    assert encode_document(document) == (
        b"\x0a\x053.0.0\x12\x06\x0a\x01K\x32\x01v"
        b"\x22\x22\x0a\x20\x0a\x02/p\x12\x1a\x22\x18\x0a\x01t\x2a\x01o"
        b"\x42\x10\x12\x0e\x0a\x03401\x12\x07\x0a\x05\x0a\x03Bad"
        b"\x2a\x0e\x0a\x0c\x0a\x0a\x0a\x01d\x12\x05\x0a\x03\x4a\x01T"
    )


def _refused() -> dict[str, str]:
    return {"description": "Bad"}
