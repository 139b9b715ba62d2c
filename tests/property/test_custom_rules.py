"""Laws of the rules of custom kinds: ratcheting forgives exactly what did not change."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.api.custom.expressions import Rules, compile_rules, find_rule_errors

NUMBER, TEXT = {"type": "integer"}, {"type": "string"}
RULES = "x-kubernetes-validations"
ITEM = {
    "type": "object",
    "properties": {"k": TEXT, "v": NUMBER},
    RULES: [{"rule": "!has(self.v) || self.v < 3", "message": "item"}],
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "n": {**NUMBER, RULES: [{"rule": "self < 3", "message": "n"}]},
                "keyed": {
                    "type": "array",
                    "items": ITEM,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["k"],
                },
                "atoms": {"type": "array", "items": ITEM},
                "named": {"type": "object", "additionalProperties": ITEM},
            },
            RULES: [{"rule": "!has(self.atoms) || size(self.atoms) < 2", "message": "spec"}],
        }
    },
}
_number, _key = st.integers(0, 5), st.sampled_from(["a", "b", "c"])
_item = st.fixed_dictionaries({"k": _key}, optional={"v": _number})
_items = st.lists(_item, max_size=3, unique_by=lambda item: item["k"])
DOCUMENTS = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "n": _number,
                "keyed": _items,
                "atoms": st.lists(_item, max_size=3),
                "named": st.dictionaries(_key, _item, max_size=3),
            },
        )
    }
)


def _compiled() -> Rules:
    made = compile_rules(SCHEMA, root=True)
    assert made is not None
    return made


COMPILED = _compiled()


def judge(new: Any, old: Any = None) -> tuple[list[str], list[str]]:
    errors, warnings, _ = find_rule_errors(COMPILED, new, old)
    return [str(error) for error in errors], warnings


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, DOCUMENTS)
def test_an_update_finds_what_a_create_finds(new: Any, old: Any) -> None:
    """Nothing is lost: what is no error is a warning."""
    errors, warnings = judge(new, old)
    assert sorted(errors + warnings) == sorted(judge(new)[0])


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS)
def test_what_did_not_change_is_never_refused(document: Any) -> None:
    assert judge(document, copy.deepcopy(document))[0] == []


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, _number)
def test_a_change_is_held_against_what_holds_it(document: Any, number: int) -> None:
    """Errors are only told of parts that changed, or of a list without keys around them."""
    new = copy.deepcopy(document)
    new["spec"]["n"] = number
    same = document["spec"].get("n") == number
    errors, _ = judge(new, document)
    assert all(not same for _ in errors)
    assert {error.split(":")[0] for error in errors} <= {"spec", "spec.n"}


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS)
def test_the_order_of_keyed_items_is_no_change(document: Any) -> None:
    new = copy.deepcopy(document)
    new["spec"]["keyed"] = list(reversed(new["spec"].get("keyed", [])))
    document["spec"].setdefault("keyed", [])
    assert judge(new, document)[0] == []


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_rules_change_nothing(document: Any) -> None:
    before = copy.deepcopy(document)
    judge(document, before)
    assert document == before


RULES_OF_ALL_SORTS = (
    "self.n < 3",
    "self.n + 1 > oldSelf.n",
    "self.t < timestamp('2030-01-01T00:00:00Z')",
    "self.d * 2.0 > 1.0",
    "self.s.size() < 4 && self.s.matches('^a')",
    "self.l.all(x, x > 0) || self.l.sum() < 9",
    "self.set == oldSelf.set",
    "(self.keyed + oldSelf.keyed).size() < 4",
    "self.m.all(k, self.m[k].startsWith(k))",
    "self.either == 5 || self.either.endsWith('%')",
    "has(self.o.p) ? self.o.p.q > 1 : true",
    "self.b == b'abc'",
    "oldSelf.?o.?p.hasValue() || self.n > 0",
    "self.w <= duration('1h')",
)
LOOSE: dict[str, Any] = {
    "n": NUMBER,
    "t": {**TEXT, "format": "date-time"},
    "w": {**TEXT, "format": "duration"},
    "b": {**TEXT, "format": "byte"},
    "d": {"type": "number"},
    "s": TEXT,
    "l": {"type": "array", "items": NUMBER},
    "set": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
    "keyed": SCHEMA["properties"]["spec"]["properties"]["keyed"],
    "m": {"type": "object", "additionalProperties": TEXT},
    "either": {"x-kubernetes-int-or-string": True},
    "o": {
        "type": "object",
        "properties": {"p": {"type": "object", "properties": {"q": NUMBER}}},
    },
}
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "a", "2020-01-01T00:00:00Z", "1h", "YWJj", "50%", "9" * 5000]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=4,
)
_anything = st.fixed_dictionaries({}, optional=dict.fromkeys(LOOSE, _json))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(RULES_OF_ALL_SORTS), _anything, _anything | st.none())
def test_no_document_is_more_than_a_rule_can_take(rule: str, new: Any, old: Any) -> None:
    """An old document may be of any shape: it was valid under another schema."""
    spec = {
        "type": "object",
        "properties": LOOSE,
        RULES: [{"rule": rule, "messageExpression": "self.s"}],
    }
    made = compile_rules({"type": "object", "properties": {"spec": spec}}, root=True)
    assert made is not None
    before = None if old is None else {"spec": old}
    errors, _, left = find_rule_errors(made, {"spec": new}, before)
    assert all(error.path.startswith("spec") for error in errors)
    assert left > 0
