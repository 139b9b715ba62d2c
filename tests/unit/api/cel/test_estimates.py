"""Estimated costs by the sizes a schema allows: the numbers are those upstream refuses by.

Each row: a schema, a rule on it, its most without a bound, a bound, its most with that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kutter.api.cel.kubernetes import environment
from kutter.api.cel.objects import type_of_schema
from kutter.api.cel.types import DYN

Make = Callable[[int | None], dict[str, Any]]


def kind(name: str) -> dict[str, Any]:
    if name == "int-or-string":
        return {"x-kubernetes-int-or-string": True}
    if name in ("duration", "date", "date-time", "byte"):
        return {"type": "string", "format": name}
    return {"type": name}


def bounded(schema: dict[str, Any], key: str, most: int | None) -> dict[str, Any]:
    return schema if most is None else {**schema, key: most}


def array(items: dict[str, Any]) -> Make:
    return lambda most: bounded({"type": "array", "items": items}, "maxItems", most)


def mapping(values: dict[str, Any]) -> Make:
    schema = {"type": "object", "additionalProperties": values}
    return lambda most: bounded(schema, "maxProperties", most)


def text(**more: Any) -> Make:
    return lambda most: bounded({"type": "string", **more}, "maxLength", most)


OBJECT = {
    "type": "object",
    "properties": {"required": {"type": "string"}, "optional": {"type": "string"}},
    "required": ["required"],
}


def texts(most: int | None) -> dict[str, Any]:
    return bounded({"type": "array", "items": text()(most)}, "maxItems", most)


def named(most: int | None) -> dict[str, Any]:
    return bounded({"type": "object", "additionalProperties": text()(most)}, "maxProperties", most)


def nested(most: int | None) -> dict[str, Any]:
    return array(mapping(OBJECT)(most))(most)


def replacing(most: int | None) -> dict[str, Any]:
    parts = {"str": text()(most), "before": text()(2), "after": text()(4)}
    return {"type": "object", "properties": parts}


def splitting(most: int | None) -> dict[str, Any]:
    parts = {"str": text()(most), "separator": text()(most)}
    return {"type": "object", "properties": parts}


ROWS: list[tuple[Make, str, int, int, int]] = [
    (array(kind("number")), "self.all(x, true)", 4718591, 10, 32),
    (array(kind("string")), "self.all(x, true)", 3145727, 20, 62),
    (array(kind("boolean")), "self.all(x, true)", 1887437, 5, 17),
    (array(array(kind("number"))(None)), "self.all(x, true)", 3145727, 100, 302),
    (array(OBJECT), "self.all(x, true)", 555128, 50, 152),
    (mapping(kind("number")), "self.all(x, true)", 1348169, 10, 32),
    (mapping(kind("string")), "self.all(x, true)", 1179647, 3, 11),
    (mapping(kind("boolean")), "self.all(x, true)", 943718, 100, 302),
    (text(), "self.contains('test')", 314574, 10, 5),
    (text(), "self.startsWith('test')", 2, 15, 2),
    (text(), "self.endsWith('test')", 2, 30, 2),
    (text(), 'size(self + "hello") > size("hello")', 314578, 4, 7),
    (array(kind("number")), "self[1] == 0.0", 2, 5000, 2),
    (array(kind("string")), "self[1] == self[1]", 314577, 8, 314577),
    (array(kind("number")), "self.all(x, self.all(y, true))", 0, 10, 352),
    (array(kind("number")), "self.all(x, self.all(y, self.all(z, true)))", 0, 10, 3552),
    (text(), 'self.matches("x")', 314574, 50, 22),
    (text(), '"".matches("(((((((((())))))))))[0-9]")', 7, 10, 7),
    (text(), 'self.matches("")', 1, 100, 1),
    (named, "self.all(x, x.contains(self[x]))", 2752507, 10, 72),
    (array(kind("number")), "self[3] == 0.0", 2, 0, 2),
    (mapping(kind("number")), 'self["x"] == 0.0', 2, 0, 2),
    (text(), 'self == "x"', 2, 0, 1),
    (text(format="byte"), 'self == b"x"', 2, 0, 1),
    (array(kind("number")), "self.all(x, x == 0.0)", 6291454, 3 * 1024 * 2048, 25165826),
    (nested, 'self.all(x, x["y"].required == "z")', 7340027, 10, 72),
    (array(kind("int-or-string")), "self.all(x, true)", 4718591, 10, 32),
    (array(kind("int-or-string")), "self[0] == 5", 3, 10, 3),
    (array(kind("boolean")), "self[0] == false", 2, 25, 2),
    (array(OBJECT), "self[0] == null", 2, 422, 2),
    (array(array(kind("number"))(None)), "self[0][0] == -1.0", 3, 51, 3),
    (array(mapping(kind("number"))(None)), "self.all(x, x.y == 25.2)", 6291452, 12, 74),
    (array(mapping(kind("number"))(None)), "self[0].x > 2.0", 4, 3000, 4),
    (array(kind("duration")), "self.all(x, true)", 2359295, 5, 17),
    (array(kind("duration")), "self[0].getHours() == 2", 4, 525, 4),
    (array(kind("date")), "self.all(x, true)", 725936, 15, 47),
    (array(kind("date-time")), "self.all(x, true)", 428963, 25, 77),
    (mapping(kind("int-or-string")), "self.all(x, true)", 1348169, 15, 47),
    (mapping(OBJECT), "self.all(x, true)", 428963, 20, 62),
    (mapping(mapping(kind("number"))(None)), "self.all(x, true)", 1179647, 10, 32),
    (mapping(array(kind("number"))(None)), "self.all(x, true)", 1179647, 25, 77),
    (mapping(kind("duration")), "self.all(x, true)", 1048577, 5, 17),
    (mapping(kind("date")), "self.all(x, true)", 524288, 10, 32),
    (mapping(kind("date-time")), "self.all(x, true)", 349526, 25, 77),
    (text(), "self.find('[0-9]+') == ''", 629147, 10, 11),
    (texts, "self.join(' ') == 'aa bb'", 329853068905, 10, 43),
    (texts, "self.isSorted() == true", 329854432052, 10, 52),
    (
        replacing,
        "self.str.replace(self.before, self.after) == 'does not matter'",
        629154,
        4,
        12,
    ),
    (splitting, "self.str.split(self.separator) == []", 629160, 10, 22),
    (text(), "self.lowerAscii() == 'lower!'", 314575, 10, 6),
    (mapping(kind("integer")), "oldSelf.size() == self.size()", 5, 10, 5),
    (mapping(kind("date-time")), 'self["a"] == self["b"]', 8, 7, 8),
    (mapping(kind("duration")), 'self["c"] == self["d"]', 8, 42, 8),
    (text(enum=["A", "B", "C", "LongValue"]), "self.contains('A')", 2, 1000, 401),
]


def most(schema: dict[str, Any], rule: str) -> int:
    found = type_of_schema(schema)
    assert found is not None
    program = environment({"self": found, "oldSelf": found}).compile(rule)
    return program.estimated_cost().most


@pytest.mark.parametrize(
    ("make", "rule", "unbounded", "bound", "expected"), ROWS, ids=[row[1] for row in ROWS]
)
def test_costs_are_upstreams(
    make: Make, rule: str, unbounded: int, bound: int, expected: int
) -> None:
    if unbounded:
        assert most(make(None), rule) == unbounded
    else:
        assert most(make(None), rule) > 10_000_000
    assert most(make(bound), rule) == expected


def test_what_no_schema_bounds_may_be_as_long_as_it_likes() -> None:
    """Admission's objects have no schema to bound them: nothing is known, not nothing is there."""
    program = environment({"object": DYN}).compile("object.name.matches('a+')")
    assert program.estimated_cost().most > 10**15
