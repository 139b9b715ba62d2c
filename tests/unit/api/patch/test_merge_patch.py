import pytest

from kutter.api.patch import (
    PatchError,
    apply_json_patch,
    apply_merge_patch,
    apply_strategic_patch,
    plan_apply,
)


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


def test_values_nested_too_deep_are_the_patchs_fault():
    patch = {}
    for _ in range(100_000):
        patch = {"a": patch}
    for apply in (
        lambda: apply_merge_patch({}, patch),
        lambda: apply_json_patch({}, [{"op": "add", "path": "/a", "value": patch}]),
        lambda: apply_strategic_patch(None, {}, patch),
        lambda: plan_apply(None, {}, patch, {}),
    ):
        with pytest.raises(PatchError, match="exceeded max depth") as caught:
            apply()
        assert caught.value.code == 400
