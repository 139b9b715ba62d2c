"""Which fields an object has, gains and loses, in FieldsV1 as upstream writes it."""

import pytest

from kutter.api.apply.elements import ElementError, parse_element, shown_path
from kutter.api.apply.named import fields_of
from kutter.api.apply.sets import parse_set, paths
from kutter.api.apply.shapes import DEDUCED, shape_of
from kutter.api.apply.walk import compare, faults, new_fields
from kutter.api.schema import schema_for


def shape(kind, group="", version="v1"):
    return shape_of(schema_for(group, version, kind).node)


def test_a_new_deployment_is_owned_as_upstream_shows_it():
    tree = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "uid": "u", "labels": {"app": "web"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [
                        {
                            "name": "c",
                            "image": "i",
                            "command": ["sh"],
                            "ports": [{"containerPort": 80, "protocol": "TCP"}],
                            "resources": {},
                        }
                    ],
                    "securityContext": {},
                },
            },
        },
    }
    assert new_fields(tree, shape("Deployment", "apps")) == {
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"c"}': {
                            ".": {},
                            "f:command": {},
                            "f:image": {},
                            "f:name": {},
                            "f:ports": {
                                ".": {},
                                'k:{"containerPort":80,"protocol":"TCP"}': {
                                    ".": {},
                                    "f:containerPort": {},
                                    "f:protocol": {},
                                },
                            },
                            "f:resources": {},
                        }
                    },
                    "f:securityContext": {},
                },
            },
        },
    }


def test_an_applied_configuration_owns_no_structs():
    config = {
        "metadata": {"labels": {"a": "1"}, "finalizers": ["x/y"], "annotations": {}},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}},
    }
    assert fields_of(config, shape("Service")) == {
        "f:metadata": {
            "f:annotations": {},
            "f:finalizers": {'v:"x/y"': {}},
            "f:labels": {"f:a": {}},
        },
        "f:spec": {
            "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}},
            "f:selector": {},
        },
    }


def test_doubled_items_are_owned_as_one():
    tree = {"spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}] * 2}]}}
    found = new_fields(tree, shape("Pod"))
    env = found["f:spec"]["f:containers"]['k:{"name":"c"}']["f:env"]
    assert env == {".": {}, 'k:{"name":"A"}': {}}


def test_same_keys_with_other_values_are_told_apart():
    """The walk remembers plans by keys; values below must not leak from one tree to the next."""
    pod = shape("Pod")

    def fields(labels, volumes):
        tree = {"metadata": {"labels": labels}, "spec": {"volumes": volumes}}
        return [shown_path(path) for path in paths(new_fields(tree, pod))]

    first = fields({"a": "1"}, [{"name": "v", "emptyDir": {}}])
    second = fields({"b": "1"}, [{"name": "v", "configMap": {"name": "m"}}])
    assert '.spec.volumes[name="v"].emptyDir' in first
    assert '.spec.volumes[name="v"].configMap.name' in second
    assert '.spec.volumes[name="v"].emptyDir' not in second
    assert fields({"a": "1"}, [{"name": "v", "emptyDir": {}}]) == first


def test_without_a_schema_maps_are_owned_by_key_and_lists_as_a_whole():
    tree = {"spec": {"a": [{"b": 1}], "m": {"x": 1}}}
    assert fields_of(tree, DEDUCED) == {"f:spec": {".": {}, "f:a": {}, "f:m": {".": {}, "f:x": {}}}}


def test_changes_name_the_smallest_owned_thing():
    old = {"spec": {"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b"}]}}
    new = {"spec": {"containers": [{"name": "c"}, {"name": "a", "image": "2", "args": ["y"]}]}}
    changes = compare(old, new, shape("Pod"))
    assert [shown_path(path) for path in paths(changes.modified)] == [
        '.spec.containers[name="a"].args',
        '.spec.containers[name="a"].image',
    ]
    assert [shown_path(path) for path in paths(changes.added)] == [
        '.spec.containers[name="c"]',
        '.spec.containers[name="c"].name',
    ]
    assert [shown_path(path) for path in paths(changes.removed)] == [
        '.spec.containers[name="b"]',
        '.spec.containers[name="b"].name',
    ]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"spec": {"foo": 1}}, ".spec.foo: field not declared in schema"),
        (
            {"spec": {"replicas": "1"}},
            ".spec.replicas: expected numeric (int or float), got string",
        ),
        ({"spec": {"template": 1}}, ".spec.template: expected map, got &{1}"),
        (
            {"spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}}},
            '.spec.template.spec.containers: duplicate entries for key [name="a"]',
        ),
        (
            {"spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}},
            (
                ".spec.template.spec.containers: element 0: associative list with keys has an "
                'element that omits all key fields ["name"] (and doesn\'t have default values for '
                "any key fields)"
            ),
        ),
    ],
)
def test_faults_are_named_as_upstream_does(config, expected):
    assert faults(config, shape("Deployment", "apps")) == [expected]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("f:a", "f:a"),
        ('k:{"protocol":"TCP", "containerPort": 80.0}', 'k:{"containerPort":80,"protocol":"TCP"}'),
        ('v:"<a>"', 'v:"\\u003ca\\u003e"'),
        ("i:01", "i:1"),
        ("z:1", ""),
    ],
)
def test_elements_have_one_form(text, normal):
    assert parse_element(text) == normal


@pytest.mark.parametrize("text", ["", "f", "ab", "k:[]", "v:", "i:x"])
def test_what_is_no_element_is_refused(text):
    with pytest.raises(ElementError):
        parse_element(text)


def test_sets_from_elsewhere_get_one_form():
    sent = {"f:b": {".": {}}, "f:a": {"f:x": {}, "q:1": {}}}
    assert list(parse_set(sent).items()) == [("f:a", {"f:x": {}}), ("f:b", {})]
