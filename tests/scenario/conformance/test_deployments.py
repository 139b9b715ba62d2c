"""sig-apps: Deployment."""

from kubernetes import client as k8s
from tests.conformance_kit import condition, wait_until, workload

REVISION = "deployment.kubernetes.io/revision"


def apps(namespace, plural, name="", sub=""):
    path = f"/apis/apps/v1/namespaces/{namespace}/{plural}"
    return "/".join(part for part in (path, name, sub) if part)


def complete(rest, namespace, name, replicas):
    def check():
        tree = rest.get(apps(namespace, "deployments", name))
        status = tree["status"]
        done = status.get("observedGeneration", 0) >= tree["metadata"]["generation"] and all(
            status.get(k, 0) == replicas
            for k in ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas")
        )
        return tree if done else None

    return wait_until(check)


def sets_of(rest, namespace):
    found = rest.get(apps(namespace, "replicasets"))["items"]
    return sorted(found, key=revision)


def revision(tree):
    return int(tree["metadata"].get("annotations", {}).get(REVISION, 0))


def deployment(name, replicas=1, *, image="app:1", broken=False, labels=None, **spec):
    tree = workload("Deployment", name, replicas, image=image, labels=labels, **spec)
    if broken:
        template = tree["spec"]["template"]["metadata"]
        template["labels"] = {**template["labels"], "broken": "true"}
    return tree


def test_rolling_update_deployment_should_delete_old_pods_and_create_new_ones(rest, namespace):
    labels = {"name": "sample-pod", "pod": "httpd"}
    old = workload("ReplicaSet", "test-rolling-update-controller", labels=labels, image="old:1")
    old["metadata"]["annotations"] = {REVISION: "3546343826724305832"}
    rest.post(apps(namespace, "replicasets"), old)

    def started():
        return rest.get(apps(namespace, "replicasets", old["metadata"]["name"]))["status"].get(
            "readyReplicas"
        )

    wait_until(started)
    made = deployment("test-rolling-update-deployment", labels=labels, image="new:1")
    rest.post(apps(namespace, "deployments"), made)
    done = complete(rest, namespace, "test-rolling-update-deployment", 1)
    assert done["metadata"]["annotations"][REVISION] == "3546343826724305833"

    def adopted():
        first, second = sets_of(rest, namespace)
        return (first, second) if first["status"]["replicas"] == 0 else None

    first, second = wait_until(adopted)
    assert first["metadata"]["name"] == "test-rolling-update-controller"
    assert first["metadata"]["ownerReferences"][0]["uid"] == done["metadata"]["uid"]
    assert "pod-template-hash" in second["spec"]["selector"]["matchLabels"]
    (pod,) = rest.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    assert pod["spec"]["containers"][0]["image"] == "new:1"


def test_recreate_deployment_should_delete_old_pods_and_create_new_ones(rest, namespace):
    made = deployment("test-recreate", 2, strategy={"type": "Recreate"})
    rest.post(apps(namespace, "deployments"), made)
    complete(rest, namespace, "test-recreate", 2)
    version = rest.get(f"/api/v1/namespaces/{namespace}/pods")["metadata"]["resourceVersion"]
    image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "n:2"}]
    rest.patch(apps(namespace, "deployments", "test-recreate"), image, "json")
    complete(rest, namespace, "test-recreate", 2)
    images, alive = {}, set()
    path = f"/api/v1/namespaces/{namespace}/pods"
    with rest.watch(path, resourceVersion=version, timeoutSeconds=1) as events:
        for kind, pod in events.rest():
            name = pod["metadata"]["name"]
            images[name] = pod["spec"]["containers"][0]["image"]
            if kind == "DELETED":
                alive.discard(name)
            elif images[name] == "n:2":
                alive.add(name)
                assert {images[n] for n in alive} == {"n:2"}, "old and new at the same time"
            elif kind == "ADDED":
                raise AssertionError("an old pod was made again")
    assert len(alive) == 2


def test_deployment_should_delete_old_replica_sets(rest, namespace):
    labels = {"name": "cleanup-pod"}
    old = workload("ReplicaSet", "test-cleanup-controller", labels=labels, image="old:1")
    rest.post(apps(namespace, "replicasets"), old)
    made = deployment("test-cleanup", labels=labels, revisionHistoryLimit=0)
    rest.post(apps(namespace, "deployments"), made)
    complete(rest, namespace, "test-cleanup", 1)
    rest.wait_gone(apps(namespace, "replicasets", "test-cleanup-controller"))
    assert len(sets_of(rest, namespace)) == 1


def test_deployment_should_support_rollover(rest, namespace):
    labels = {"name": "rollover-pod"}
    old = workload("ReplicaSet", "test-rollover-controller", labels=labels, image="old:1")
    rest.post(apps(namespace, "replicasets"), old)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    made = deployment("rollover", labels=labels, broken=True, strategy=strategy, minReadySeconds=1)
    rest.post(apps(namespace, "deployments"), made)

    def stuck():
        sets = sets_of(rest, namespace)
        return len(sets) == 2 and sets[1]["spec"]["replicas"] == 1

    wait_until(stuck)
    fixed = deployment("rollover", labels=labels, image="good:1", strategy=strategy)
    fixed["spec"]["minReadySeconds"] = 1
    rest.put(apps(namespace, "deployments", "rollover"), fixed)
    done = complete(rest, namespace, "rollover", 1)
    assert done["metadata"]["annotations"][REVISION] == "2"
    wait_until(lambda: [s["status"]["replicas"] for s in sets_of(rest, namespace)] == [0, 0, 1])


def test_deployment_should_support_proportional_scaling(rest, namespace):
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2, "maxSurge": 3}}
    rest.post(apps(namespace, "deployments"), deployment("web", 10, strategy=strategy))
    complete(rest, namespace, "web", 10)
    body = {"spec": {"template": {"metadata": {"labels": {"broken": "true"}}}}}
    rest.patch(apps(namespace, "deployments", "web"), body)

    def sizes(wanted):
        return lambda: [s["spec"]["replicas"] for s in sets_of(rest, namespace)] == wanted

    wait_until(sizes([8, 5]))
    wait_until(
        lambda: (
            rest.get(apps(namespace, "deployments", "web"))["status"].get("availableReplicas") == 8
        )
    )
    rest.patch(apps(namespace, "deployments", "web"), {"spec": {"replicas": 30}})
    wait_until(sizes([20, 13]))


def test_deployment_should_have_a_working_scale_subresource(client, rest, namespace):
    rest.post(apps(namespace, "deployments"), deployment("scaled"))
    api = k8s.AppsV1Api(client)
    scale = api.read_namespaced_deployment_scale("scaled", namespace)
    assert (scale.spec.replicas, scale.status.selector) == (1, "name=scaled")
    scale.metadata.resource_version = ""
    scale.spec.replicas = 2
    scaled = api.replace_namespaced_deployment_scale("scaled", namespace, scale)
    assert scaled.spec.replicas == 2
    patched = rest.patch(
        apps(namespace, "deployments", "scaled", "scale"), {"spec": {"replicas": 4}}
    )
    assert (patched["kind"], patched["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert rest.get(apps(namespace, "deployments", "scaled"))["spec"]["replicas"] == 4
    complete(rest, namespace, "scaled", 4)


def test_should_run_the_lifecycle_of_a_deployment(rest, namespace):
    path = apps(namespace, "deployments", "test-deployment")
    labels = {"test-deployment-static": "true"}
    selector = {"labelSelector": "test-deployment-static=true"}
    with rest.watch(apps(namespace, "deployments"), **selector) as events:
        rest.post(apps(namespace, "deployments"), deployment("test-deployment", 2, labels=labels))
        events.until("ADDED")
        events.until("MODIFIED", lambda t: t["status"].get("availableReplicas") == 2)
        body = {
            "metadata": {"labels": {"test-deployment": "patched"}},
            "spec": {
                "replicas": 1,
                "template": {"spec": {"containers": [{"name": "c", "image": "patched:1"}]}},
            },
        }
        patched = rest.patch(path, body, "strategic")
        (container,) = patched["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "patched:1"
        events.until(
            "MODIFIED",
            lambda t: (
                t["status"].get("readyReplicas") == 1
                and t["metadata"]["labels"].get("test-deployment") == "patched"
            ),
        )
        assert len(rest.get("/apis/apps/v1/deployments", **selector)["items"]) == 1
        complete(rest, namespace, "test-deployment", 1)

        def updated(tree):
            tree["spec"]["template"]["spec"]["containers"][0]["image"] = "updated:1"

        rest.change(path, updated)
        events.until(
            "MODIFIED",
            lambda t: (
                t["metadata"]["generation"] == t["status"].get("observedGeneration")
                and t["status"].get("updatedReplicas") == 1
                and t["spec"]["template"]["spec"]["containers"][0]["image"] == "updated:1"
            ),
        )
        rest.delete(apps(namespace, "deployments"), **selector)
        events.until("DELETED")


def test_should_validate_deployment_status_endpoints(rest, namespace):
    rest.post(apps(namespace, "deployments"), deployment("status", labels={"e2e": "testing"}))
    complete(rest, namespace, "status", 1)
    path = apps(namespace, "deployments", "status", "status")
    made = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e"}

    selector = {"labelSelector": "e2e=testing"}
    with rest.watch(apps(namespace, "deployments"), **selector) as events:
        rest.change(path, lambda t: t["status"]["conditions"].append(made))
        events.until("MODIFIED", lambda t: condition(t, "StatusUpdate").get("reason") == "E2E")
        body = {"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}}
        rest.patch(path, body)
        events.until("MODIFIED", lambda t: condition(t, "StatusPatched").get("status") == "True")
        # The controller's own conditions come back and it leaves the foreign one alone.
        events.until(
            "MODIFIED", lambda t: condition(t, "Available") and condition(t, "StatusPatched")
        )
        rest.delete(apps(namespace, "deployments", "status"))
        events.until("DELETED")
