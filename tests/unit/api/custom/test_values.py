"""Value rules: the words, formats, numbers and what ratcheting forgives."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kutter.api.custom.embedded import find_embedded_errors
from kutter.api.custom.formats import FORMATS
from kutter.api.custom.patterns import PatternError, compile_pattern
from kutter.api.custom.values import UNRELATED, check_patterns, compile_values, go_number


def errors(schema: dict[str, Any], value: Any, old: Any = UNRELATED) -> list[str]:
    found: list[Any] = []
    compile_values({"type": "object", "properties": {"a": schema}})({"a": value}, old, "", found)
    return [str(e) for e in found]


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        (
            {"minimum": 1, "exclusiveMinimum": True},
            1,
            "a: Invalid value: 1: a in body should be greater than 1",
        ),
        (
            {"maximum": 1e6},
            2_000_000,
            "a: Invalid value: 2000000: a in body should be less than or equal to 1e+06",
        ),
        ({"multipleOf": 0.5}, 1.3, "a: Invalid value: 1.3: a in body should be a multiple of 0.5"),
        ({"minLength": 2}, "é", 'a: Invalid value: "é": a in body should be at least 2 chars long'),
        ({"maxLength": 2}, "abc", "a: Too long: may not be more than 2 bytes"),
        ({"maxItems": 1}, [1, 2], "a: Too many: 2: must have at most 1 item"),
        ({"minItems": 1}, [], "a: Invalid value: 0: a in body should have at least 1 items"),
        (
            {"minProperties": 1},
            {},
            "a: Invalid value: 0: a in body should have at least 1 properties",
        ),
        ({"maxProperties": 0}, {"x": 1}, "a: Too many: 1: must have at most 0 items"),
        ({"enum": [1, "b"]}, 2, 'a: Unsupported value: 2: supported values: "1", "b"'),
        (
            {"type": "string"},
            None,
            'a: Invalid value: "null": a in body must be of type string: "null"',
        ),
        (
            {"type": "integer", "format": "int32"},
            1 << 31,
            '<nil>: Invalid value: "": Checked value must be of type integer with format int32 in a',
        ),
        (
            {"oneOf": [{"required": ["x"]}, {"required": ["y"]}]},
            {"x": 1, "y": 1},
            (
                '<nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found 2 '
                "valid alternatives"
            ),
        ),
        (
            {"not": {"required": ["x"]}},
            {"x": 1},
            '<nil>: Invalid value: "": "a" must not validate the schema (not)',
        ),
    ],
)
def test_words(schema: dict[str, Any], value: Any, expected: str) -> None:
    assert errors(schema, value) == [expected]


def test_any_of_tells_what_came_closest() -> None:
    schema = {"anyOf": [{"required": ["x", "y"]}, {"required": ["x"]}]}
    assert errors(schema, {}) == [
        '<nil>: Invalid value: "": "a" must validate at least one schema (anyOf)',
        "a.x: Required value",
    ]


def test_numbers_and_booleans_are_different_things() -> None:
    assert errors({"type": "integer"}, 3.0) == []
    assert errors({"type": "number"}, 3) == []
    assert errors({"type": "integer"}, True) != []
    assert errors({"enum": [1]}, True) != []
    # An old ``1`` does not excuse a new ``true``.
    assert errors({"type": "integer"}, True, {"a": 1}) != []


def test_ratcheting() -> None:
    strict = {"type": "string", "maxLength": 1}
    assert errors(strict, "long", {"a": "long"}) == []
    assert errors(strict, "longer", {"a": "long"}) != []
    items = {
        "type": "array",
        "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": strict}},
    }
    old = {"a": [{"k": "x", "v": "long"}]}
    new = [{"k": "y", "v": "s"}, {"k": "x", "v": "long"}]
    assert errors(items, new, old) != [], "items of an atomic list have no past"
    keyed = {**items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    assert errors(keyed, new, old) == []


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date-time", "2026-01-02T03:04:05Z", "2026-01-02 03:04:05"),
        ("date", "2026-02-28", "2026-02-30"),
        ("byte", "aGk=", "aGk"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
        ("ipv4", "10.0.0.1", "::1"),
        ("ipv6", "::1", "10.0.0.1"),
        ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("email", "a@example.com", "a.example.com"),
        ("hostname", "a.example.com", "-a"),
        ("uri", "https://example.com/x", "example com"),
        ("duration", "1h30m", "soon"),
        ("mac", "00:1b:44:11:3a:b7", "00:1b"),
        ("k8s-short-name", "web-1", "Web"),
    ],
)
def test_formats(name: str, good: str, bad: str) -> None:
    assert FORMATS[name](good)
    assert not FORMATS[name](bad)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"^a$", "a", "a\n"),
        (r"\Aab\z", "ab", "abc"),
        (r"^[[:alpha:]]+$", "abc", "ab1"),
        (r"^[^]]+$", "ab", "a]"),
        (r"^(?i)a", "A", "b"),
        (r"^[]a]+$", "]a", "b"),
    ],
)
def test_patterns_are_gos(pattern: str, good: str, bad: str) -> None:
    assert compile_pattern(pattern).matches(good)
    assert not compile_pattern(pattern).matches(bad)


def test_patterns_find_what_gos_find() -> None:
    assert compile_pattern("é+").find("caféé au lait") == "éé"
    assert compile_pattern("x").find("abc") is None
    assert list(compile_pattern("[ab]*").find_all("aab--b")) == ["aab", "", "b"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "missing closing ): `(`"),
        ("[a", "missing closing ]: `[a`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("*a", "missing argument to repetition operator: `*`"),
        (r"(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        (r"(a)\1", "invalid escape sequence: `\\1`"),
        (r"\C", "invalid escape sequence: `\\C`"),
        ("\\", "trailing backslash at end of expression: ``"),
    ],
)
def test_patterns_go_has_not(pattern: str, message: str) -> None:
    with pytest.raises(PatternError, match=f"^error parsing regexp: {re.escape(message)}$"):
        compile_pattern(pattern)


@pytest.mark.timeout(20)
def test_no_pattern_holds_up_the_server() -> None:
    # An engine that backtracks would need 2^40 steps here.
    assert not compile_pattern("^(a|a)*$").matches("a" * 40 + "b")


def test_numbers_as_go_prints_them() -> None:
    shown = [go_number(n) for n in (0, 10, -3, 0.5, 1e6, 123456789, 1234567.5, 0.00001, 1e21)]
    assert shown == [
        *("0", "10", "-3", "0.5", "1e+06", "1.23456789e+08", "1.2345675e+06", "1e-05", "1e+21")
    ]


def test_embedded_objects_have_a_head() -> None:
    schema = {"properties": {"a": {"type": "object", "x-kubernetes-embedded-resource": True}}}
    found = [str(e) for e in find_embedded_errors(schema, {"a": {"kind": "9"}})]
    assert found[0] == "a.apiVersion: Required value"
    assert found[1].startswith('a.kind: Invalid value: "9": may have mixed case')
    good = {"a": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}}
    assert find_embedded_errors(schema, good) == []


def test_a_bad_pattern_is_found_wherever_it_stands() -> None:
    """Checks are compiled when they are first needed, which is too late to refuse a definition."""
    bad = {"type": "string", "pattern": "(?<name"}
    for schema in (
        {"properties": {"a": {"items": bad}}},
        {"additionalProperties": {"oneOf": [{}, bad]}},
        {"not": {"allOf": [bad]}},
    ):
        compile_values({"type": "object", "properties": {"deep": schema}})
        with pytest.raises(PatternError):
            check_patterns(schema)
    check_patterns({"properties": {"pattern": {"type": "string", "pattern": "^a+$"}}})
