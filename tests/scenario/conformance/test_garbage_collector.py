"""sig-api-machinery: Garbage collector."""

import time

from tests.conformance_kit import pod, wait_until, workload


def options(policy, **more):
    return {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy, **more}


def controllers(namespace):
    return f"/api/v1/namespaces/{namespace}/replicationcontrollers"


def pods_of(rest, namespace):
    return rest.get(f"/api/v1/namespaces/{namespace}/pods")["items"]


def running(rest, namespace, name, count):
    rest.post(controllers(namespace), workload("ReplicationController", name, count))

    def all_run():
        tree = rest.get(f"{controllers(namespace)}/{name}")
        return tree if tree["status"].get("readyReplicas") == count else None

    return wait_until(all_run)


def test_should_delete_pods_created_by_rc_when_not_orphaning(rest, namespace):
    running(rest, namespace, "simpletest", 3)
    rest.delete(f"{controllers(namespace)}/simpletest", options("Background"))
    wait_until(lambda: not pods_of(rest, namespace))


def test_should_orphan_pods_created_by_rc_if_delete_options_say_so(rest, namespace):
    made = running(rest, namespace, "orphaner", 5)
    path = f"{controllers(namespace)}/orphaner"
    uid = made["metadata"]["uid"]
    rest.delete(path, options("Orphan", preconditions={"uid": uid}))
    rest.wait_gone(path)
    time.sleep(0.3)  # nothing may happen
    left = pods_of(rest, namespace)
    assert len(left) == 5
    assert [p["metadata"].get("ownerReferences") for p in left] == [None] * 5


def deployed(rest, namespace, name):
    path = f"/apis/apps/v1/namespaces/{namespace}"
    rest.post(f"{path}/deployments", workload("Deployment", name, 2))

    def owned():
        found = rest.get(f"{path}/replicasets")["items"]
        return found if found and found[0]["status"].get("readyReplicas") == 2 else None

    return path, wait_until(owned)[0]


def test_should_delete_rs_created_by_deployment_when_not_orphaning(rest, namespace):
    path, _ = deployed(rest, namespace, "simpletest")
    rest.delete(f"{path}/deployments/simpletest", options("Background"))
    wait_until(lambda: not rest.get(f"{path}/replicasets")["items"])
    wait_until(lambda: not pods_of(rest, namespace))


def test_should_orphan_rs_created_by_deployment_when_policy_is_orphan(rest, namespace):
    path, owned = deployed(rest, namespace, "simpletest")
    assert owned["metadata"]["ownerReferences"][0]["kind"] == "Deployment"
    rest.delete(f"{path}/deployments/simpletest", options("Orphan"))
    rest.wait_gone(f"{path}/deployments/simpletest")
    time.sleep(0.3)  # nothing may happen
    (left,) = rest.get(f"{path}/replicasets")["items"]
    assert left["metadata"]["uid"] == owned["metadata"]["uid"]
    assert "ownerReferences" not in left["metadata"]
    assert len(pods_of(rest, namespace)) == 2


def test_should_keep_the_rc_around_until_all_its_pods_are_deleted(rest, namespace):
    running(rest, namespace, "waiting", 3)
    path = f"{controllers(namespace)}/waiting"
    held = pods_of(rest, namespace)[0]["metadata"]["name"]
    one = f"/api/v1/namespaces/{namespace}/pods/{held}"
    rest.patch(one, {"metadata": {"finalizers": ["e2e.example.com/hold"]}})
    answered = rest.delete(path, options("Foreground"))
    assert answered["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert answered["metadata"]["deletionTimestamp"]
    wait_until(lambda: len(pods_of(rest, namespace)) == 1)
    assert rest.get(path)["metadata"]["deletionTimestamp"]
    rest.patch(one, {"metadata": {"finalizers": None}})
    rest.wait_gone(path)
    assert pods_of(rest, namespace) == []


def test_should_not_delete_dependents_that_have_a_valid_owner_too(rest, namespace):
    running(rest, namespace, "to-be-deleted", 4)
    stays = workload("ReplicationController", "to-stay", 0, labels={"another": "key"})
    stays = rest.post(controllers(namespace), stays)
    shared = [p["metadata"]["name"] for p in pods_of(rest, namespace)[:2]]
    reference = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "name": "to-stay",
        "uid": stays["metadata"]["uid"],
    }
    for name in shared:
        rest.patch(
            f"/api/v1/namespaces/{namespace}/pods/{name}",
            {"metadata": {"ownerReferences": [reference]}},
            "strategic",
        )
    rest.delete(f"{controllers(namespace)}/to-be-deleted", options("Foreground"))
    rest.wait_gone(f"{controllers(namespace)}/to-be-deleted")
    left = pods_of(rest, namespace)
    assert sorted(p["metadata"]["name"] for p in left) == sorted(shared)
    assert all("deletionTimestamp" not in p["metadata"] for p in left)
    assert all([o["name"] for o in p["metadata"]["ownerReferences"]] == ["to-stay"] for p in left)


def test_should_not_be_blocked_by_dependency_circle(rest, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    uids = {n: rest.post(path, pod(n))["metadata"]["uid"] for n in ("pod1", "pod2", "pod3")}
    for name, owner in (("pod1", "pod3"), ("pod2", "pod1"), ("pod3", "pod2")):
        reference = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": owner,
            "uid": uids[owner],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        patched = rest.patch(
            f"{path}/{name}", {"metadata": {"ownerReferences": [reference]}}, "strategic"
        )
        assert patched["metadata"]["ownerReferences"] == [reference]
    rest.delete(f"{path}/pod1", options("Foreground"))
    wait_until(lambda: not pods_of(rest, namespace))
