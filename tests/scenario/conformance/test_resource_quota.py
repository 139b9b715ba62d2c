"""sig-api-machinery: ResourceQuota."""

import pytest
from tests.conformance_kit import config_map, pod, wait_until, workload

QUOTAS = "/api/v1/namespaces/{}/resourcequotas"
# What upstream's suite limits in every test of a life; "1" for what one test creates.
HARD = {
    "pods": "5",
    "services": "10",
    "services.nodeports": "1",
    "services.loadbalancers": "1",
    "replicationcontrollers": "10",
    "resourcequotas": "1",
    "cpu": "1",
    "memory": "500Mi",
    "configmaps": "10",
    "secrets": "10",
    "persistentvolumeclaims": "10",
    "requests.storage": "10Gi",
    "ephemeral-storage": "50Gi",
    "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "10",
    "gold.storageclass.storage.k8s.io/requests.storage": "10Gi",
    "requests.example.com/dongle": "3",
    "count/replicasets.apps": "5",
}


@pytest.fixture
def at(namespace):
    return f"/api/v1/namespaces/{namespace}"


def quota(name="test-quota", hard=None, **spec):
    return {"metadata": {"name": name}, "spec": {"hard": hard or HARD, **spec}}


def uses(rest, at, name="test-quota", **expected):
    """Wait until the quota's status says that so much is used; the status."""
    wanted = {key.replace("_", "."): value for key, value in expected.items()}

    def check():
        status = rest.get(f"{at}/resourcequotas/{name}").get("status") or {}
        used = status.get("used") or {}
        return status if all(used.get(k) == v for k, v in wanted.items()) and used else None

    return wait_until(check, 30)


def make_quota(rest, at, **options):
    made = rest.post(f"{at}/resourcequotas", quota(**options))
    name = made["metadata"]["name"]
    spec = made["spec"]["hard"]

    def known():
        status = rest.get(f"{at}/resourcequotas/{name}").get("status") or {}
        return status if status.get("hard") == spec and set(status["used"]) == set(spec) else None

    return wait_until(known, 30)


def sized(name, requests=None, limits=None, **spec):
    tree = pod(name, **spec)
    resources = {k: v for k, v in (("requests", requests), ("limits", limits)) if v}
    tree["spec"]["containers"][0]["resources"] = resources
    return tree


def test_should_create_a_resource_quota_and_ensure_its_status_is_promptly_calculated(rest, at):
    status = make_quota(rest, at)
    # The namespace's own root certificate is a config map.
    assert status["used"] == {**dict.fromkeys(HARD, "0"), "resourcequotas": "1", "configmaps": "1"}


def test_should_capture_the_life_of_a_pod(rest, at):
    make_quota(rest, at)
    asked = {
        "cpu": "500m",
        "memory": "252Mi",
        "ephemeral-storage": "30Gi",
        "example.com/dongle": "2",
    }
    limits = {"example.com/dongle": "2"}
    rest.post(f"{at}/pods", sized("test-pod", asked, limits))
    status = uses(rest, at, pods="1", cpu="500m", memory="252Mi")
    assert status["used"]["ephemeral-storage"] == "30Gi"
    assert status["used"]["requests.example.com/dongle"] == "2"
    # Not allowed: more than what is left.
    refused = rest.fails(
        403,
        "Forbidden",
        "POST",
        f"{at}/pods",
        sized("fail-pod", {"cpu": "600m", "memory": "100Mi"}),
    )
    assert refused["message"] == (
        'pods "fail-pod" is forbidden: exceeded quota: test-quota, requested: cpu=600m, '
        "used: cpu=500m, limited: cpu=1"
    )
    refused = rest.fails(
        403,
        "Forbidden",
        "POST",
        f"{at}/pods",
        sized(
            "fail-pod-for-extended-resource",
            {"cpu": "100m", "memory": "100Mi", "example.com/dongle": "2"},
            {"example.com/dongle": "2"},
        ),
    )
    assert (
        "exceeded quota: test-quota, requested: requests.example.com/dongle=2"
        in (refused["message"])
    )
    # Not allowed: to say nothing of what is limited.
    refused = rest.fails(403, "Forbidden", "POST", f"{at}/pods", pod("says-nothing"))
    assert refused["message"] == (
        'pods "says-nothing" is forbidden: failed quota: test-quota: must specify '
        "cpu for: c; memory for: c"
    )
    rest.fails(
        422,
        "Invalid",
        "PATCH",
        f"{at}/pods/test-pod",
        {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]}},
        headers={"content-type": "application/strategic-merge-patch+json"},
    )
    rest.delete(f"{at}/pods/test-pod", {"gracePeriodSeconds": 0})
    nothing = {**dict.fromkeys(HARD, "0"), "resourcequotas": "1", "configmaps": "1"}
    wait_until(lambda: rest.get(f"{at}/resourcequotas/test-quota")["status"]["used"] == nothing, 30)


@pytest.mark.parametrize(
    ("path", "tree", "name", "counted"),
    [
        ("configmaps", config_map("test-configmap"), "test-configmap", {"configmaps": "2"}),
        (
            "secrets",
            {"metadata": {"name": "test-secret"}, "stringData": {"data-1": "value-1"}},
            "test-secret",
            {"secrets": "1"},
        ),
        (
            "replicationcontrollers",
            workload("ReplicationController", "test-rc", 0),
            "test-rc",
            {"replicationcontrollers": "1"},
        ),
        (
            "persistentvolumeclaims",
            {
                "metadata": {"name": "test-claim"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": "gold",
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            },
            "test-claim",
            {
                "persistentvolumeclaims": "1",
                "requests.storage": "1Gi",
                "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
                "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
            },
        ),
        (
            "/apis/apps/v1/namespaces/{}/replicasets",
            workload("ReplicaSet", "test-rs", 0),
            "test-rs",
            {"count/replicasets.apps": "1"},
        ),
    ],
    ids=["config map", "secret", "replication controller", "claim", "replica set"],
)
def test_should_capture_the_life_of_a_counted_object(
    rest, at, namespace, path, tree, name, counted
):
    make_quota(rest, at)
    base = path.format(namespace) if path.startswith("/") else f"{at}/{path}"
    rest.post(base, tree)

    def used():
        return rest.get(f"{at}/resourcequotas/test-quota")["status"]["used"]

    # Reserved before it was stored: no waiting.
    assert {key: used()[key] for key in counted} == counted
    rest.delete(f"{base}/{name}")
    before = {key: "1" if key == "configmaps" else "0" for key in counted}
    wait_until(lambda: {key: used()[key] for key in counted} == before, 30)


def service(name, kind="ClusterIP", **spec):
    ports = [{"port": 80, "targetPort": 80}]
    return {"metadata": {"name": name}, "spec": {"type": kind, "ports": ports, **spec}}


def test_should_capture_the_life_of_a_service(rest, at):
    make_quota(rest, at)
    rest.post(f"{at}/services", service("test-service"))
    rest.post(f"{at}/services", service("test-service-np", "NodePort"))
    uses(rest, at, services="2", services_nodeports="1", services_loadbalancers="0")
    refused = rest.fails(
        403, "Forbidden", "POST", f"{at}/services", service("test-service-lb", "LoadBalancer")
    )
    assert refused["message"] == (
        'services "test-service-lb" is forbidden: exceeded quota: test-quota, '
        "requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1"
    )
    # A change of type costs the difference, or gives it back.
    rest.patch(f"{at}/services/test-service-np", {"spec": {"type": "ClusterIP"}})
    uses(rest, at, services="2", services_nodeports="0")
    rest.patch(f"{at}/services/test-service", {"spec": {"type": "NodePort"}})
    uses(rest, at, services="2", services_nodeports="1")
    rest.fails(
        403,
        "Forbidden",
        "PATCH",
        f"{at}/services/test-service-np",
        {"spec": {"type": "NodePort"}},
        headers={"content-type": "application/merge-patch+json"},
    )
    for name in ("test-service", "test-service-np"):
        rest.delete(f"{at}/services/{name}")
    uses(rest, at, services="0", services_nodeports="0", services_loadbalancers="0")


TERMINATING = {"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi"}
TERMINATING |= {"limits.cpu": "2", "limits.memory": "1Gi"}


@pytest.mark.parametrize(
    ("scopes", "trees", "hard"),
    [
        (
            ("BestEffort", "NotBestEffort"),
            (
                pod("best-effort-pod"),
                sized(
                    "burstable-pod",
                    {"cpu": "500m", "memory": "200Mi"},
                    {"cpu": "1", "memory": "400Mi"},
                ),
            ),
            {"pods": "5"},
        ),
        (
            ("Terminating", "NotTerminating"),
            (
                sized(
                    "terminating-pod",
                    {"cpu": "500m", "memory": "200Mi"},
                    {"cpu": "1", "memory": "400Mi"},
                    activeDeadlineSeconds=3600,
                ),
                sized(
                    "test-pod",
                    {"cpu": "500m", "memory": "200Mi"},
                    {"cpu": "1", "memory": "400Mi"},
                ),
            ),
            TERMINATING,
        ),
    ],
    ids=["best effort", "terminating"],
)
def test_should_verify_resource_quota_with_scopes(rest, at, scopes, trees, hard):
    for scope in scopes:
        make_quota(rest, at, name=f"quota-{scope.lower()}", hard=hard, scopes=[scope])
    for mine, tree in zip(scopes, trees, strict=True):
        rest.post(f"{at}/pods", tree)
        for scope in scopes:
            status = rest.get(f"{at}/resourcequotas/quota-{scope.lower()}")["status"]
            assert status["used"]["pods"] == ("1" if scope == mine else "0")
            if "requests.cpu" in hard:
                expected = ("500m", "1") if scope == mine else ("0", "0")
                used = status["used"]
                assert (used["requests.cpu"], used["limits.cpu"]) == expected
        rest.delete(f"{at}/pods/{tree['metadata']['name']}", {"gracePeriodSeconds": 0})
        uses(rest, at, f"quota-{mine.lower()}", pods="0")


def test_should_be_able_to_update_and_delete_resource_quota(rest, at):
    path = f"{at}/resourcequotas/test-quota"
    make_quota(rest, at, hard={"cpu": "500m", "memory": "500Mi"})
    rest.change(path, lambda tree: tree["spec"]["hard"].update(cpu="1", memory="1Gi"))
    assert rest.get(path)["spec"]["hard"] == {"cpu": "1", "memory": "1Gi"}
    wait_until(lambda: rest.get(path)["status"]["hard"] == {"cpu": "1", "memory": "1Gi"}, 30)
    rest.delete(path)
    rest.wait_gone(path)


def test_should_manage_the_lifecycle_of_a_resource_quota(rest, at):
    tree = quota("e2e-quota", {"cpu": "1", "memory": "500Mi"})
    tree["metadata"]["labels"] = {"life": "e2e"}
    rest.post(f"{at}/resourcequotas", tree)
    found = rest.get("/api/v1/resourcequotas", labelSelector="life=e2e")["items"]
    assert [q["metadata"]["name"] for q in found] == ["e2e-quota"]
    patched = rest.patch(
        f"{at}/resourcequotas/e2e-quota",
        {"metadata": {"labels": {"e2e-quota": "patched"}}, "spec": {"hard": {"memory": "750Mi"}}},
    )
    assert patched["metadata"]["labels"]["e2e-quota"] == "patched"
    assert patched["spec"]["hard"] == {"cpu": "1", "memory": "750Mi"}
    rest.delete(f"{at}/resourcequotas", labelSelector="e2e-quota=patched")
    wait_until(
        lambda: not rest.get("/api/v1/resourcequotas", labelSelector="life=e2e")["items"], 30
    )


def test_should_apply_changes_to_a_resource_quota_status(rest, at):
    path = f"{at}/resourcequotas/e2e-rq-status"
    make_quota(rest, at, name="e2e-rq-status", hard={"cpu": "500m", "memory": "500Mi"})
    with rest.watch(f"{at}/resourcequotas") as events:
        updated = rest.change(
            f"{path}/status",
            lambda tree: tree["status"]["hard"].update(cpu="1", memory="1Gi"),
        )
        assert updated["status"]["hard"] == {"cpu": "1", "memory": "1Gi"}
        events.until("MODIFIED", lambda t: t["status"].get("hard") == {"cpu": "1", "memory": "1Gi"})
        # The specification is what counts: the controller brings it back.
        events.until(
            "MODIFIED", lambda t: t["status"].get("hard") == {"cpu": "500m", "memory": "500Mi"}
        )
        rest.patch(path, {"spec": {"hard": {"cpu": "1", "memory": "1Gi"}}})
        events.until("MODIFIED", lambda t: t["status"].get("hard") == {"cpu": "1", "memory": "1Gi"})
    patch = {"status": {"hard": {"cpu": "2", "memory": "2Gi"}}}
    patched = rest.patch(f"{path}/status", patch)
    assert patched["status"]["hard"] == {"cpu": "2", "memory": "2Gi"}
    assert patched["spec"]["hard"] == {"cpu": "1", "memory": "1Gi"}
    wait_until(lambda: rest.get(f"{path}/status")["status"]["hard"]["cpu"] == "1", 30)


def test_replication_controller_should_surface_exceeded_quota(rest, at):
    make_quota(rest, at, name="condition-test", hard={"pods": "2"})
    rest.post(
        f"{at}/replicationcontrollers", workload("ReplicationController", "condition-test", 3)
    )

    def failing():
        status = rest.get(f"{at}/replicationcontrollers/condition-test").get("status") or {}
        return [c for c in status.get("conditions") or () if c["type"] == "ReplicaFailure"]

    (found,) = wait_until(failing, 30)
    assert (found["status"], found["reason"]) == ("True", "FailedCreate")
    assert "exceeded quota: condition-test, requested: pods=1, used: pods=2" in found["message"]
    rest.patch(f"{at}/replicationcontrollers/condition-test", {"spec": {"replicas": 2}})
    wait_until(lambda: not failing(), 30)


def test_custom_resources_are_counted_also_when_their_kind_comes_later(rest, namespace, at):
    group = f"{namespace}.example.com"
    name = f"count/gadgets.{group}"
    rest.post(f"{at}/resourcequotas", quota(hard={name: "1"}))
    rest.post(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {
            "metadata": {"name": f"gadgets.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"plural": "gadgets", "kind": "Gadget"},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": {"type": "object"}},
                    }
                ],
            },
        },
    )
    path = f"/apis/{group}/v1/namespaces/{namespace}/gadgets"
    wait_until(lambda: rest.answer("GET", path).status == 200, 30)
    used = f"{at}/resourcequotas/test-quota"
    wait_until(lambda: (rest.get(used).get("status") or {}).get("used") == {name: "0"}, 30)
    gadget = {"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": {"name": "one"}}
    rest.post(path, gadget)
    gadget["metadata"]["name"] = "two"
    refused = rest.fails(403, "Forbidden", "POST", path, gadget)
    assert f"exceeded quota: test-quota, requested: {name}=1, used: {name}=1" in refused["message"]
    rest.delete(f"{path}/one")
    wait_until(lambda: rest.get(used)["status"]["used"] == {name: "0"}, 30)
    rest.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.{group}")


def test_what_was_refused_for_another_reason_costs_nothing(rest, at):
    make_quota(rest, at, hard={"configmaps": "5"})
    rest.post(f"{at}/configmaps", config_map("mine"))
    for _ in range(5):
        rest.fails(409, "AlreadyExists", "POST", f"{at}/configmaps", config_map("mine"))
    assert rest.get(f"{at}/resourcequotas/test-quota")["status"]["used"] == {"configmaps": "2"}
