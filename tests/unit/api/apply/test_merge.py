"""Merging lists: the configuration's order, and where the object's own items stay."""

import pytest

from kutter.api.apply.merge import merge, remove
from kutter.api.apply.shapes import shape_of
from kutter.api.schema import schema_for

POD = shape_of(schema_for("", "v1", "Pod").node)


def names(text):
    return {"spec": {"containers": [{"name": name} for name in text]}}


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ("", "ab", "ab"),
        ("ab", "", "ab"),
        ("ab", "ba", "ba"),
        ("abc", "cb", "acb"),
        ("abc", "ad", "abcd"),
        ("abcd", "db", "acdb"),
        ("axb", "ba", "xba"),
    ],
)
def test_order_of_items(live, config, merged):
    found = merge(names(live), names(config), POD)
    assert [item["name"] for item in found["spec"]["containers"]] == list(merged)


def test_items_are_joined_and_atomic_lists_replaced():
    live = {"spec": {"containers": [{"name": "a", "image": "1", "args": ["x", "y"]}]}}
    config = {"spec": {"containers": [{"name": "a", "args": ["z"]}]}}
    found = merge(live, config, POD)
    assert found["spec"]["containers"] == [{"name": "a", "image": "1", "args": ["z"]}]


def test_nothing_given_is_changed():
    live, config = names("ab"), names("bc")
    merge(live, config, POD)
    remove(live, {"f:spec": {"f:containers": {'k:{"name":"a"}': {}}}}, POD)
    assert (live, config) == (names("ab"), names("bc"))


def test_what_is_left_empty_becomes_null():
    live = {"metadata": {"labels": {"a": "1"}, "name": "p"}}
    assert remove(live, {"f:metadata": {"f:labels": {"f:a": {}}}}, POD) == {
        "metadata": {"labels": None, "name": "p"}
    }
