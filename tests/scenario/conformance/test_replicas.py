"""sig-apps: ReplicaSet and ReplicationController."""

import pytest
from kubernetes import client as k8s
from tests.conformance_kit import condition, pod, wait_until, workload

SETS, CONTROLLERS = "ReplicaSet", "ReplicationController"
BOTH = pytest.mark.parametrize("kind", [SETS, CONTROLLERS])


def path_of(kind, namespace, name="", sub=""):
    base = {
        SETS: f"/apis/apps/v1/namespaces/{namespace}/replicasets",
        CONTROLLERS: f"/api/v1/namespaces/{namespace}/replicationcontrollers",
    }[kind]
    return "/".join(part for part in (base, name, sub) if part)


def pods_path(namespace, name=""):
    return f"/api/v1/namespaces/{namespace}/pods" + (f"/{name}" if name else "")


def started(rest, kind, namespace, name, count):
    def check():
        tree = rest.get(path_of(kind, namespace, name))
        return tree if tree["status"].get("availableReplicas", 0) == count else None

    return wait_until(check)


@BOTH
def test_should_serve_a_basic_image_on_each_replica(rest, namespace, kind):
    rest.post(path_of(kind, namespace), workload(kind, "basic", 2))
    tree = started(rest, kind, namespace, "basic", 2)
    assert tree["status"]["observedGeneration"] == 1
    assert tree["status"]["fullyLabeledReplicas"] == 2
    assert tree["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 30
    pods = rest.get(pods_path(namespace), labelSelector="name=basic")["items"]
    assert {p["metadata"]["generateName"] for p in pods} == {"basic-"}


@BOTH
def test_should_adopt_matching_pods_on_creation_and_release_no_longer_matching(
    rest, namespace, kind
):
    rest.post(pods_path(namespace), pod("pod-adoption", labels={"name": "pod-adoption"}))
    made = rest.post(path_of(kind, namespace), workload(kind, "pod-adoption"))

    def owner():
        found = rest.get(pods_path(namespace, "pod-adoption"))["metadata"]
        return (found.get("ownerReferences") or [None])[0]

    assert wait_until(owner) == {
        "apiVersion": "v1" if kind == CONTROLLERS else "apps/v1",
        "kind": kind,
        "name": "pod-adoption",
        "uid": made["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    started(rest, kind, namespace, "pod-adoption", 1)
    assert len(rest.get(pods_path(namespace))["items"]) == 1
    rest.patch(pods_path(namespace, "pod-adoption"), {"metadata": {"labels": {"name": "other"}}})
    wait_until(lambda: owner() is None)
    wait_until(lambda: len(rest.get(pods_path(namespace))["items"]) == 2)


@BOTH
def test_should_have_a_working_scale_subresource(client, rest, namespace, kind):
    rest.post(path_of(kind, namespace), workload(kind, "scaled"))
    started(rest, kind, namespace, "scaled", 1)
    api = k8s.AppsV1Api(client) if kind == SETS else k8s.CoreV1Api(client)
    word = "replica_set" if kind == SETS else "replication_controller"
    scale = getattr(api, f"read_namespaced_{word}_scale")("scaled", namespace)
    assert (scale.spec.replicas, scale.status.replicas) == (1, 1)
    scale.spec.replicas = 2
    scale.metadata.resource_version = ""
    getattr(api, f"replace_namespaced_{word}_scale")("scaled", namespace, scale)
    assert rest.get(path_of(kind, namespace, "scaled"))["spec"]["replicas"] == 2
    patched = rest.patch(path_of(kind, namespace, "scaled", "scale"), {"spec": {"replicas": 4}})
    assert patched["spec"]["replicas"] == 4
    started(rest, kind, namespace, "scaled", 4)
    rest.fails(
        422,
        "Invalid",
        "PATCH",
        path_of(kind, namespace, "scaled", "scale"),
        {"spec": {"replicas": -1}},
        headers={"content-type": "application/merge-patch+json"},
    )


def test_replace_and_patch_tests(rest, namespace):
    path = path_of(SETS, namespace, "test-rs")
    rest.post(path_of(SETS, namespace), workload(SETS, "test-rs"))
    started(rest, SETS, namespace, "test-rs", 1)
    rest.patch(f"{path}/scale", {"spec": {"replicas": 2}})
    started(rest, SETS, namespace, "test-rs", 2)
    body = {
        "metadata": {"labels": {"test-rs": "patched"}},
        "spec": {
            "replicas": 3,
            "template": {"spec": {"containers": [{"name": "c", "image": "patched:1"}]}},
        },
    }
    rest.patch(path, body, "strategic")
    tree = started(rest, SETS, namespace, "test-rs", 3)
    assert tree["metadata"]["labels"]["test-rs"] == "patched"
    assert [c["image"] for c in tree["spec"]["template"]["spec"]["containers"]] == ["patched:1"]


def test_should_list_and_delete_a_collection_of_replica_sets(rest, namespace):
    rest.post(path_of(SETS, namespace), workload(SETS, "test-rs", 3))
    started(rest, SETS, namespace, "test-rs", 3)
    everywhere = rest.get("/apis/apps/v1/replicasets", labelSelector="name=test-rs")
    assert len(everywhere["items"]) == 1
    rest.delete(path_of(SETS, namespace), labelSelector="name=test-rs")
    wait_until(lambda: not rest.get(path_of(SETS, namespace))["items"])
    wait_until(lambda: not rest.get(pods_path(namespace))["items"])


def test_should_validate_replicaset_status_endpoints(rest, namespace):
    rest.post(path_of(SETS, namespace), workload(SETS, "status"))
    started(rest, SETS, namespace, "status", 1)
    path = path_of(SETS, namespace, "status", "status")
    made = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e"}
    with rest.watch(path_of(SETS, namespace)) as events:
        rest.change(path, lambda t: t["status"].update(conditions=[made]))
        events.until("MODIFIED", lambda t: condition(t, "StatusUpdate").get("reason") == "E2E")
        rest.patch(path, {"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}})
        events.until("MODIFIED", lambda t: condition(t, "StatusPatched").get("status") == "True")


def test_should_test_the_lifecycle_of_a_replication_controller(rest, namespace):
    collection = path_of(CONTROLLERS, namespace)
    one = f"{collection}/rc-test"
    selector = {"labelSelector": "test-rc-static=true"}
    labels = {"test-rc-static": "true"}
    with rest.watch(collection, **selector) as events:
        rest.post(collection, workload(CONTROLLERS, "rc-test", labels=labels))
        events.until("ADDED")
        events.until("MODIFIED", lambda t: t["status"].get("readyReplicas") == 1)
        rest.patch(one, {"metadata": {"labels": {"test-rc": "patched"}}}, "strategic")
        events.until("MODIFIED", lambda t: t["metadata"]["labels"].get("test-rc") == "patched")
        zero = {"status": {"readyReplicas": 0, "availableReplicas": 0}}
        patched = rest.patch(f"{one}/status", zero, "strategic")
        assert patched["status"].get("readyReplicas", 0) == 0
        events.until("MODIFIED", lambda t: t["status"].get("readyReplicas", 0) == 0)
        events.until("MODIFIED", lambda t: t["status"].get("readyReplicas") == 1)
        assert rest.get(f"{one}/status")["metadata"]["name"] == "rc-test"
        scale = {"kind": "Scale", "apiVersion": "autoscaling/v1", "spec": {"replicas": 2}}
        rest.patch(f"{one}/scale", scale, "strategic")
        events.until("MODIFIED", lambda t: t["status"].get("readyReplicas") == 2)
        rest.change(one, lambda t: t["metadata"].update(annotations={"updated": "true"}))
        events.until("MODIFIED", lambda t: "annotations" in t["metadata"])
        found = rest.get("/api/v1/replicationcontrollers", **selector)
        assert len(found["items"]) == 1
        rest.delete(collection, **selector)
        events.until("DELETED")


@BOTH
def test_should_surface_a_failure_condition_when_pods_are_refused(rest, namespace, kind):
    """Upstream provokes it with a quota; a limit on what a container may ask for does the same."""
    limits = f"/api/v1/namespaces/{namespace}/limitranges"
    limit = {"type": "Container", "max": {"cpu": "100m"}}
    rest.post(limits, {"metadata": {"name": "tight"}, "spec": {"limits": [limit]}})
    made = workload(kind, "condition-test", 3)
    made["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "2"}}
    made["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] = {"cpu": "2"}
    rest.post(path_of(kind, namespace), made)

    def failed(wanted):
        def check():
            tree = rest.get(path_of(kind, namespace, "condition-test"))
            seen = tree["metadata"]["generation"] == tree["status"].get("observedGeneration")
            found = condition(tree, "ReplicaFailure")
            return seen and bool(found) == wanted and (found or True)

        return check

    found = wait_until(failed(wanted=True))
    assert (found["status"], found["reason"]) == ("True", "FailedCreate")
    assert "maximum cpu usage per Container is 100m, but limit is 2" in found["message"]
    rest.patch(f"{path_of(kind, namespace, 'condition-test')}/scale", {"spec": {"replicas": 0}})
    wait_until(failed(wanted=False))
