"""Apply configurations and JSON patches an expression wrote out, on trees."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kutter.api.apply.shapes import shape_of
from kutter.api.cel.environment import Program
from kutter.api.cel.values import Duration, Timestamp
from kutter.api.schema import schema_for
from kutter.apiserver.admission.dynamic.expressions import Composition
from kutter.apiserver.admission.dynamic.mutations import (
    MutationError,
    apply_configuration,
    apply_patch,
    to_json,
)
from kutter.apiserver.admission.dynamic.type_names import find_misnamed


def program(text: str) -> Program:
    made = Composition(patches=True).compile(text)
    assert made.program is not None, made.error
    return made.program


def value(text: str, **names: Any) -> Any:
    return program(text).evaluate({"object": {}, **names})


def pod_shape() -> Any:
    schema = schema_for("", "v1", "Pod")
    assert schema is not None
    return shape_of(schema.node)


POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "p", "labels": {"a": "b"}},
    "spec": {"containers": [{"name": "c", "image": "i", "args": ["x"]}]},
}


def test_what_is_applied_is_merged_by_the_schema() -> None:
    text = (
        "Object{metadata: Object.metadata{labels: {'n': 'm'}}, spec: Object.spec{containers: "
        "[Object.spec.containers{name: 'c', image: 'new'}, Object.spec.containers{name: 'd'}]}}"
    )
    made = apply_configuration(POD, value(text), pod_shape())
    assert made["metadata"]["labels"] == {"a": "b", "n": "m"}
    assert made["spec"]["containers"] == [
        {"name": "c", "image": "new", "args": ["x"]},
        {"name": "d"},
    ]
    assert POD["spec"]["containers"][0]["image"] == "i"  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Object{nope: 1}", ".nope: field not declared in schema"),
        (
            "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'c', args: ['y']}]}}",
            "may not mutate atomic arrays, maps or structs: .spec.containers[0].args",
        ),
        (
            "Object{spec: Object.spec{nodeSelector: {'a': 'b'}}}",
            "may not mutate atomic arrays, maps or structs: .spec.nodeSelector",
        ),
        ("Object{spec: Object.spec{containers: [Object.spec.containers{image: 'x'}]}}", "name"),
    ],
)
def test_what_cannot_be_applied(text: str, said: str) -> None:
    with pytest.raises(MutationError) as error:
        apply_configuration(POD, value(text), pod_shape())
    assert said in str(error.value)


def test_patches() -> None:
    text = (
        "[JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('a/b~c'), value: '1'}, "
        "JSONPatch{op: 'copy', from: '/data/x', path: '/data/y'}]"
    )
    made = apply_patch({"data": {"x": "z"}}, value(text))
    assert made == {"data": {"x": "z", "y": "z", "a/b~c": "1"}}
    tree = {"data": {"x": "z"}}
    assert apply_patch(tree, value("[JSONPatch{op: 'test', path: '/data/x', value: 'w'}]")) is tree
    with pytest.raises(MutationError, match="JSON Patch: "):
        apply_patch(tree, value("[JSONPatch{op: 'remove', path: '/data/n'}]"))


@pytest.mark.parametrize(
    ("text", "misnamed"),
    [
        ("Object{spec: Object.spec{a: Object.spec.a{b: 1}}}", ""),
        ("Object{spec: Object.wrong{}}", "Object.wrong"),
        ("Object{spec: Object.spec{list: [Object.spec.other{}]}}", "Object.spec.other"),
        ("object.x ? Object{} : Object{a: Object.b{}}", "Object.b"),
        ("[JSONPatch{op: 'add', value: Object.spec{a: Object.spec.a{}}}]", ""),
        ("[JSONPatch{op: 'add', value: Object.spec{a: Object.b{}}}]", "Object.b"),
    ],
)
def test_types_have_the_names_of_their_fields(text: str, misnamed: str) -> None:
    found = find_misnamed(program(text).tree)
    assert found.startswith(f'unexpected type name "{misnamed}"') if misnamed else found == ""


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=10,
)


@given(_json)
def test_json_stays_what_it_is(tree: Any) -> None:
    assert to_json(tree) == tree


def test_values_json_has_no_form_for_become_texts() -> None:
    found = to_json({"t": Timestamp(0), "d": Duration(1_500_000_000), "b": b"x", "n": 1.5})
    assert found == {"t": "1970-01-01T00:00:00Z", "d": "1.5s", "b": "eA==", "n": 1.5}
