"""What is asked of rules when a definition is written."""

from __future__ import annotations

from typing import Any

import pytest

from kutter.api.custom.expression_limits import find_expression_errors

TEXT = {"type": "string"}
RULES = "x-kubernetes-validations"


def errors(properties: dict[str, Any], *rules: Any, **more: Any) -> list[str]:
    listed = [rule if isinstance(rule, dict) else {"rule": rule} for rule in rules]
    schema = {"type": "object", "properties": properties, RULES: listed, **more}
    return [str(error) for error in find_expression_errors(schema, "schema")]


def test_what_compiles_and_is_cheap_is_fine() -> None:
    short = {"type": "array", "items": {"type": "string", "maxLength": 10}, "maxItems": 10}
    assert errors({"l": short}, "self.l.all(a, self.l.all(b, a != b || a == b))") == []
    assert errors({"a": TEXT}, "self.metadata.name.size() < 10 && self.kind == 'A'") == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            "self.b == 1",
            (
                'schema.x-kubernetes-validations[0].rule: Invalid value: {"Rule":"self.b == 1","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: '
                "compilation failed: ERROR: <input>:1:5: undefined field 'b'\n | self.b == 1\n | ....^"
            ),
        ),
        ("self.a", "cel expression must evaluate to a bool"),
        (
            {"rule": "true", "messageExpression": "1"},
            "messageExpression must evaluate to a string",
        ),
        (
            {"rule": "true", "messageExpression": "x"},
            "messageExpression compilation failed: ERROR: <input>:1:1: undeclared reference to 'x'",
        ),
        (
            {"rule": "true", "optionalOldSelf": True},
            (
                "schema.x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be "
                "set if oldSelf is not used in rule"
            ),
        ),
        ("self.unknown.x == 1", "undefined field 'unknown'"),
        ("self.a.matches('(')", "invalid matches argument"),
    ],
)
def test_what_does_not_compile(rule: Any, expected: str) -> None:
    loose = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    found = errors({"a": TEXT, "loose": loose}, rule)
    assert len(found) == 1
    assert expected in found[0]


def test_a_rule_may_not_cost_too_much() -> None:
    unbounded = {"type": "array", "items": TEXT}
    found = errors({"l": unbounded}, "self.l.all(a, self.l.all(b, a != b))")
    assert found[0] == (
        "schema.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget "
        "by factor of more than 100x (try simplifying the rule, or adding maxItems, "
        "maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
    assert found[1].startswith(
        "schema.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost "
        "total exceeding cost limit for entire OpenAPIv3 schema"
    )
    assert found[2].startswith(
        "schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire "
        "OpenAPIv3 schema exceeds budget by factor of more than 100x"
    )


def test_costs_multiply_with_what_surrounds_the_rule() -> None:
    item = {"type": "string", "maxLength": 1000, RULES: [{"rule": "self.contains('a')"}]}
    bounded = {"l": {"type": "array", "items": item, "maxItems": 1000}}
    assert errors(bounded) == []
    unbounded = {"l": {"type": "array", "items": item}}
    assert "exceeds budget by factor of" in errors(unbounded)[0]


def test_keys_and_whole_objects_count_for_nothing() -> None:
    """As upstream; the definitions of Gateway API and CloudNativePG rely on it."""
    labels = {"type": "object", "maxProperties": 8, "additionalProperties": TEXT}
    rule = r"""self.all(key, key.matches(r"^(([a-z0-9]+/)?)[A-Za-z0-9]+$"))"""
    assert errors({"labels": {**labels, RULES: [{"rule": rule}]}}) == []
    assert errors({"a": TEXT}, "self == oldSelf") == []


def test_old_values_need_a_place() -> None:
    item = {
        "type": "object",
        "properties": {"n": TEXT},
        RULES: [{"rule": "self.n == oldSelf.n"}],
    }
    found = errors({"l": {"type": "array", "items": item, "maxItems": 5}})
    assert found == [
        (
            "schema.properties[l].items.x-kubernetes-validations[0].rule: Invalid value: "
            '"self.n == oldSelf.n": oldSelf cannot be used on the uncorrelatable portion of the '
            "schema within schema.properties[l]"
        )
    ]
    keyed = {
        "type": "array",
        "items": item,
        "maxItems": 5,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["n"],
    }
    assert errors({"l": keyed}) == []


def test_rules_on_what_expressions_do_not_see() -> None:
    loose = {"x-kubernetes-preserve-unknown-fields": True, RULES: [{"rule": "true"}]}
    found = errors({"x": loose})
    assert found == [
        (
            "schema.properties[x].x-kubernetes-validations: Internal error: internal error: failed "
            "to construct type information for x-kubernetes-validations rules: unable to convert "
            "structural schema to CEL declarations"
        )
    ]
