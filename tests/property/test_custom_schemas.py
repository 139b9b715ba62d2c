"""Custom schemas: value rules against a JSON schema library, and the laws of pruning, defaults."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.apiserver.kinds.samples import context, sample, strategy

from kutter.api.custom.defaults import compile_defaults
from kutter.api.custom.definition import read_definition
from kutter.api.custom.prune import compile_prune
from kutter.api.custom.structural import find_schema_errors, find_structural_errors
from kutter.api.custom.values import UNRELATED, compile_values
from kutter.api.errors import ApiError
from kutter.api.schema import schema_for
from kutter.api.schema.node import Findings
from kutter.apiserver.custom.kind import CustomKind
from kutter.apiserver.custom.table import CustomPrinter

NAMES = ("a", "b", "c")
TEXTS = st.sampled_from(["", "a", "ab", "abc", "x9", "2020-01-01"])
NUMBERS = st.integers(-3, 8) | st.sampled_from([0.5, 2.5])


def some(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=parts)


RULES = {
    "string": some(
        minLength=st.integers(0, 2),
        maxLength=st.integers(0, 3),
        pattern=st.sampled_from(["^a", "b$", "[0-9]"]),
        enum=st.lists(TEXTS, min_size=1, max_size=3),
    ),
    "integer": some(
        minimum=st.integers(-2, 3), maximum=st.integers(0, 6), multipleOf=st.integers(1, 3)
    ),
    "number": some(minimum=st.integers(-2, 3), maximum=st.integers(0, 6)),
    "boolean": st.just({}),
}


def scalars() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(sorted(RULES)).flatmap(
        lambda kind: st.tuples(RULES[kind], st.booleans()).map(
            lambda made: {"type": kind, **made[0], **({"nullable": True} if made[1] else {})}
        )
    )


def grown(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    bounds = {"minItems": st.integers(0, 2), "maxItems": st.integers(0, 3)}
    lists = st.tuples(inner, some(**bounds)).map(
        lambda made: {"type": "array", "items": made[0], **made[1]}
    )
    maps = st.tuples(inner, some(minProperties=st.integers(0, 2))).map(
        lambda made: {"type": "object", "additionalProperties": made[0], **made[1]}
    )
    return lists | maps | objects(inner)


def objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    needed = st.lists(st.sampled_from(NAMES), unique=True, max_size=2)
    alternatives = st.lists(needed.map(lambda n: {"required": n}), min_size=1, max_size=3)

    def make(parts: tuple[Any, ...]) -> dict[str, Any]:
        properties, required, rules = parts
        made = {"type": "object", "properties": properties, **rules}
        return {**made, "required": required} if required else made

    return st.tuples(
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
        needed,
        some(anyOf=alternatives, oneOf=alternatives, allOf=alternatives),
    ).map(make)


SCHEMAS = objects(st.recursive(scalars(), grown, max_leaves=6))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from((*NAMES, "d")), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from((*NAMES, "d")), VALUES, max_size=4)


def standard(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema in JSON Schema's words: ``nullable`` becomes a type."""
    made = dict(schema)
    if made.pop("nullable", False):
        made["type"] = [made["type"], "null"]
        if "enum" in made:
            # Upstream too wants null among the values then.
            assert None not in made["enum"]
    for key in ("items", "additionalProperties"):
        if key in made:
            made[key] = standard(made[key])
    if "properties" in made:
        made["properties"] = {k: standard(v) for k, v in made["properties"].items()}
    return made


def found(schema: dict[str, Any], value: Any, old: Any = UNRELATED) -> list[str]:
    errors: list[Any] = []
    compile_values(schema)(value, old, "", errors)
    return [str(error) for error in errors]


@given(SCHEMAS, OBJECTS)
@settings(max_examples=150, deadline=None)
def test_documents_pass_where_the_library_lets_them(schema: Any, value: Any) -> None:
    accepted = jsonschema.Draft202012Validator(standard(schema)).is_valid(value)
    assert (found(schema, value) == []) is accepted


@given(SCHEMAS, OBJECTS, OBJECTS)
@settings(max_examples=60, deadline=None)
def test_an_old_document_only_ever_forgives(schema: Any, new: Any, old: Any) -> None:
    assert found(schema, new, new) == []
    assert set(found(schema, new, old)) <= set(found(schema, new)) or "Of" in str(schema)


@given(SCHEMAS, OBJECTS)
@settings(max_examples=60, deadline=None)
def test_pruning_is_done_once_and_told(schema: Any, value: Any) -> None:
    before, findings = copy.deepcopy(value), Findings()
    compile_prune(schema)(value, findings)
    assert (value != before) is bool(findings.unknown)
    again = Findings()
    after = copy.deepcopy(value)
    compile_prune(schema)(value, again)
    assert (value, again.unknown) == (after, [])


@given(SCHEMAS, OBJECTS)
@settings(max_examples=60, deadline=None)
def test_defaults_fill_once_and_leave_what_is_there(schema: Any, value: Any) -> None:
    schema["properties"]["z"] = {"type": "object", "default": {"k": [1]}}
    fill, before = compile_defaults(schema), copy.deepcopy(value)
    fill(value)
    after = copy.deepcopy(value)
    fill(value)
    assert value == after
    assert value["z"] == {"k": [1]}
    value["z"]["k"].append(2)
    assert schema["properties"]["z"]["default"] == {"k": [1]}
    assert {k: v for k, v in before.items() if not isinstance(v, dict | list | None)}.items() <= (
        after.items()
    )


@given(SCHEMAS)
@settings(max_examples=60, deadline=None)
def test_schemas_made_by_the_rules_are_structural_but_for_what_they_forget(schema: Any) -> None:
    assert find_schema_errors(schema, "s") == []
    assert find_structural_errors(schema, "s") == []


WORDS = st.sampled_from(
    (
        *("type", "properties", "items", "additionalProperties", "required", "default", "enum"),
        *("anyOf", "not", "nullable", "pattern", "format", "maximum", "x-kubernetes-list-type"),
        *("x-kubernetes-list-map-keys", "x-kubernetes-embedded-resource", "multipleOf"),
        *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string", "metadata"),
    )
)
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 1 << 70)
    | st.sampled_from(["", "object", "array", "string", "map", "set", "(", "a{3", "\\", "date"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=25,
)


@given(st.dictionaries(WORDS, ODD, max_size=5), OBJECTS)
@settings(max_examples=300, deadline=None)
def test_odd_schemas_are_refused_or_work(schema: Any, value: Any) -> None:
    kind, tree = strategy("customresourcedefinitions"), sample("customresourcedefinitions")
    version = tree["spec"]["versions"][0]
    version["schema"] = {"openAPIV3Schema": {"type": "object", "properties": {"a": schema}}}
    cleaner = schema_for("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    assert cleaner is not None
    try:
        cleaner.clean(tree)
        kind.default(tree)
    except ApiError as error:
        if error.code != 400:
            raise
        return
    kind.prepare_for_create(context(), tree)
    if kind.validate_create(context(), tree):
        return
    defined = read_definition(tree).stored
    custom = CustomKind(defined)
    body = {"metadata": {"name": "x"}, **value}
    try:
        defined.kind_schema.clean(body, report=True)
    except ApiError as error:
        if error.code != 400:
            raise
        return
    custom.default(body)
    custom.validate_create(context(), body)
    CustomPrinter(defined.columns).cells(body, context().now)
