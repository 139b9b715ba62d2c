import copy

import pytest

from kutter.api.patch import PatchError, apply_json_patch


def op(kind, path, **more):
    return {"op": kind, "path": path, **more}


# Most are the examples of RFC 6902, appendix A.
@pytest.mark.parametrize(
    ("document", "operations", "result"),
    [
        ({"foo": "bar"}, [op("add", "/baz", value="qux")], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["a", "c"]}, [op("add", "/foo/1", value="b")], {"foo": ["a", "b", "c"]}),
        ({"a": 1, "b": 2}, [op("remove", "/a")], {"b": 2}),
        ({"foo": ["a", "b", "c"]}, [op("remove", "/foo/1")], {"foo": ["a", "c"]}),
        ({"a": 1}, [op("replace", "/a", value=2)], {"a": 2}),
        (
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
            [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
            {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
        ),
        (
            {"foo": ["a", "b", "c", "d"]},
            [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
            {"foo": ["a", "c", "d", "b"]},
        ),
        (
            {"a": {"x": 1}},
            [
                {"op": "copy", "from": "/a", "path": "/b"},
                op("replace", "/b/x", value=2),
            ],
            {"a": {"x": 1}, "b": {"x": 2}},
        ),
        ({"foo": ["a"]}, [op("add", "/foo/-", value=["b"])], {"foo": ["a", ["b"]]}),
        ({"foo": ["a", "b"]}, [op("remove", "/foo/-1")], {"foo": ["a"]}),
        ({"~/": 1}, [op("replace", "/~0~1", value=2)], {"~/": 2}),
        ({"a": 1}, [op("replace", "", value={"b": 1})], {"b": 1}),
        ({"a": 1}, [op("add", "/a")], {"a": None}),
        ({"a": 1}, [op("add", "x/b", value=2)], {"a": 1, "b": 2}),
        ({}, [op("replace", "/a", value=1)], {"a": 1}),
        ({}, [{"op": "copy", "from": "/a", "path": "/b"}], {"b": None}),
        ({"a": [1, {"b": True}]}, [op("test", "/a/1/b", value=True)], {"a": [1, {"b": True}]}),
        ({}, [op("test", "/missing", value=None)], {}),
        ({"": 1}, [op("remove", "/")], {}),
        ({"a": 1}, [op("add", "/a", value=None)], {"a": None}),
    ],
)
def test_applies(document, operations, result):
    before = copy.deepcopy((document, operations))
    assert apply_json_patch(document, operations) == result
    assert (document, operations) == before


@pytest.mark.parametrize(
    ("document", "operation", "message"),
    [
        (
            {},
            op("add", "/a/b", value=1),
            'add operation does not apply: doc is missing path: "/a/b": missing value',
        ),
        (
            {},
            op("remove", "/a"),
            "error in remove for path: '/a': Unable to remove nonexistent key: a: missing value",
        ),
        (
            {"a": []},
            op("remove", "/a/0"),
            "error in remove for path: '/a/0': Unable to access invalid index: 0: invalid index referenced",
        ),
        (
            {"a": []},
            op("replace", "/a/0", value=1),
            "replace operation does not apply: doc is missing key: /a/0: missing value",
        ),
        (
            {"a": 1},
            op("add", "", value={}),
            'add operation does not apply: doc is missing path: "": missing value',
        ),
        (
            {"a": [1]},
            op("add", "/a/5", value=1),
            "error in add for path: '/a/5': Unable to access invalid index: 5: invalid index referenced",
        ),
        ({"a": 1}, op("test", "/a", value=2), "testing value /a failed: test failed"),
        ({"a": 1}, op("test", "/a", value=True), "testing value /a failed: test failed"),
        ({"a": 1}, op("test", "/b", value=2), "testing value /b failed: test failed"),
        (
            {"a": 1},
            op("test", "/b/c", value=2),
            "test operation does not apply: is missing path: /b/c: missing value",
        ),
        ({"a": 1}, op("invent", "/a"), "Unexpected kind: invent"),
    ],
)
def test_refuses(document, operation, message):
    with pytest.raises(PatchError) as caught:
        apply_json_patch(document, [operation])
    assert caught.value.message == message
    assert caught.value.code == 422


def test_operations_are_limited():
    with pytest.raises(PatchError, match="is 10000, got 10001") as caught:
        apply_json_patch({}, [op("test", "/a", value=None)] * 10_001)
    assert caught.value.code == 413


def test_containers_are_copied_once():
    document = {"items": list(range(1000)), "other": {}}
    operations = [op("replace", f"/items/{i}", value=-i) for i in range(1000)]
    result = apply_json_patch(document, operations)
    assert result["items"] == [-i for i in range(1000)]
    assert document["items"] == list(range(1000))
    assert result["other"] is document["other"]
