import pytest

from kutter.api.patch import apply_merge_patch


# The examples of RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_rfc_examples(target, patch, result):
    assert apply_merge_patch(target, patch) == result


def test_inputs_stay_and_the_patch_is_not_shared():
    target = {"a": {"b": 1}, "keep": {"x": []}}
    patch = {"a": {"c": [1]}, "new": {"d": {}}}
    result = apply_merge_patch(target, patch)
    assert target == {"a": {"b": 1}, "keep": {"x": []}}
    result["new"]["d"]["e"] = 1
    result["a"]["c"].append(2)
    assert patch == {"a": {"c": [1]}, "new": {"d": {}}}
    assert result["keep"] is target["keep"]
