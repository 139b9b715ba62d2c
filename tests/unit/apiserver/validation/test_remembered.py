"""What was found valid is not looked at again, and nothing else passes for it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kutter.apiserver.kinds.pod_defaults import default_pod, default_pod_spec
from kutter.apiserver.validation import pod_spec
from kutter.apiserver.validation.remembered import SIZE_LIMIT_BYTES, Recent, ValidSpecs, key_of

Tree = dict[str, Any]


def pod(suffix: str = "abcde", mounted: str = "", **more: Any) -> Tree:
    """As admission leaves it: the token volume has a name of the pod's own."""
    volume = f"kube-api-access-{suffix}"
    mount = {"name": mounted or volume, "mountPath": "/token", "readOnly": True}
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
    spec: Tree = {
        "serviceAccountName": "default",
        "containers": [{"name": "c", "image": "i:1", "volumeMounts": [mount]}],
        "volumes": [{"name": volume, "projected": {"sources": [source], "defaultMode": 420}}],
        **more,
    }
    default_pod_spec(spec)
    default_pod(spec)
    return {"metadata": {"name": "p", "namespace": "default"}, "spec": spec}


def fresh(tree: Tree) -> list[Any]:
    """Its errors when nothing is remembered."""
    kept, pod_spec._valid = pod_spec._valid, ValidSpecs()
    try:
        return pod_spec.validate_pod(tree)
    finally:
        pod_spec._valid = kept


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setattr(pod_spec, "_valid", ValidSpecs())


def test_the_second_pod_of_a_template_is_not_looked_at_again(monkeypatch):
    assert pod_spec.validate_pod(pod("aaaaa")) == []

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("validated again")

    monkeypatch.setattr(pod_spec, "validate_pod_spec", fail)
    assert pod_spec.validate_pod(pod("bbbbb")) == []


def test_metadata_is_always_looked_at():
    assert pod_spec.validate_pod(pod()) == []
    bad = pod()
    bad["metadata"]["labels"] = {"a b": "c"}
    assert [e.path for e in pod_spec.validate_pod(bad)] == ["metadata.labels"]


def test_a_mount_of_another_pods_token_volume_is_refused_however_often():
    assert pod_spec.validate_pod(pod("aaaaa")) == []
    for _ in range(2):
        errors = pod_spec.validate_pod(pod("aaaaa", mounted="kube-api-access-bbbbb"))
        assert [e.path for e in errors] == ["spec.containers[0].volumeMounts[0].name"]


def test_what_is_wrong_is_never_remembered():
    bad = pod(restartPolicy="Sometimes")
    first, second = pod_spec.validate_pod(bad), pod_spec.validate_pod(bad)
    assert first == second
    assert first
    assert len(pod_spec._valid) == 0


def test_claims_of_the_pods_own_and_giants_are_not_remembered():
    claim = {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}}}
    assert key_of(pod(volumes=[{"name": "v", "ephemeral": claim}])["spec"]) is None
    assert key_of({"a": "x" * SIZE_LIMIT_BYTES}) is None


def test_it_stays_bounded():
    valid = ValidSpecs(limit=10)
    for number in range(35):
        valid.add(b"%d" % number)
        assert len(valid) <= 10
        assert b"%d" % number in valid


CHANGES = [
    {},
    {"restartPolicy": "Never"},
    {"restartPolicy": "Sometimes"},
    {"dnsPolicy": "None"},
    {"nodeName": "a/b"},
    {"terminationGracePeriodSeconds": -1},
    {"activeDeadlineSeconds": 0},
    {"activeDeadlineSeconds": 1},
    {"hostNetwork": True},
    {"containers": []},
    {"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]},
    {"containers": [{"name": "c", "image": " i "}]},
    {"volumes": []},
    {"serviceAccountName": ""},
    {"tolerations": [{"operator": "Exists", "value": "x"}]},
]


@given(
    st.lists(
        st.tuples(st.sampled_from(CHANGES), st.sampled_from(["aaaaa", "bbbbb"])),
        min_size=2,
        max_size=12,
    )
)
def test_errors_are_the_same_as_without_a_memory(steps):
    for change, suffix in steps:
        tree = pod(suffix, **copy.deepcopy(change))
        assert pod_spec.validate_pod(copy.deepcopy(tree)) == fresh(tree)


def test_the_last_key_is_told_for_that_very_specification() -> None:
    recent, spec = Recent(), {"a": 1}
    recent.keep(spec, b"key")
    assert recent.key(spec) == b"key"
    assert recent.key({"a": 1}) is None
