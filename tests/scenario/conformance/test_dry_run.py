"""Dry runs: whatever the verb or subresource, answered as if it were done, and nothing is."""

from tests.conformance_kit import config_map, pod, wait_until, workload

DRY = {"dryRun": "All"}
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def test_of_a_pods_subresources(rest, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    rest.post(path, pod("p"))
    wait_until(lambda: rest.get(f"{path}/p")["status"].get("phase") == "Running")
    before = rest.get(f"{path}/p")
    eviction = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "p"}}
    assert rest.post(f"{path}/p/eviction", eviction, **DRY)["status"] == "Success"
    shown = rest.patch(f"{path}/p/status", {"status": {"phase": "Failed"}}, **DRY)
    assert shown["status"]["phase"] == "Failed"
    held = {"name": "d", "image": "tools:1"}
    debug = {"spec": {"ephemeralContainers": [held]}}
    shown = rest.patch(f"{path}/p/ephemeralcontainers", debug, "strategic", **DRY)
    assert shown["spec"]["ephemeralContainers"][0]["name"] == "d"
    assert rest.delete(f"{path}/p", **DRY)["metadata"]["name"] == "p"
    assert len(rest.delete(path, **DRY)["items"]) == 1
    assert rest.get(f"{path}/p") == before
    # Bound in a dry run, it still waits for its scheduler.
    rest.post(path, pod("w", schedulerName="nobody"))
    target = {"apiVersion": "v1", "kind": "Node", "name": "sim-0"}
    rest.post(f"{path}/w/binding", {"metadata": {"name": "w"}, "target": target}, **DRY)
    assert "nodeName" not in rest.get(f"{path}/w")["spec"]


def test_of_scale_namespace_and_token(rest, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    rest.post(path, workload("Deployment", "d", 0))
    shown = rest.patch(f"{path}/d/scale", {"spec": {"replicas": 5}}, **DRY)
    assert shown["spec"]["replicas"] == 5
    assert rest.get(f"{path}/d")["spec"]["replicas"] == 0
    here = f"/api/v1/namespaces/{namespace}"
    rest.delete(here, **DRY)
    assert rest.get(here)["status"] == {"phase": "Active"}
    token = rest.post(f"{here}/serviceaccounts/default/token", {}, **DRY)
    assert token["kind"] == "TokenRequest"


def test_what_a_service_would_get_stays_free(rest, namespace):
    path = f"/api/v1/namespaces/{namespace}/services"
    ports = [{"port": 80, "nodePort": 31234}]
    spec = {"type": "NodePort", "ports": ports, "clusterIP": "10.43.77.77"}
    body = {"metadata": {"name": "s"}, "spec": spec}
    assert rest.post(path, body, **DRY)["spec"]["clusterIP"] == "10.43.77.77"
    assert rest.gone("/apis/networking.k8s.io/v1/ipaddresses/10.43.77.77")
    again = {"metadata": {"name": "another"}, "spec": spec}
    made = rest.post(path, again)
    assert made["spec"]["ports"][0]["nodePort"] == 31234
    # What is in use is refused all the same, and a dry deletion frees nothing.
    rest.delete(f"{path}/another", **DRY)
    del spec["clusterIP"]
    status = rest.fails(422, "Invalid", "POST", path, body, query=DRY)
    assert "provided port is already allocated" in status["message"]


def test_of_a_definition(rest):
    names = {"plural": "dries", "kind": "Dry"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
    spec = {"group": "dry.example.com", "scope": "Cluster", "names": names, "versions": versions}
    body = {"metadata": {"name": "dries.dry.example.com"}, "spec": spec}
    rest.post(CRDS, body, **DRY)
    assert rest.gone(f"{CRDS}/dries.dry.example.com")
    assert rest.gone("/apis/dry.example.com")


def test_apply_and_options_in_the_body(rest, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    headers = {"content-type": "application/apply-patch+yaml"}
    query = {**DRY, "fieldManager": "me"}
    body = config_map("applied", a="b")
    shown = rest.answer("PATCH", f"{path}/applied", body, query=query, headers=headers)
    assert (shown.status, shown.tree["data"]) == (201, {"a": "b"})
    assert rest.gone(f"{path}/applied")
    rest.post(path, config_map("kept"))
    rest.delete(f"{path}/kept", {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]})
    assert not rest.gone(f"{path}/kept")
