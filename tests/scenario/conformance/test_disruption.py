"""sig-apps: DisruptionController; the eviction subresource."""

import pytest
from tests.conformance_kit import Rest, condition, pod, wait_until, workload


def budgets(namespace, name="", sub=""):
    path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    return "/".join(part for part in (path, name, sub) if part)


def budget(name, labels=None, **spec):
    selector = {"matchLabels": labels or {"foo": "bar"}}
    return {"metadata": {"name": name}, "spec": {"selector": selector, **spec}}


def pods(rest, namespace, count):
    path = f"/api/v1/namespaces/{namespace}/pods"
    for number in range(count):
        rest.post(path, pod(f"pod-{number}", labels={"foo": "bar"}))

    def all_run():
        return all(p["status"].get("phase") == "Running" for p in rest.get(path)["items"])

    wait_until(all_run)


def processed(rest, namespace, name, **wanted):
    def check():
        tree = rest.get(budgets(namespace, name))
        status = tree["status"]
        seen = status.get("observedGeneration") == tree["metadata"]["generation"]
        right = all(status.get(k) == v for k, v in wanted.items())
        return tree if seen and right else None

    return wait_until(check)


def evict(rest, namespace, name):
    body = {
        "kind": "Eviction",
        "apiVersion": "policy/v1",
        "metadata": {"name": name, "namespace": namespace},
    }
    return rest.answer("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body)


def test_should_create_update_patch_and_delete_a_pod_disruption_budget(rest, namespace):
    rest.post(budgets(namespace), budget("foo", minAvailable="1%"))
    processed(rest, namespace, "foo")
    path = budgets(namespace, "foo")
    updated = rest.change(path, lambda t: t["spec"].update(minAvailable="2%"))
    assert updated["spec"]["minAvailable"] == "2%"
    tree = processed(rest, namespace, "foo")
    assert tree["metadata"]["generation"] == 2
    patched = rest.patch(budgets(namespace, "foo"), {"spec": {"minAvailable": "3%"}}, "strategic")
    assert patched["spec"]["minAvailable"] == "3%"
    processed(rest, namespace, "foo")
    assert rest.delete(budgets(namespace, "foo"))["status"] == "Success"
    rest.wait_gone(budgets(namespace, "foo"))


def test_should_observe_pod_disruption_budget_status_updated(rest, namespace):
    rest.post(budgets(namespace), budget("foo", minAvailable=1))
    pods(rest, namespace, 3)
    tree = processed(
        rest, namespace, "foo", currentHealthy=3, desiredHealthy=1, disruptionsAllowed=2
    )
    assert tree["status"]["expectedPods"] == 3
    allowed = condition(tree, "DisruptionAllowed")
    assert (allowed["status"], allowed["reason"]) == ("True", "SufficientPods")


def test_should_update_and_patch_pod_disruption_budget_status(rest, namespace):
    rest.post(budgets(namespace), budget("foo", minAvailable=1))
    pods(rest, namespace, 1)
    processed(rest, namespace, "foo", currentHealthy=1)
    path = budgets(namespace, "foo", "status")
    evicted = {"pod-0": "2026-01-01T00:00:00Z"}
    updated = rest.change(path, lambda t: t["status"].update(disruptedPods=evicted))
    assert updated["status"]["disruptedPods"] == evicted
    # Long overdue: the controller takes it off the list again.
    processed(rest, namespace, "foo", disruptedPods=None, currentHealthy=1)
    patched = rest.patch(path, {"status": {"disruptedPods": {"pod-x": None}}})
    assert "disruptedPods" not in patched["status"]


def test_should_list_and_delete_a_collection_of_pod_disruption_budgets(rest, namespace):
    for name in ("a", "b", "c"):
        made = budget(name, maxUnavailable=1)
        made["metadata"]["labels"] = {"special": namespace}
        rest.post(budgets(namespace), made)
        processed(rest, namespace, name)
    everywhere = "/apis/policy/v1/poddisruptionbudgets"
    assert len(rest.get(everywhere, labelSelector=f"special={namespace}")["items"]) == 3
    rest.delete(budgets(namespace), labelSelector=f"special={namespace}")
    assert rest.get(budgets(namespace))["items"] == []


def test_should_block_an_eviction_until_the_pdb_is_updated_to_allow_it(rest, namespace):
    pods(rest, namespace, 3)
    rest.post(budgets(namespace), budget("foo", minAvailable=3))
    processed(rest, namespace, "foo", currentHealthy=3, disruptionsAllowed=0)
    refused = evict(rest, namespace, "pod-0")
    assert (refused.status, refused.tree["reason"]) == (429, "TooManyRequests")
    assert refused.tree["message"] == (
        "Cannot evict pod as it would violate the pod's disruption budget."
    )
    assert refused.tree["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": "The disruption budget foo needs 3 healthy pods and has 3 currently",
        }
    ]
    rest.change(budgets(namespace, "foo"), lambda t: t["spec"].update(minAvailable=2))
    processed(rest, namespace, "foo", disruptionsAllowed=1)
    assert evict(rest, namespace, "pod-0").status == 201
    rest.wait_gone(f"/api/v1/namespaces/{namespace}/pods/pod-0")
    processed(rest, namespace, "foo", currentHealthy=2, disruptionsAllowed=0)
    assert evict(rest, namespace, "pod-1").status == 429
    rest.patch(budgets(namespace, "foo"), {"spec": {"minAvailable": 0}})
    processed(rest, namespace, "foo", disruptionsAllowed=2)
    assert evict(rest, namespace, "pod-1").status == 201


@pytest.fixture
def lonely(kutter_cluster_factory):
    """A cluster of its own, whose nodes a test may cut off, and its default namespace."""
    cluster = kutter_cluster_factory(nodes=2)
    client = cluster.kubernetes_client()
    yield cluster, Rest(client)
    client.close()


def test_a_share_is_of_what_the_owners_want(lonely):
    cluster, rest = lonely
    namespace = "default"
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    rest.post(path, workload("Deployment", "web", 4, labels={"foo": "bar"}))
    rest.post(budgets(namespace), budget("foo", maxUnavailable="25%"))
    processed(
        rest,
        namespace,
        "foo",
        currentHealthy=4,
        desiredHealthy=3,
        expectedPods=4,
        disruptionsAllowed=1,
    )
    rest.patch(f"{path}/web/scale", {"spec": {"replicas": 8}})
    processed(rest, namespace, "foo", currentHealthy=8, desiredHealthy=6, disruptionsAllowed=2)
    names = [
        p["metadata"]["name"] for p in rest.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    ]
    # Replacements that became ready would be counted, rightly, and give the budget back what the
    # evictions took: how many pass would depend on who is faster. On silent nodes none starts.
    for name in cluster.simulated.names:
        cluster.simulated.silence(name)
    statuses = [evict(rest, namespace, name).status for name in names]
    assert statuses == [201, 201] + [429] * 6
    processed(rest, namespace, "foo", currentHealthy=6, desiredHealthy=6, disruptionsAllowed=0)
    for name in cluster.simulated.names:
        cluster.simulated.wake(name)
    rest.patch(f"{path}/web", {"spec": {"replicas": 4}})
    processed(rest, namespace, "foo", desiredHealthy=3, expectedPods=4)


def test_an_evicted_pod_says_so_and_unready_ones_go_uncounted(rest, namespace):
    pods(rest, namespace, 2)
    path = f"/api/v1/namespaces/{namespace}/pods"
    held = pod("held", labels={"foo": "bar"})
    held["metadata"]["finalizers"] = ["example.com/hold"]
    rest.post(path, held)
    wait_until(lambda: rest.get(f"{path}/held")["status"].get("phase") == "Running")
    unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    rest.patch(f"{path}/held/status", unready, "strategic")
    rest.post(budgets(namespace), budget("foo", minAvailable=2))
    processed(rest, namespace, "foo", currentHealthy=2, disruptionsAllowed=0)
    assert evict(rest, namespace, "held").status == 201
    target = condition(rest.get(f"{path}/held"), "DisruptionTarget")
    assert target.pop("lastTransitionTime")
    assert target == {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    assert evict(rest, namespace, "pod-0").status == 429
    again = evict(rest, namespace, "held")
    assert again.status == 201, "what is going already may be evicted again"
    rest.patch(f"{path}/held", {"metadata": {"finalizers": None}})
    rest.wait_gone(f"{path}/held")
    status = rest.get(budgets(namespace, "foo"))["status"]
    assert "disruptedPods" not in status


def test_an_eviction_of_another_version_is_refused(rest, namespace):
    pods(rest, namespace, 1)
    path = f"/api/v1/namespaces/{namespace}/pods/pod-0"
    body = {
        "kind": "Eviction",
        "apiVersion": "policy/v1",
        "metadata": {"name": "pod-0"},
        "deleteOptions": {"preconditions": {"resourceVersion": "1"}},
    }
    refused = rest.answer("POST", f"{path}/eviction", body)
    assert (refused.status, refused.tree["reason"]) == (409, "Conflict")
    found = rest.get(path)
    assert "deletionTimestamp" not in found["metadata"]
    assert condition(found, "DisruptionTarget") == {}
    body["deleteOptions"] = {"dryRun": ["All"]}
    assert rest.answer("POST", f"{path}/eviction", body).status == 201
    assert rest.get(path) == found


def test_what_has_no_scale_allows_no_disruption(rest, namespace):
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    job = rest.post(path, {"metadata": {"name": "j"}, "spec": {"template": template}})
    owned = pod("of-job", labels={"foo": "bar"})
    owned["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": "j",
            "uid": job["metadata"]["uid"],
            "controller": True,
        }
    ]
    rest.post(f"/api/v1/namespaces/{namespace}/pods", owned)
    rest.post(budgets(namespace), budget("foo", maxUnavailable=1))

    def failed():
        return condition(rest.get(budgets(namespace, "foo")), "DisruptionAllowed")

    found = wait_until(lambda: failed().get("reason") == "SyncFailed" and failed())
    assert found["message"] == "jobs.batch does not implement the scale subresource"
    assert found["status"] == "False"
