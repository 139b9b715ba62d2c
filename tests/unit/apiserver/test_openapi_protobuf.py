"""OpenAPI v2 as protobuf, compared with bytes written out by hand from the published numbers."""

from __future__ import annotations

from kutter.apiserver.openapi_protobuf import encode_document, encode_schema


def test_scalars_lists_and_maps() -> None:
    assert encode_schema({"type": "string", "format": "byte"}) == (
        b"\xb2\x01\x08\x0a\x06string\x12\x04byte"
    )
    # items is field 23, its one schema field 1.
    listed = {"type": "array", "items": {"type": "string"}}
    assert encode_schema(listed) == (
        b"\xb2\x01\x07\x0a\x05array\xba\x01\x0d\x0a\x0b\xb2\x01\x08\x0a\x06string"
    )
    mapped = {"additionalProperties": {"type": "string"}}
    assert encode_schema(mapped) == b"\xaa\x01\x0d\x0a\x0b\xb2\x01\x08\x0a\x06string"


def test_a_reference_keeps_the_facts_beside_it() -> None:
    schema = {"allOf": [{"$ref": "#/definitions/a"}], "x-kubernetes-map-type": "atomic"}
    encoded = encode_schema(schema)
    assert encoded.startswith(b"\x0a\x0f#/definitions/a\xfa\x01")
    assert b'\x0a\x15x-kubernetes-map-type\x12\x0a\x12\x08"atomic"' in encoded


def test_properties_are_named_and_required_ones_listed() -> None:
    schema = {"properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert encode_schema(schema) == (
        b"\xca\x01\x12\x0a\x10\x0a\x01a\x12\x0b\xb2\x01\x08\x0a\x06string\x9a\x01\x01a"
    )


def test_a_document_carries_its_definitions() -> None:
    document = {
        "swagger": "2.0",
        "info": {"title": "K", "version": "v"},
        "definitions": {"d": {"$ref": "r"}},
    }
    assert encode_document(document) == (
        b"\x0a\x032.0\x12\x06\x0a\x01K\x12\x01v\x42\x00\x4a\x0a\x0a\x08\x0a\x01d\x12\x03\x0a\x01r"
    )
