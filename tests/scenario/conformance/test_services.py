"""sig-network as far as it is the API: Endpoints, EndpointSlices, mirroring, Service status."""

from tests.conformance_kit import condition, pod, wait_until

from kutter.apiserver.kubernetes_service import publish_address

MIRROR = "endpointslicemirroring-controller.k8s.io"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


def core(namespace, plural, name="", sub=""):
    path = f"/api/v1/namespaces/{namespace}/{plural}"
    return "/".join(part for part in (path, name, sub) if part)


def slices(rest, namespace, service, **query):
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    selector = f"kubernetes.io/service-name={service}"
    return rest.get(path, labelSelector=selector, **query)["items"]


def service(name, *, labels=None, **spec):
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"ports": ports, **spec}}


def test_should_have_endpoints_and_endpoint_slices_pointing_to_api_server(cluster, rest):
    # A test cluster listens on the loopback interface, which is not published by itself.
    cluster.run(publish_address(cluster.plane.api, ("192.0.2.1", 6443)))
    found = rest.get(core("default", "services", "kubernetes"))
    assert found["spec"]["type"] == "ClusterIP"
    endpoints = rest.get(core("default", "endpoints", "kubernetes"))
    assert endpoints["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"] == "true"
    (one,) = slices(rest, "default", "kubernetes")
    addresses = [a for e in one["endpoints"] for a in e["addresses"]]
    assert addresses == [a["ip"] for s in endpoints["subsets"] for a in s["addresses"]]
    assert [p["name"] for p in one["ports"]] == ["https"]


def test_should_create_and_delete_endpoints_and_slices_for_a_service_with_a_selector(
    rest, namespace
):
    rest.post(core(namespace, "services"), service("empty", selector={"does-not": "match"}))
    wait_until(lambda: not rest.gone(core(namespace, "endpoints", "empty")))
    (made,) = wait_until(lambda: slices(rest, namespace, "empty"))
    assert made["metadata"]["labels"][MANAGED_BY] == "endpointslice-controller.k8s.io"
    assert made["metadata"]["ownerReferences"][0]["kind"] == "Service"
    assert not made.get("endpoints")
    rest.delete(core(namespace, "services", "empty"))
    rest.wait_gone(core(namespace, "endpoints", "empty"))
    wait_until(lambda: not slices(rest, namespace, "empty"))


def test_should_create_endpoints_and_slices_for_pods_matching_a_service(rest, namespace):
    for number in (1, 2):
        body = pod(f"pod{number}", labels={"foo": "bar", f"example{number}": "yes"})
        body["spec"]["containers"][0]["ports"] = [
            {"name": "example-name", "containerPort": 3000 + number}
        ]
        rest.post(core(namespace, "pods"), body)
    named = service("named", selector={"foo": "bar"}, publishNotReadyAddresses=True)
    named["spec"]["ports"] = [{"name": "http", "port": 80, "targetPort": "example-name"}]
    rest.post(core(namespace, "services"), named)
    one = service("one", selector={"example1": "yes"})
    rest.post(core(namespace, "services"), one)

    def both():
        ports = [p["port"] for s in slices(rest, namespace, "named") for p in s.get("ports") or ()]
        return sorted(ports) == [3001, 3002]

    wait_until(both)

    def subsets():
        found = rest.answer("GET", core(namespace, "endpoints", "named")).tree.get("subsets", [])
        return sorted(p["port"] for s in found for p in s.get("ports") or ()) == [3001, 3002]

    wait_until(subsets)

    def single():
        found = slices(rest, namespace, "one")
        return found and found[0].get("endpoints")

    (endpoint,) = wait_until(single)
    target = endpoint["targetRef"]
    assert (target["kind"], target["name"], target["namespace"]) == ("Pod", "pod1", namespace)
    assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert endpoint["nodeName"].startswith("sim-")


def test_should_mirror_a_custom_endpoints_resource_through_create_update_and_delete(
    rest, namespace
):
    rest.post(core(namespace, "services"), service("example-custom-endpoints"))
    subset = {
        "addresses": [{"ip": "10.1.2.3"}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    }
    endpoints = {"metadata": {"name": "example-custom-endpoints"}, "subsets": [subset]}
    made = rest.post(core(namespace, "endpoints"), endpoints)

    def mirrored(address):
        def check():
            found = slices(rest, namespace, "example-custom-endpoints")
            addresses = [e["addresses"] for s in found for e in s.get("endpoints") or ()]
            return found if addresses == [[address]] else None

        return check

    (one,) = wait_until(mirrored("10.1.2.3"))
    assert one["metadata"]["labels"][MANAGED_BY] == MIRROR
    owner = one["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("Endpoints", made["metadata"]["uid"])
    assert one["ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]
    assert one["endpoints"][0]["conditions"] == {"ready": True}
    made["subsets"][0]["addresses"] = [{"ip": "10.2.3.4"}]
    rest.put(core(namespace, "endpoints", "example-custom-endpoints"), made)
    (same,) = wait_until(mirrored("10.2.3.4"))
    assert same["metadata"]["name"] == one["metadata"]["name"]
    rest.delete(core(namespace, "endpoints", "example-custom-endpoints"))
    wait_until(lambda: not slices(rest, namespace, "example-custom-endpoints"))


def test_should_test_the_lifecycle_of_an_endpoint(rest, namespace):
    path = core(namespace, "endpoints")
    labels = {"test-endpoint-static": "true"}
    subset = {
        "addresses": [{"ip": "10.0.0.24"}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    }
    selector = {"labelSelector": "test-endpoint-static=true"}
    with rest.watch(path, **selector) as events:
        body = {"metadata": {"name": "testservice", "labels": labels}, "subsets": [subset]}
        made = rest.post(path, body)
        events.until("ADDED")
        assert len(rest.get("/api/v1/endpoints", **selector)["items"]) == 1
        made["metadata"]["labels"]["test-service"] = "updated"
        rest.put(f"{path}/testservice", made)
        events.until("MODIFIED")
        patch = {
            "metadata": {"labels": {"test-service": "patched"}},
            "subsets": [
                {
                    "addresses": [{"ip": "10.0.0.25"}],
                    "ports": [{"name": "http-test", "port": 8080, "protocol": "TCP"}],
                }
            ],
        }
        rest.patch(f"{path}/testservice", patch, "strategic")
        events.until("MODIFIED", lambda t: t["metadata"]["labels"]["test-service"] == "patched")
        found = rest.get(f"{path}/testservice")
        assert found["subsets"][0]["addresses"][0]["ip"] == "10.0.0.25"
        assert found["subsets"][0]["ports"][0]["name"] == "http-test"
        rest.delete(path, **selector)
        events.until("DELETED")


def test_should_complete_a_service_status_lifecycle(rest, namespace):
    path = core(namespace, "services", "test-service", "status")
    selector = {"labelSelector": "test-service-static=true"}
    with rest.watch(core(namespace, "services"), **selector) as events:
        labels = {"test-service-static": "true"}
        body = service("test-service", labels=labels, type="LoadBalancer")
        body["spec"]["loadBalancerClass"] = "example.com/none"  # nobody else writes its status
        rest.post(core(namespace, "services"), body)
        events.until("ADDED")
        assert rest.get(path)["status"]["loadBalancer"] == {}
        patch = {
            "metadata": {"annotations": {"patchedstatus": "true"}},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}},
        }
        patched = rest.patch(path, patch)
        assert patched["status"]["loadBalancer"]["ingress"][0]["ip"] == "203.0.113.1"
        events.until("MODIFIED", lambda t: t["metadata"].get("annotations"))
        made = {
            "type": "StatusUpdate",
            "status": "True",
            "reason": "E2E",
            "message": "Set from e2e test",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        patched["status"]["conditions"] = [made]
        rest.put(path, patched)
        events.until("MODIFIED", lambda t: condition(t, "StatusUpdate"))
        whole = rest.patch(
            core(namespace, "services", "test-service"),
            {"metadata": {"labels": {"test-service": "patched"}}},
            "strategic",
        )
        assert condition(whole, "StatusUpdate")["reason"] == "E2E"
        rest.delete(core(namespace, "services", "test-service"))
        events.until("DELETED")


def test_should_delete_a_collection_of_services(rest, namespace):
    for number in range(3):
        label = "label" if number < 2 else "other"
        rest.post(core(namespace, "services"), service(f"s-{number}", labels={"e2e": label}))
    rest.delete(core(namespace, "services"), labelSelector="e2e=label")
    left = rest.get(core(namespace, "services"))["items"]
    assert [s["metadata"]["name"] for s in left] == ["s-2"]


def test_should_find_a_service_from_listing_all_namespaces(rest):
    found = rest.get("/api/v1/services")["items"]
    assert ("default", "kubernetes") in [
        (s["metadata"]["namespace"], s["metadata"]["name"]) for s in found
    ]


def test_should_be_able_to_change_the_type_of_a_service(rest, namespace):
    path = core(namespace, "services", "changing")
    external = {"type": "ExternalName", "externalName": "foo.example.com"}
    rest.post(core(namespace, "services"), {"metadata": {"name": "changing"}, "spec": external})
    assert "clusterIP" not in rest.get(path)["spec"]
    tree = rest.get(path)
    tree["spec"] = {"type": "ClusterIP", "ports": [{"port": 80, "name": "http"}]}
    address = rest.put(path, tree)["spec"]["clusterIP"]
    assert address.startswith("10.43.")
    tree = rest.get(path)
    tree["spec"]["type"] = "NodePort"
    port = rest.put(path, tree)["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    tree = rest.get(path)
    assert tree["spec"]["clusterIP"] == address
    tree["spec"] = {"type": "ExternalName", "externalName": "foo.example.com"}
    changed = rest.put(path, tree)["spec"]
    assert (changed["type"], changed.get("clusterIP")) == ("ExternalName", None)


def test_should_serve_multiport_endpoints_and_slices_as_pods_come_and_go(rest, namespace):
    multi = service("multi", selector={"app": "multi"})
    multi["spec"]["ports"] = [
        {"name": "portname1", "port": 80, "targetPort": "portname1"},
        {"name": "portname2", "port": 81, "targetPort": "portname2"},
    ]
    rest.post(core(namespace, "services"), multi)

    def ports_by_pod():
        found = {}
        for item in slices(rest, namespace, "multi"):
            for endpoint in item.get("endpoints") or ():
                name = endpoint["targetRef"]["name"]
                found.setdefault(name, []).extend(p["port"] for p in item.get("ports") or ())
        return found

    for number in (1, 2):
        body = pod(f"pod{number}", labels={"app": "multi"})
        body["spec"]["containers"][0]["ports"] = [
            {"name": f"portname{number}", "containerPort": 99 + number}
        ]
        rest.post(core(namespace, "pods"), body)
    wait_until(lambda: ports_by_pod() == {"pod1": [100], "pod2": [101]})
    rest.delete(core(namespace, "pods", "pod1"))
    wait_until(lambda: ports_by_pod() == {"pod2": [101]})
    rest.delete(core(namespace, "pods", "pod2"))
    wait_until(lambda: ports_by_pod() == {})
