import pytest

from kutter.api.errors import ApiError
from kutter.api.patch import PatchError
from kutter.api.tables import SchemaTables

TABLES = SchemaTables()


def test_prune_names_unknown_fields():
    tree = {"spec": {"hostname": "h", "nope": 1}}
    assert TABLES.prune("", "v1", "Pod", tree) == ["spec.nope"]
    assert tree == {"spec": {"hostname": "h"}}


def test_kinds_without_a_schema_stay_as_they_are():
    tree = {"spec": {"anything": None}}
    assert TABLES.prune("example.com", "v1", "Widget", tree) == []
    assert tree == {"spec": {"anything": None}}
    with pytest.raises(ApiError) as caught:
        TABLES.patch_strategic("example.com", "v1", "Widget", tree, {})
    assert caught.value.code == 415


def test_strategic_patch_by_kind():
    target = {"spec": {"containers": [{"name": "a"}]}}
    patch = {"spec": {"containers": [{"name": "a", "image": "x"}]}}
    assert TABLES.patch_strategic("", "v1", "Pod", target, patch) == patch


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ({"spec": {"containers": [{"image": "x"}]}}, 500),
        ({"spec": {"$retainKeys": "all"}}, 400),
    ],
)
def test_patches_that_make_no_sense(patch, code):
    with pytest.raises(ApiError) as caught:
        TABLES.patch_strategic("", "v1", "Pod", {"spec": {"containers": [{"name": "a"}]}}, patch)
    assert caught.value.code == code


def test_patches_that_do_not_fit_stay_patch_errors():
    with pytest.raises(PatchError):
        TABLES.patch_strategic(
            "",
            "v1",
            "Pod",
            {"metadata": {"finalizers": ["a"]}},
            {"metadata": {"finalizers": [["b"]]}},
        )
