import copy

import pytest

from kutter.api.patch import (
    apply_merge_patch,
    apply_strategic_patch,
    plan_apply,
    plan_change,
)
from kutter.api.schema import schema_for

POD = schema_for("", "v1", "Pod").node
DEPLOYMENT = schema_for("apps", "v1", "Deployment").node


def pod(**spec):
    return {"spec": spec}


def check(node, original, modified, current, patch, result):
    before = copy.deepcopy((original, modified, current))
    planned = plan_apply(node, original, modified, current)
    assert planned == patch
    applied = apply_strategic_patch(node, current, planned)
    assert applied == result
    assert plan_apply(node, modified, modified, applied) == {}
    assert (original, modified, current) == before


@pytest.mark.parametrize(
    ("original", "modified", "current", "patch", "result"),
    [
        # Nothing to do, though the server added fields of its own.
        (
            pod(hostname="h"),
            pod(hostname="h"),
            pod(hostname="h", dnsPolicy="ClusterFirst"),
            {},
            pod(hostname="h", dnsPolicy="ClusterFirst"),
        ),
        # Somebody changed what we own: it is set back. Somebody else's field stays.
        (
            pod(hostname="h"),
            pod(hostname="h"),
            pod(hostname="x", nodeName="n"),
            pod(hostname="h"),
            pod(hostname="h", nodeName="n"),
        ),
        # What we no longer name goes.
        (
            pod(hostname="h", subdomain="s"),
            pod(hostname="h"),
            pod(hostname="h", subdomain="s", nodeName="n"),
            pod(subdomain=None),
            pod(hostname="h", nodeName="n"),
        ),
        # It is gone already: nothing to say.
        (pod(hostname="h"), pod(), pod(nodeName="n"), {}, pod(nodeName="n")),
        # Containers: one changed, one removed, one somebody else's.
        (
            pod(containers=[{"name": "a", "image": "1"}, {"name": "b"}]),
            pod(containers=[{"name": "a", "image": "2"}]),
            pod(
                containers=[
                    {"name": "a", "image": "1", "imagePullPolicy": "Always"},
                    {"name": "b"},
                    {"name": "sidecar"},
                ]
            ),
            pod(
                **{
                    "containers": [
                        {"name": "a", "image": "2"},
                        {"name": "b", "$patch": "delete"},
                    ],
                    "$setElementOrder/containers": [{"name": "a"}],
                }
            ),
            pod(
                containers=[
                    {"name": "a", "image": "2", "imagePullPolicy": "Always"},
                    {"name": "sidecar"},
                ]
            ),
        ),
        # Order.
        (
            pod(containers=[{"name": "a"}, {"name": "b"}]),
            pod(containers=[{"name": "b"}, {"name": "a"}]),
            pod(containers=[{"name": "a"}, {"name": "b"}]),
            pod(**{"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
            pod(containers=[{"name": "b"}, {"name": "a"}]),
        ),
        # Scalars.
        (
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"finalizers": ["b", "c"]}},
            {"metadata": {"finalizers": ["a", "b", "live"]}},
            {
                "metadata": {
                    "finalizers": ["c"],
                    "$deleteFromPrimitiveList/finalizers": ["a"],
                    "$setElementOrder/finalizers": ["b", "c"],
                }
            },
            {"metadata": {"finalizers": ["b", "c", "live"]}},
        ),
        # A volume that changes its kind drops the old kind.
        (
            pod(volumes=[{"name": "v", "emptyDir": {}}]),
            pod(volumes=[{"name": "v", "hostPath": {"path": "/x"}}]),
            pod(volumes=[{"name": "v", "emptyDir": {}}]),
            pod(
                **{
                    "volumes": [
                        {
                            "name": "v",
                            "emptyDir": None,
                            "hostPath": {"path": "/x"},
                            "$retainKeys": ["hostPath", "name"],
                        }
                    ],
                    "$setElementOrder/volumes": [{"name": "v"}],
                }
            ),
            pod(volumes=[{"name": "v", "hostPath": {"path": "/x"}}]),
        ),
        # Labels.
        (
            {"metadata": {"labels": {"a": "1", "b": "2"}}},
            {"metadata": {"labels": {"a": "9"}}},
            {"metadata": {"labels": {"a": "1", "b": "2", "c": "3"}}},
            {"metadata": {"labels": {"a": "9", "b": None}}},
            {"metadata": {"labels": {"a": "9", "c": "3"}}},
        ),
    ],
)
def test_plan_apply(original, modified, current, patch, result):
    check(POD, original, modified, current, patch, result)


def test_a_strategy_somebody_else_extended_is_cleared():
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
    check(
        DEPLOYMENT,
        {"spec": {"strategy": {"type": "Recreate"}}},
        {"spec": {"strategy": {"type": "Recreate"}}},
        {"spec": {"strategy": rolling}},
        {"spec": {"strategy": {"type": "Recreate", "$retainKeys": ["type"]}}},
        {"spec": {"strategy": {"type": "Recreate"}}},
    )


def test_plan_change_turns_one_into_the_other():
    before = pod(containers=[{"name": "a", "args": ["1"]}], hostname="h")
    after = pod(containers=[{"name": "b"}, {"name": "a", "args": ["1", "2"]}])
    patch = plan_change(POD, before, after)
    assert apply_strategic_patch(POD, before, patch) == after


def test_without_a_schema_it_is_a_merge_patch():
    original = {"spec": {"a": [1], "b": {"c": 1, "d": 2}}}
    modified = {"spec": {"a": [1, 2], "b": {"c": 1}}}
    current = {"spec": {"a": [1], "b": {"c": 5, "d": 2, "live": True}}}
    patch = plan_apply(None, original, modified, current)
    assert patch == {"spec": {"a": [1, 2], "b": {"c": 1, "d": None}}}
    assert apply_merge_patch(current, patch) == {"spec": {"a": [1, 2], "b": {"c": 1, "live": True}}}
