"""Rules of custom schemas over documents: texts, transitions, ratcheting, budgets."""

from __future__ import annotations

from typing import Any

import pytest

from kutter.api.custom import expressions
from kutter.api.custom.expressions import compile_rules, find_rule_errors

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}


def schema(rules: list[dict[str, Any]], **properties: Any) -> dict[str, Any]:
    spec = {"type": "object", "properties": properties, "x-kubernetes-validations": rules}
    return {"type": "object", "properties": {"spec": spec}}


def check(schema: dict[str, Any], new: Any, old: Any = None) -> tuple[list[str], list[str]]:
    rules = compile_rules(schema, root=True)
    assert rules is not None
    wrap = {"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "n"}}
    before = None if old is None else {**wrap, "spec": old}
    errors, warnings, _ = find_rule_errors(rules, {**wrap, "spec": new}, before)
    return [str(error) for error in errors], warnings


def test_a_schema_without_rules_has_nothing() -> None:
    assert compile_rules({"type": "object", "properties": {"a": TEXT}}, root=True) is None


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"rule": "self.a < self.b"}, "spec: Invalid value: failed rule: self.a < self.b"),
        ({"rule": "self.a < self.b", "message": " too big "}, "spec: Invalid value: too big"),
        (
            {"rule": "self.a < self.b", "messageExpression": "'a is ' + string(self.a)"},
            "spec: Invalid value: a is 5",
        ),
        (
            {"rule": "self.a < self.b", "messageExpression": "self.t", "message": "empty"},
            "spec: Invalid value: empty",
        ),
        (
            {"rule": "self.a < self.b", "messageExpression": "'x\\ny'"},
            "spec: Invalid value: failed rule: self.a < self.b",
        ),
        (
            {"rule": "self.a < self.b", "fieldPath": ".a", "reason": "FieldValueForbidden"},
            "spec.a: Forbidden: failed rule: self.a < self.b",
        ),
        (
            {"rule": "self.a < self.b", "reason": "FieldValueRequired", "message": "b"},
            "spec: Required value: b",
        ),
        (
            {"rule": "self.a < self.b", "reason": "FieldValueDuplicate"},
            "spec: Duplicate value",
        ),
        (
            {"rule": "self.missing > 1"},
            'spec: Invalid value: "object": no such key: missing evaluating rule: self.missing > 1',
        ),
        (
            {"rule": "self.either > 1"},
            (
                "spec: Invalid value: \"object\": 'no such overload': call arguments did not match a "
                "supported operator, function or macro signature for rule: self.either > 1"
            ),
        ),
    ],
)
def test_how_failures_read(rule: dict[str, Any], expected: str) -> None:
    either = {"x-kubernetes-int-or-string": True}
    made = schema([rule], a=NUMBER, b=NUMBER, t=TEXT, missing=NUMBER, either=either)
    assert check(made, {"a": 5, "b": 1, "t": "", "either": "x"})[0] == [expected]


def test_a_scalar_is_shown_and_a_root_has_no_path() -> None:
    made = schema([], a={**NUMBER, "x-kubernetes-validations": [{"rule": "self < 3"}]})
    assert check(made, {"a": 7})[0] == ["spec.a: Invalid value: 7: failed rule: self < 3"]
    made["x-kubernetes-validations"] = [{"rule": "self.metadata.name == self.spec.t"}]
    made["properties"]["spec"]["properties"]["t"] = TEXT
    assert check(made, {"t": "m"})[0] == [
        "<nil>: Invalid value: failed rule: self.metadata.name == self.spec.t"
    ]


def test_rules_see_what_the_schema_says() -> None:
    made = schema(
        [
            {"rule": "self.when < timestamp('2030-01-01T00:00:00Z')"},
            {"rule": "self.wait <= duration('2h')"},
            {"rule": "self.data == b'abc'"},
            {"rule": "self.ratio == 2.0"},
            {"rule": "self.__namespace__ == 'x' && self.a__dash__b == 1 && has(self.__if__)"},
            {"rule": "self.set == ['b', 'a']"},
            {"rule": "(self.keyed + [self.keyed[0]]).size() == 2"},
            {"rule": "!has(self.nothing)"},
            {"rule": "self.labels['x/y'] == 'z' && self.labels.all(k, k.contains('/'))"},
            {"rule": "type(self.either) == int ? self.either < 5 : self.either.endsWith('%')"},
            {"rule": "self.times.all(t, t.getFullYear() == 2020)"},
        ],
        when={**TEXT, "format": "date-time"},
        wait={**TEXT, "format": "duration"},
        data={**TEXT, "format": "byte"},
        ratio={"type": "number"},
        namespace=TEXT,
        **{"a-b": NUMBER, "if": TEXT},
        set={"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
        keyed={
            "type": "array",
            "items": {"type": "object", "properties": {"n": TEXT}},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["n"],
        },
        nothing={**TEXT, "nullable": True},
        labels={"type": "object", "additionalProperties": TEXT},
        either={"x-kubernetes-int-or-string": True},
        times={"type": "array", "items": {**TEXT, "format": "date"}},
    )
    document = {
        "when": "2020-01-01T00:00:00Z",
        "wait": "1h",
        "data": "YWJj",
        "ratio": 2,
        "namespace": "x",
        "a-b": 1,
        "if": "",
        "set": ["a", "b"],
        "keyed": [{"n": "a"}, {"n": "b"}],
        "nothing": None,
        "labels": {"x/y": "z"},
        "either": "50%",
        "times": ["2020-02-03"],
    }
    assert check(made, document) == ([], [])


def test_transition_rules_wait_for_an_old_value() -> None:
    rule = {"rule": "self.a >= oldSelf.a", "message": "may only grow"}
    made = schema([rule], a=NUMBER)
    assert check(made, {"a": 1})[0] == []
    assert check(made, {"a": 1}, {"a": 2})[0] == ["spec: Invalid value: may only grow"]
    assert check(made, {"a": 3}, {"a": 2})[0] == []


def test_optional_old_self_is_looked_at_on_create_too() -> None:
    rule = {"rule": "oldSelf.hasValue() || self.a == 0", "optionalOldSelf": True}
    made = schema([rule], a=NUMBER)
    assert len(check(made, {"a": 1})[0]) == 1
    assert check(made, {"a": 0})[0] == []
    assert check(made, {"a": 1}, {"a": 0})[0] == []


def test_items_are_told_apart_by_their_keys() -> None:
    item = {
        "type": "object",
        "properties": {"n": TEXT, "v": NUMBER},
        "x-kubernetes-validations": [{"rule": "self.v == oldSelf.v", "message": "immutable"}],
    }
    keyed = {
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["n"],
    }
    made = schema([], list=keyed, map={"type": "object", "additionalProperties": item})
    old = {"list": [{"n": "a", "v": 1}, {"n": "b", "v": 2}], "map": {"x": {"v": 1}}}
    new = {"list": [{"n": "b", "v": 2}, {"n": "a", "v": 9}], "map": {"x": {"v": 2}, "y": {"v": 1}}}
    assert check(made, new, old)[0] == [
        "spec.list[1]: Invalid value: immutable",
        "spec.map[x]: Invalid value: immutable",
    ]


def test_unchanged_faults_are_warnings() -> None:
    inner = {
        "type": "object",
        "properties": {"v": NUMBER},
        "x-kubernetes-validations": [{"rule": "self.v < 5", "message": "too much"}],
    }
    made = schema(
        [],
        one=inner,
        other=NUMBER,
        atoms={"type": "array", "items": inner},
    )
    old = {"one": {"v": 9}, "other": 1, "atoms": [{"v": 9}]}
    new = {"one": {"v": 9}, "other": 2, "atoms": [{"v": 9}]}
    errors, warnings = check(made, new, old)
    # Items of an atomic list are judged by the list: it did not change either.
    assert errors == []
    assert warnings == [
        "spec.one: Invalid value: too much",
        "spec.atoms[0]: Invalid value: too much",
    ]
    errors, warnings = check(made, {**new, "one": {"v": 8}, "atoms": [{"v": 9}, {"v": 1}]}, old)
    assert errors == [
        "spec.one: Invalid value: too much",
        "spec.atoms[0]: Invalid value: too much",
    ]
    assert warnings == []


def test_transition_rules_do_not_ratchet() -> None:
    made = schema([{"rule": "self.a > oldSelf.a"}], a=NUMBER)
    assert check(made, {"a": 1}, {"a": 1}) == (
        ["spec: Invalid value: failed rule: self.a > oldSelf.a"],
        [],
    )


def test_an_old_value_of_another_type_is_an_error_and_no_crash() -> None:
    made = schema([{"rule": "self.a >= oldSelf.a"}], a=NUMBER)
    assert "'no such overload'" in check(made, {"a": 1}, {"a": "one"})[0][0]
    made = schema([{"rule": "oldSelf.a.size() < 3"}], a={"type": "array", "items": TEXT})
    assert "'no such overload'" in check(made, {"a": []}, {"a": 7})[0][0]


def test_one_call_and_one_object_have_budgets() -> None:
    names = {"type": "array", "items": TEXT}
    rule = {"rule": "self.l.all(a, self.l.all(b, self.l.all(c, a + b + c != 'x')))"}
    made = schema([rule], l=names)
    found = check(made, {"l": ["a"] * 100})[0]
    assert found == [
        (
            "spec: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no "
            f"further validation rules will be run due to call cost exceeds limit for rule: "
            f"{rule['rule']}"
        )
    ]
    rules = compile_rules(
        schema([{"rule": "self.l.all(a, self.l.all(b, a + b != 'x'))"}], l=names), root=True
    )
    assert rules is not None
    errors, _, left = find_rule_errors(rules, {"spec": {"l": ["a"] * 30}}, None, budget=2000)
    assert left < 0
    assert [str(error) for error in errors] == [
        (
            'spec: Invalid value: "object": validation failed due to running out of cost budget, no '
            "further validation rules will be run"
        )
    ]


def test_compiled_rules_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "_COMPILED", {})
    monkeypatch.setattr(expressions, "_COMPILED_LIMIT", 5)

    def made(number: int) -> Any:
        rules = [{"rule": f"self.a > {number}"}, {"rule": "self.a < 9"}]
        return compile_rules(schema(rules, a=NUMBER), root=True)

    first = made(1)
    assert made(1) is first
    assert [made(2), made(1)][1] is first
    made(3)
    # The third did not fit beside two others: the one not asked for longest went.
    assert made(1) is first
    assert sum(rules.count for rules in expressions._COMPILED.values()) <= 5
