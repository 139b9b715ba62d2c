"""What makes a schema structural, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from kutter.api.custom.structural import (
    find_default_errors,
    find_schema_errors,
    find_structural_errors,
)

OBJECT = {"type": "object"}


def errors(below: dict[str, Any]) -> list[str]:
    schema = {"type": "object", "properties": {"a": below}}
    found = find_schema_errors(schema, "s") + find_structural_errors(schema, "s")
    return [str(e) for e in found or find_default_errors(schema, "s")]


@pytest.mark.parametrize(
    "below",
    [
        {"type": "string"},
        {"x-kubernetes-int-or-string": True},
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
        },
        {
            "x-kubernetes-int-or-string": True,
            "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "^a"}],
        },
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "additionalProperties": True},
        {
            "type": "object",
            "properties": {"x": {"type": "string"}},
            "oneOf": [{"required": ["x"]}, {"properties": {"x": {"minLength": 1}}}],
        },
        {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "x-kubernetes-preserve-unknown-fields": True,
        },
        {"type": "integer", "default": 3, "maximum": 3},
        {
            "type": "object",
            "x-kubernetes-validations": [{"rule": "self.x > 1", "message": "too small"}],
        },
    ],
)
def test_structural(below: dict[str, Any]) -> None:
    assert errors(below) == []


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        ({}, "s.properties[a].type: Required value: must not be empty for specified object fields"),
        ({"type": "array"}, "s.properties[a].items: Required value: must be specified"),
        (
            {"type": "array", "items": {}},
            "s.properties[a].items.type: Required value: must not be empty for specified array items",
        ),
        (
            {"type": "object", "anyOf": [{"type": "object"}]},
            "s.properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            {"type": "string", "not": {"nullable": True}},
            "s.properties[a].not.nullable: Forbidden: must be false to be structural",
        ),
        (
            {"type": "string", "pattern": "("},
            (
                's.properties[a].pattern: Invalid value: "(": must be a valid regular expression, but '
                "isn't: error parsing regexp"
            ),
        ),
        (
            {"type": "null"},
            (
                "s.properties[a].type: Forbidden: type cannot be set to null, use nullable as an "
                "alternative"
            ),
        ),
        (
            {"type": "text"},
            (
                's.properties[a].type: Unsupported value: "text": supported values: "array", '
                '"boolean", "integer", "number", "object", "string"'
            ),
        ),
        (
            {
                "type": "object",
                "properties": {"x": {"type": "string"}},
                "additionalProperties": {"type": "string"},
            },
            (
                "s.properties[a].additionalProperties: Forbidden: additionalProperties and properties "
                "are mutual exclusive"
            ),
        ),
        (
            {"type": "array", "items": OBJECT, "x-kubernetes-list-type": "set"},
            (
                "s.properties[a].items.x-kubernetes-map-type: Invalid value: null: must be atomic as "
                "item of a list with x-kubernetes-list-type=set"
            ),
        ),
        (
            {"type": "array", "items": OBJECT, "x-kubernetes-list-type": "map"},
            (
                "s.properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if "
                "x-kubernetes-list-type is map"
            ),
        ),
        (
            {
                "type": "array",
                "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
            },
            (
                "s.properties[a].items.properties[k].default: Required value: this property is in "
                "x-kubernetes-list-map-keys, so it must have a default or be a required property"
            ),
        ),
        (
            {"type": "integer", "default": "x"},
            (
                's.properties[a].default: Invalid value: "string":  in body must be of type '
                'integer: "string"'
            ),
        ),
        (
            {"type": "object", "uniqueItems": True},
            (
                "s.properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the "
                "runtime complexity becomes quadratic"
            ),
        ),
        (
            {"type": "string", "x-kubernetes-validations": [{"rule": " "}]},
            (
                "s.properties[a].x-kubernetes-validations[0].rule: Required value: rule is not "
                "specified"
            ),
        ),
    ],
)
def test_refused(below: dict[str, Any], expected: str) -> None:
    assert any(error.startswith(expected) for error in errors(below)), errors(below)


def test_the_root() -> None:
    def of(schema: dict[str, Any]) -> list[str]:
        return [str(e) for e in find_structural_errors(schema, "s")]

    assert of({}) == ["s.type: Required value: must not be empty at the root"]
    assert of({"type": "string"}) == ['s.type: Invalid value: "string": must be object at the root']
    assert of({"type": "object", "additionalProperties": {"type": "string"}}) == [
        "s.additionalProperties: Forbidden: must not be used at the root"
    ]
    metadata = {"type": "object", "properties": {"labels": {"type": "object"}}}
    assert of({"type": "object", "properties": {"metadata": metadata}}) == [
        (
            "s.properties[metadata]: Forbidden: must not specify anything other than name and "
            "generateName, but metadata is implicitly specified"
        )
    ]
    metadata = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 3}}}
    assert of({"type": "object", "properties": {"metadata": metadata}}) == []
