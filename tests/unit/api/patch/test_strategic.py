import copy

import pytest

from kutter.api.patch import PatchError, apply_strategic_patch
from kutter.api.schema import schema_for

POD = schema_for("", "v1", "Pod").node
DEPLOYMENT = schema_for("apps", "v1", "Deployment").node


def pod(**spec):
    return {"spec": spec}


def apply(node, target, patch):
    before = copy.deepcopy((target, patch))
    result = apply_strategic_patch(node, target, patch)
    assert (target, patch) == before
    return result


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        # Items merge by their key; the patch's order is kept.
        (
            pod(containers=[{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]),
            pod(containers=[{"name": "b", "image": "2"}, {"name": "c"}]),
            pod(
                containers=[
                    {"name": "a", "image": "1"},
                    {"name": "b", "image": "2"},
                    {"name": "c"},
                ]
            ),
        ),
        # As upstream does, a new item alone goes to the front.
        (
            pod(containers=[{"name": "a"}]),
            pod(containers=[{"name": "b"}]),
            pod(containers=[{"name": "b"}, {"name": "a"}]),
        ),
        # $patch: delete and replace.
        (
            pod(containers=[{"name": "a"}, {"name": "b"}]),
            pod(containers=[{"name": "a", "$patch": "delete"}]),
            pod(containers=[{"name": "b"}]),
        ),
        (
            pod(containers=[{"name": "a"}]),
            pod(containers=[{"$patch": "replace"}, {"name": "z"}]),
            pod(containers=[{"name": "z"}]),
        ),
        (
            pod(securityContext={"runAsUser": 1, "runAsGroup": 2}),
            pod(securityContext={"$patch": "replace", "runAsUser": 3}),
            pod(securityContext={"runAsUser": 3}),
        ),
        (
            pod(securityContext={"runAsUser": 1}),
            pod(securityContext={"$patch": "delete"}),
            pod(securityContext={}),
        ),
        # Null deletes; nulls in new objects are dropped.
        (
            pod(nodeName="n", securityContext={"runAsUser": 1}),
            pod(nodeName=None, securityContext={"runAsUser": None}),
            pod(securityContext={}),
        ),
        ({}, pod(nodeName=None, hostname="h"), pod(hostname="h")),
        # Atomic lists are replaced.
        (
            pod(tolerations=[{"key": "a"}], containers=[{"name": "a", "args": ["1"]}]),
            pod(tolerations=[{"key": "b"}], containers=[{"name": "a", "args": ["2"]}]),
            pod(tolerations=[{"key": "b"}], containers=[{"name": "a", "args": ["2"]}]),
        ),
        # Lists of scalars that merge.
        (
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"finalizers": ["c", "a"]}},
            {"metadata": {"finalizers": ["c", "a", "b"]}},
        ),
        (
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b"]}},
        ),
        (
            {"metadata": {}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}},
            {"metadata": {}},
        ),
        # $setElementOrder.
        (
            pod(containers=[{"name": "a"}, {"name": "b"}, {"name": "live"}]),
            pod(
                **{
                    "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
                    "containers": [{"name": "c"}],
                }
            ),
            pod(containers=[{"name": "b"}, {"name": "c"}, {"name": "a"}, {"name": "live"}]),
        ),
        (
            pod(containers=[{"name": "live"}, {"name": "a"}, {"name": "b"}]),
            pod(**{"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
            pod(containers=[{"name": "live"}, {"name": "b"}, {"name": "a"}]),
        ),
        # A scalar named twice goes where it is named first.
        (
            {"metadata": {"finalizers": ["c", "a", "b"]}},
            {"metadata": {"$setElementOrder/finalizers": ["b", "a", "c", "b"]}},
            {"metadata": {"finalizers": ["b", "a", "c"]}},
        ),
        # $retainKeys clears what it does not name.
        (
            pod(volumes=[{"name": "v", "emptyDir": {}}]),
            pod(
                volumes=[
                    {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}
                ]
            ),
            pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
        ),
        # Ports merge by number even when protocols differ: upstream's merge key says so.
        (
            pod(containers=[{"name": "a", "ports": [{"containerPort": 80, "name": "x"}]}]),
            pod(containers=[{"name": "a", "ports": [{"containerPort": 80, "name": "y"}]}]),
            pod(containers=[{"name": "a", "ports": [{"containerPort": 80, "name": "y"}]}]),
        ),
        # Fields the schema does not know: objects merge, lists are replaced.
        (
            pod(strange={"a": [1], "b": 1}),
            pod(strange={"a": [2]}),
            pod(strange={"a": [2], "b": 1}),
        ),
        # A type that changes is replaced.
        (pod(strange={"a": 1}), pod(strange=5), pod(strange=5)),
    ],
)
def test_pod(target, patch, result):
    assert apply(POD, target, patch) == result


def test_retain_keys_on_an_object():
    target = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert apply(DEPLOYMENT, target, patch) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_directives_in_new_parts_are_dropped():
    patch = pod(
        containers=[{"name": "a"}, {"name": "b", "$patch": "delete"}],
        securityContext={"$patch": "delete"},
        affinity={"$retainKeys": ["x"], "nodeAffinity": {}},
    )
    assert apply(POD, {"spec": {}}, patch) == pod(
        containers=[{"name": "a"}], affinity={"nodeAffinity": {}}
    )


@pytest.mark.parametrize(
    ("target", "patch", "message", "code"),
    [
        (
            pod(containers=[{"name": "a"}]),
            pod(containers=[{"image": "x"}]),
            "map: map[image:x] does not contain declared merge key: name",
            500,
        ),
        ({}, {"$patch": "invent"}, "unknown patch type: invent in map: map[$patch:invent]", 500),
        (
            pod(volumes=[{"name": "v"}]),
            pod(volumes=[{"name": "v", "$retainKeys": ["name"], "emptyDir": {}}]),
            "invalid patch format of retainKeys",
            400,
        ),
        (
            {"metadata": {"finalizers": ["a"]}},
            {"metadata": {"$deleteFromPrimitiveListfinalizers": ["a"]}},
            "invalid patch format of primitive list",
            400,
        ),
        (
            {"metadata": {"finalizers": ["a"]}},
            {"metadata": {"$setElementOrder/finalizers": "a"}},
            "expected a []interface {}, but received a string",
            500,
        ),
        (
            {"metadata": {"finalizers": ["a"]}},
            {"metadata": {"finalizers": [["a"]]}},
            "lists of lists are not supported",
            422,
        ),
        (
            {"metadata": {"finalizers": ["a"]}},
            {"metadata": {"finalizers": [1]}},
            "list element types are not identical: [[a] [1]]",
            500,
        ),
        (
            pod(containers=[{"name": "a"}, {"name": "b"}]),
            pod(
                **{
                    "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
                    "containers": [{"name": "b", "x": 1}, {"name": "a", "x": 1}],
                }
            ),
            "The order in patch list:\n[map[name:b x:1] map[name:a x:1]]\n doesn't match $setElementOrder list:\n[map[name:a] map[name:b]]\n",
            500,
        ),
    ],
)
def test_refuses(target, patch, message, code):
    with pytest.raises(PatchError) as caught:
        apply_strategic_patch(POD, target, patch)
    assert caught.value.message == message
    assert caught.value.code == code


def test_untouched_parts_are_shared_and_the_patch_is_not():
    target = pod(containers=[{"name": "a", "env": []}], volumes=[])
    patch = pod(containers=[{"name": "b", "args": []}])
    result = apply_strategic_patch(POD, target, patch)
    assert result["spec"]["volumes"] is target["spec"]["volumes"]
    result["spec"]["containers"][0]["args"].append("x")
    assert patch == pod(containers=[{"name": "b", "args": []}])
