"""Types from schemas and from the tables of built-in kinds, and trees seen through them."""

from __future__ import annotations

from typing import Any

import pytest

from kutter.api.cel.errors import CompileError, EvaluationError
from kutter.api.cel.kubernetes import environment
from kutter.api.cel.names import escape
from kutter.api.cel.objects import type_of_node, type_of_schema
from kutter.api.schema import schema_for

POD = schema_for("", "v1", "Pod")
assert POD is not None
ENV = environment({"object": type_of_node(POD.node)})
TREE: dict[str, Any] = {
    "metadata": {
        "name": "a",
        "creationTimestamp": "2020-01-02T03:04:05Z",
        "labels": {"app": "web"},
    },
    "spec": {
        "containers": [
            {"name": "x", "image": "i:1", "ports": [{"containerPort": 80}]},
            {"name": "y", "image": "i:2", "resources": {"limits": {"cpu": "500m"}}},
        ],
        "terminationGracePeriodSeconds": 30,
    },
}


@pytest.mark.parametrize(
    "text",
    [
        "object.spec.containers.all(c, c.image.startsWith('i:'))",
        "object.metadata.creationTimestamp.getFullYear() == 2020",
        "object.metadata.labels['app'] == 'web' && 'app' in object.metadata.labels",
        "object.spec.containers[0].ports[0].containerPort == 80",
        "!has(object.spec.nodeName) && has(object.spec.terminationGracePeriodSeconds)",
        "object.?spec.?nodeName.orValue('none') == 'none'",
        "quantity(object.spec.containers[1].resources.limits['cpu']).isLessThan(quantity('1'))",
        "object.spec.containers == object.spec.containers",
        "object.spec.containers.map(c, c.name) == ['x', 'y']",
        "dyn(object).metadata.creationTimestamp < timestamp('2021-01-01T00:00:00Z')",
    ],
)
def test_a_pod_is_seen_through_its_schema(text: str) -> None:
    assert ENV.compile(text).evaluate({"object": TREE}) is True


def test_a_field_the_pod_has_not_is_told_before() -> None:
    with pytest.raises(CompileError, match="undefined field 'imagee'"):
        ENV.compile("object.spec.containers.all(c, c.imagee == 'x')")


def test_types_that_contain_themselves_are_finite() -> None:
    schema = schema_for("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    assert schema is not None
    env = environment({"object": type_of_node(schema.node)})
    text = "object.spec.versions[0].schema.openAPIV3Schema.properties['a'].properties['b'].type"
    inner = {"properties": {"a": {"properties": {"b": {"type": "string"}}}}}
    tree = {"spec": {"versions": [{"schema": {"openAPIV3Schema": inner}}]}}
    assert env.compile(text).evaluate({"object": tree}) == "string"


def test_what_expressions_do_not_see() -> None:
    loose = {"x-kubernetes-preserve-unknown-fields": True}
    assert type_of_schema(loose) is None
    assert type_of_schema({"type": "array", "items": loose}) is None
    assert type_of_schema({"type": "object", "additionalProperties": loose}) is None
    found = type_of_schema({"type": "object", "properties": {"a": loose, "0": {"type": "string"}}})
    assert found is not None
    assert list(found.fields or ()) == []


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("namespace", "__namespace__"),
        ("x-prop", "x__dash__prop"),
        ("a.b/c", "a__dot__b__slash__c"),
        ("redact__d", "redact__underscores__d"),
        ("int", "int"),
        ("9a", None),
        ("a b", None),
    ],
)
def test_names_as_identifiers(name: str, escaped: str | None) -> None:
    assert escape(name) == escaped


def test_a_broken_value_fails_where_it_is_read() -> None:
    schema = {
        "type": "object",
        "properties": {"t": {"type": "string", "format": "date-time"}, "n": {"type": "integer"}},
    }
    kind = type_of_schema(schema)
    assert kind is not None
    env = environment({"self": kind})
    tree = {"t": "yesterday", "n": 1}
    assert env.compile("self.n == 1").evaluate({"self": tree}) is True
    with pytest.raises(EvaluationError, match="Invalid date-time formatted string yesterday"):
        env.compile("self.t.getHours() == 1").evaluate({"self": tree})
