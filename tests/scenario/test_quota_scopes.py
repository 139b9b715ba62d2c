"""Quotas beyond the conformance suite: scopes, resizes, classes, what is limited by default."""

import itertools

import pytest
from tests.conformance_kit import Rest, pod, wait_until

from kutter.testing.cluster import LocalCluster
from kutter.testing.simulated_nodes import Stage, running

LIFE_CYCLE = (
    Stage("removed", deleting=True, remove=True),
    Stage("started", phase="Pending", selector="!ends", status=running),
)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def rest():
    with LocalCluster(nodes=1, life_cycle=LIFE_CYCLE) as cluster:
        client = cluster.kubernetes_client()
        yield Rest(client)
        client.close()


@pytest.fixture
def at(rest):
    name = f"scoped-{next(_numbers)}"
    rest.post("/api/v1/namespaces", {"metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_until(lambda: not rest.gone(account), 30)
    return f"/api/v1/namespaces/{name}"


def make_quota(rest, at, name, hard, **spec):
    rest.post(f"{at}/resourcequotas", {"metadata": {"name": name}, "spec": {"hard": hard, **spec}})
    wait_until(lambda: used(rest, at, name) is not None, 30)


def used(rest, at, name):
    return (rest.get(f"{at}/resourcequotas/{name}").get("status") or {}).get("used")


def wait_used(rest, at, name, **expected):
    wanted = {key.replace("_", "."): value for key, value in expected.items()}

    def check():
        found = used(rest, at, name)
        return all(found.get(key) == value for key, value in wanted.items())

    wait_until(check, 30)


def sized(name, cpu, **spec):
    tree = pod(name, **spec)
    tree["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    return tree


def selector(scope, operator, *values):
    rule = {"scopeName": scope, "operator": operator}
    return {"matchExpressions": [{**rule, "values": list(values)} if values else rule]}


def test_priority_classes(rest, at):
    for name, value in (("quota-high", 1000), ("quota-low", 10)):
        rest.post(
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            {"metadata": {"name": name}, "value": value},
        )
    high = selector("PriorityClass", "In", "quota-high")
    make_quota(rest, at, "high", {"pods": "1"}, scopeSelector=high)
    others = selector("PriorityClass", "NotIn", "quota-high")
    make_quota(rest, at, "others", {"pods": "5"}, scopeSelector=others)
    make_quota(rest, at, "any", {"pods": "5"}, scopeSelector=selector("PriorityClass", "Exists"))
    rest.post(f"{at}/pods", pod("one", priorityClassName="quota-high"))
    rest.post(f"{at}/pods", pod("two", priorityClassName="quota-low"))
    rest.post(f"{at}/pods", pod("three"))
    assert used(rest, at, "high") == {"pods": "1"}
    assert used(rest, at, "others") == {"pods": "2"}
    assert used(rest, at, "any") == {"pods": "2"}
    tree = pod("four", priorityClassName="quota-high")
    refused = rest.fails(403, "Forbidden", "POST", f"{at}/pods", tree)
    assert "exceeded quota: high" in refused["message"]


def test_affinity_across_namespaces(rest, at):
    make_quota(rest, at, "none", {"pods": "0"}, scopes=["CrossNamespacePodAffinity"])
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"a": "b"}},
    }

    def near(name, **more):
        rule = {"requiredDuringSchedulingIgnoredDuringExecution": [{**term, **more}]}
        return pod(name, affinity={"podAntiAffinity": rule})

    rest.post(f"{at}/pods", near("own"))
    refused = rest.fails(
        403, "Forbidden", "POST", f"{at}/pods", near("others", namespaceSelector={})
    )
    assert (
        "exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0"
        in (refused["message"])
    )


def test_a_resize_is_charged_and_refused(rest, at):
    make_quota(rest, at, "q", {"requests.cpu": "1"})
    rest.post(f"{at}/pods", sized("web", "300m"))
    path = f"{at}/pods/web"
    wait_until(lambda: rest.get(path)["status"].get("phase") == "Running", 30)

    def resize(cpu):
        change = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}
        headers = {"content-type": "application/strategic-merge-patch+json"}
        return rest.answer("PATCH", f"{path}/resize", change, headers=headers)

    assert resize("800m").status == 200
    assert used(rest, at, "q") == {"requests.cpu": "800m"}
    refused = resize("1500m")
    assert refused.status == 403
    assert (
        "exceeded quota: q, requested: requests.cpu=700m, used: requests.cpu=800m, "
        "limited: requests.cpu=1"
    ) in refused.tree["message"]


def test_a_pod_that_has_ended_costs_no_more(rest, at):
    make_quota(rest, at, "q", {"pods": "1", "requests.cpu": "1", "count/pods": "5"})
    tree = sized("job", "1")
    tree["metadata"]["labels"] = {"ends": "yes"}
    rest.post(f"{at}/pods", tree)
    rest.fails(403, "Forbidden", "POST", f"{at}/pods", sized("next", "1"))
    rest.patch(f"{at}/pods/job/status", {"status": {"phase": "Succeeded"}})
    wait_used(rest, at, "q", pods="0", requests_cpu="0")
    assert used(rest, at, "q")["count/pods"] == "1"
    rest.post(f"{at}/pods", sized("next", "1"))


def test_claims_by_attributes_class_and_a_claim_that_grows(rest, at):
    fast = selector("VolumeAttributesClass", "In", "fast")
    make_quota(rest, at, "fast", {"persistentvolumeclaims": "1"}, scopeSelector=fast)
    make_quota(rest, at, "storage", {"requests.storage": "3Gi"})

    def claim(name, **spec):
        resources = {"requests": {"storage": "1Gi"}}
        spec = {"accessModes": ["ReadWriteOnce"], "resources": resources, **spec}
        return {"metadata": {"name": name}, "spec": spec}

    path = f"{at}/persistentvolumeclaims"
    rest.post(path, claim("a", volumeAttributesClassName="fast"))
    rest.post(path, claim("b"))
    assert used(rest, at, "fast") == {"persistentvolumeclaims": "1"}
    assert used(rest, at, "storage") == {"requests.storage": "2Gi"}
    refused = rest.fails(
        403, "Forbidden", "POST", path, claim("c", volumeAttributesClassName="fast")
    )
    assert "exceeded quota: fast" in refused["message"]


def test_a_quota_that_shrinks_keeps_what_is_there(rest, at):
    make_quota(rest, at, "q", {"pods": "2"})
    for name in ("a", "b"):
        rest.post(f"{at}/pods", pod(name))
    rest.patch(f"{at}/resourcequotas/q", {"spec": {"hard": {"pods": "1"}}})

    def shrunk():
        status = rest.get(f"{at}/resourcequotas/q")["status"]
        return status["hard"] == {"pods": "1"} and status["used"] == {"pods": "2"}

    wait_until(shrunk, 30)
    refused = rest.fails(403, "Forbidden", "POST", f"{at}/pods", pod("c"))
    assert "requested: pods=1, used: pods=2, limited: pods=1" in refused["message"]
    rest.delete(f"{at}/pods/a", {"gracePeriodSeconds": 0})
    wait_used(rest, at, "q", pods="1")


def test_a_dry_run_costs_nothing_and_is_refused_all_the_same(rest, at):
    make_quota(rest, at, "q", {"pods": "1"})
    rest.post(f"{at}/pods", pod("a"), dryRun="All")
    assert used(rest, at, "q") == {"pods": "0"}
    rest.post(f"{at}/pods", pod("a"))
    rest.fails(403, "Forbidden", "POST", f"{at}/pods", pod("b"), query={"dryRun": "All"})
