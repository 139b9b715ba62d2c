"""The order of complaints about a text; the expected ones are what upstream v1.36 answers."""

import json

import pytest

from kutter.api.schema import schema_for

CONFIG_MAP = '{"apiVersion":"v1","kind":"ConfigMap",%s}'
POD = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{%s}}'


def unknown(*paths):
    return [f'unknown field "{path}"' for path in paths]


def duplicate(*paths):
    return [f'duplicate field "{path}"' for path in paths]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (POD % '"foo":1,"hostNetwork":true,"hostNetwork":false', [*unknown("spec.foo"), *duplicate("spec.hostNetwork")]),
        (POD % '"hostNetwork":true,"hostNetwork":false,"foo":1', [*duplicate("spec.hostNetwork"), *unknown("spec.foo")]),
        (CONFIG_MAP % '"data":{"a":"1"},"zed":1,"data":{"b":"1"},"abc":2,"zed":3', [*unknown("zed"), *duplicate("data"), *unknown("abc")]),
        (CONFIG_MAP % '"zed":1,"zed":2,"zed":{"q":1,"q":2}', unknown("zed")),
        (CONFIG_MAP % '"metadata":{"bad":1,"labels":{"a":"1","a":"2"}},"data":{"k":"1","k":"2"},"foo":1', [*unknown("metadata.bad"), *duplicate("metadata.labels.a", "data.k"), *unknown("foo")]),
        (
            POD % '"containers":[{"name":"a","image":"i","bad":1,"image":"j"},{"name":"b","name":"c","more":{"x":{"y":1,"y":2}}}],"xx":1',
            [
                *unknown("spec.containers[0].bad"),
                *duplicate("spec.containers[0].image", "spec.containers[1].name"),
                *unknown("spec.containers[1].more", "spec.xx"),
            ],
        ),
        (CONFIG_MAP % '"foo":1,"kind":"ConfigMap","metadata":{},"foo":2', [*unknown("foo"), *duplicate("kind")]),
        (CONFIG_MAP % '"metadata":{"name":"x","u1":1},"metadata":{"name":"y","u2":1}', [*unknown("metadata.u1"), *duplicate("metadata"), *unknown("metadata.u2")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("indent", [None, 1])
def test_complaints_come_in_the_order_of_the_text(text, found, indent):
    if indent:
        # Blanks before a colon: counting keys settles nothing then.
        text = text.replace('":', '" :')
    tree = json.loads(text)
    schema = schema_for("", "v1", tree["kind"])
    assert schema.clean(tree, report=True, source=text.encode()) == found


def test_without_a_text_they_are_sorted():
    tree = {"zed": 1, "data": {}, "abc": 1, "metadata": {"bad": 1}}
    assert schema_for("", "v1", "ConfigMap").clean(tree, report=True) == unknown(
        "abc", "metadata.bad", "zed"
    )
    containers = [{"name": "a"} for _ in range(10)] + [{"bad": 1}]
    containers[2]["bad"] = 1
    tree = {"spec": {"containers": containers}}
    assert schema_for("", "v1", "Pod").clean(tree, report=True) == unknown(
        "spec.containers[2].bad", "spec.containers[10].bad"
    )
