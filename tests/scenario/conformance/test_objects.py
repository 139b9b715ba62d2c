"""Plain objects: ConfigMap, Secret, LimitRange, PriorityClass, quota, revisions, leases, nodes."""

import base64

import pytest
from tests.conformance_kit import condition, config_map, pod, wait_until


def core(namespace, plural, name=""):
    return f"/api/v1/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


@pytest.mark.parametrize("plural", ["configmaps", "secrets"])
def test_should_be_immutable_if_immutable_field_is_set(rest, namespace, plural):
    path = core(namespace, plural, "immutable")
    encode = (lambda v: base64.b64encode(v.encode()).decode()) if plural == "secrets" else str
    made = {"metadata": {"name": "immutable"}, "data": {"data-1": encode("value-1")}}
    rest.post(core(namespace, plural), made)
    tree = rest.get(path)
    tree["data"]["data-4"] = encode("value-4")
    tree = rest.put(path, tree)
    tree["immutable"] = True
    tree = rest.put(path, tree)
    changed = {**tree, "data": {**tree["data"], "data-5": encode("value-5")}}
    status = rest.fails(422, "Invalid", "PUT", path, changed)
    assert "field is immutable when `immutable` is set" in status["message"]
    rest.fails(422, "Invalid", "PUT", path, {**tree, "immutable": False})
    # What is not data may change, and the object may be deleted.
    tree["metadata"]["labels"] = {"a": "b"}
    rest.put(path, tree)
    rest.delete(path)
    rest.wait_gone(path)


def test_should_run_through_a_config_map_lifecycle(rest, namespace):
    selector = {"labelSelector": "test-configmap-static=true"}
    labels = {"test-configmap-static": "true"}
    with rest.watch(core(namespace, "configmaps"), **selector) as events:
        rest.post(core(namespace, "configmaps"), config_map("test", labels=labels, valueName="v"))
        events.until("ADDED")
        body = {
            "metadata": {"labels": {"test-configmap": "patched"}},
            "data": {"valueName": "value1"},
        }
        rest.patch(core(namespace, "configmaps", "test"), body, "strategic")
        events.until("MODIFIED", lambda t: t["data"]["valueName"] == "value1")
        assert len(rest.get("/api/v1/configmaps", **selector)["items"]) == 1
        rest.delete(core(namespace, "configmaps"), **selector)
        events.until("DELETED")


def test_should_fail_to_create_config_map_and_secret_with_empty_key(rest, namespace):
    for plural, value in (("configmaps", "v"), ("secrets", "dg==")):
        body = {"metadata": {"name": "empty-key"}, "data": {"": value}}
        status = rest.fails(422, "Invalid", "POST", core(namespace, plural), body)
        assert 'data[]: Invalid value: "": ' in status["message"]


def test_should_patch_a_secret(rest, namespace):
    labels = {"testsecret-constant": "true"}
    body = {
        "metadata": {"name": "test-secret", "labels": labels},
        "data": {"key": "dmFsdWU="},
        "type": "Opaque",
    }
    rest.post(core(namespace, "secrets"), body)
    found = rest.get("/api/v1/secrets", labelSelector="testsecret-constant=true")["items"]
    assert [s["metadata"]["name"] for s in found] == ["test-secret"]
    patch = {
        "metadata": {"labels": {"testsecret": "true"}},
        "data": {"key": base64.b64encode(b"value1").decode()},
    }
    rest.patch(core(namespace, "secrets", "test-secret"), patch, "strategic")
    tree = rest.get(core(namespace, "secrets", "test-secret"))
    assert base64.b64decode(tree["data"]["key"]) == b"value1"
    assert tree["metadata"]["labels"]["testsecret"] == "true"
    rest.delete(core(namespace, "secrets"), labelSelector="testsecret=true")
    assert rest.gone(core(namespace, "secrets", "test-secret"))


def limit_range():
    return {
        "metadata": {"name": "limit-range", "labels": {"limits": "e2e"}},
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "min": {"cpu": "50m", "memory": "100Mi", "ephemeral-storage": "100Gi"},
                    "max": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
                    "default": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
                    "defaultRequest": {
                        "cpu": "100m",
                        "memory": "200Mi",
                        "ephemeral-storage": "200Gi",
                    },
                    "maxLimitRequestRatio": {},
                }
            ]
        },
    }


def resources(cpu, memory, disk):
    return {"cpu": cpu, "memory": memory, "ephemeral-storage": disk}


def asking(name, requests=None, limits=None):
    body = pod(name)
    wanted = {k: v for k, v in (("requests", requests), ("limits", limits)) if v}
    body["spec"]["containers"][0]["resources"] = wanted
    return body


def test_should_create_a_limit_range_with_defaults_and_ensure_pod_has_them(rest, namespace):
    made = rest.post(core(namespace, "limitranges"), limit_range())
    pods = core(namespace, "pods")
    got = rest.post(pods, asking("plain"))["spec"]["containers"][0]["resources"]
    assert got == {
        "requests": resources("100m", "200Mi", "200Gi"),
        "limits": resources("500m", "500Mi", "500Gi"),
    }
    partial = asking("partial", {"cpu": "150m", "memory": "150Mi"}, {"cpu": "300m"})
    got = rest.post(pods, partial)["spec"]["containers"][0]["resources"]
    assert got == {
        "requests": resources("150m", "150Mi", "200Gi"),
        "limits": resources("300m", "500Mi", "500Gi"),
    }
    status = rest.fails(
        403, "Forbidden", "POST", pods, asking("small", resources("10m", "50Mi", "50Gi"))
    )
    assert "minimum cpu usage per Container is 50m, but request is 10m" in status["message"]
    big = asking("big", resources("600m", "600Mi", "600Gi"), resources("600m", "600Mi", "600Gi"))
    rest.fails(403, "Forbidden", "POST", pods, big)
    made["spec"]["limits"][0]["min"] = resources("9m", "49Mi", "49Gi")
    path = core(namespace, "limitranges", "limit-range")
    rest.put(path, made)
    rest.post(pods, asking("small", resources("10m", "50Mi", "50Gi")))
    rest.fails(403, "Forbidden", "POST", pods, big)
    rest.delete(path)
    rest.wait_gone(path)
    rest.post(pods, big)


def test_should_list_patch_and_delete_a_limit_range_by_collection(rest, namespace):
    rest.post(core(namespace, "limitranges"), limit_range())
    everywhere = rest.get("/api/v1/limitranges", labelSelector="limits=e2e")["items"]
    assert len(everywhere) == 1
    body = {
        "metadata": {"labels": {"limit-range": "patched"}},
        "spec": {"limits": [{"type": "Container", "min": {"cpu": "40m"}}]},
    }
    patched = rest.patch(core(namespace, "limitranges", "limit-range"), body, "strategic")
    assert patched["spec"]["limits"][0]["min"]["cpu"] == "40m"
    rest.delete(core(namespace, "limitranges"), labelSelector="limit-range=patched")
    assert rest.get(core(namespace, "limitranges"))["items"] == []


def test_verify_priority_class_endpoints_can_be_operated_with_different_http_methods(rest):
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    for name, value in (("p1", 1), ("p2", 2)):
        rest.post(path, {"metadata": {"name": name, "labels": {"e2e": "yes"}}, "value": value})
    tree = rest.get(f"{path}/p1")
    assert (tree["value"], tree["preemptionPolicy"]) == (1, "PreemptLowerPriority")
    rest.fails(422, "Invalid", "PUT", f"{path}/p1", {**tree, "value": 9})
    status = rest.fails(
        422,
        "Invalid",
        "PATCH",
        f"{path}/p2",
        {"value": 9},
        headers={"content-type": "application/merge-patch+json"},
    )
    assert "may not be changed in an update." in status["message"]
    patched = rest.patch(f"{path}/p1", {"description": "updated"})
    assert patched["description"] == "updated"
    patched["description"] = "again"
    assert rest.put(f"{path}/p1", patched)["description"] == "again"
    rest.delete(path, labelSelector="e2e=yes")
    left = [c["metadata"]["name"] for c in rest.get(path)["items"]]
    assert left == ["system-cluster-critical", "system-node-critical"]


def test_should_manage_a_resource_quota_and_its_status(rest, namespace):
    path = core(namespace, "resourcequotas")
    body = {
        "metadata": {"name": "e2e-quota", "labels": {"e2e": "quota"}},
        "spec": {"hard": {"cpu": "1", "memory": "500Mi"}},
    }
    rest.post(path, body)
    # The controller writes the status meanwhile.
    changed = rest.change(f"{path}/e2e-quota", lambda t: t["spec"]["hard"].update(cpu="2"))
    assert changed["spec"]["hard"] == {"cpu": "2", "memory": "500Mi"}
    patched = rest.patch(f"{path}/e2e-quota", {"spec": {"hard": {"memory": "750Mi"}}}, "strategic")
    assert patched["spec"]["hard"] == {"cpu": "2", "memory": "750Mi"}
    status = rest.patch(
        f"{path}/e2e-quota/status", {"status": {"hard": {"cpu": "2", "memory": "750Mi"}}}
    )
    assert status["status"]["hard"] == {"cpu": "2", "memory": "750Mi"}
    assert len(rest.get("/api/v1/resourcequotas", labelSelector="e2e=quota")["items"]) == 1
    rest.delete(path, labelSelector="e2e=quota")
    assert rest.get(path)["items"] == []


def test_should_manage_the_lifecycle_of_a_controller_revision(rest, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/controllerrevisions"
    body = {"metadata": {"name": "rev", "labels": {"e2e": "yes"}}, "data": {"a": 1}, "revision": 1}
    made = rest.post(path, body)
    assert made["data"] == {"a": 1}
    patched = rest.patch(f"{path}/rev", {"metadata": {"labels": {"rev": "patched"}}}, "strategic")
    assert patched["metadata"]["labels"] == {"e2e": "yes", "rev": "patched"}
    patched["revision"] = 3
    assert rest.put(f"{path}/rev", patched)["revision"] == 3
    status = rest.fails(
        422,
        "Invalid",
        "PUT",
        f"{path}/rev",
        {
            **patched,
            "resourceVersion": "",
            "data": {"a": 2},
            "metadata": {**patched["metadata"], "resourceVersion": ""},
        },
    )
    assert "data: Invalid value: " in status["message"]
    assert "field is immutable" in status["message"]
    assert len(rest.get("/apis/apps/v1/controllerrevisions", labelSelector="e2e=yes")["items"]) == 1
    rest.delete(path, labelSelector="e2e=yes")
    assert rest.get(path)["items"] == []


def test_should_run_the_lifecycle_of_pod_templates(rest, namespace):
    path = core(namespace, "podtemplates")
    spec = {"containers": [{"name": "nginx", "image": "nginx"}]}
    labels = {"podtemplate-static": "true"}
    for number in range(3):
        rest.post(
            path,
            {"metadata": {"name": f"t-{number}", "labels": labels}, "template": {"spec": spec}},
        )
    patched = rest.patch(f"{path}/t-0", {"metadata": {"labels": {"podtemplate": "patched"}}})
    assert patched["metadata"]["labels"]["podtemplate"] == "patched"
    tree = rest.get(f"{path}/t-1")
    tree["metadata"]["annotations"] = {"updated": "true"}
    assert rest.put(f"{path}/t-1", tree)["metadata"]["annotations"] == {"updated": "true"}
    assert (
        len(rest.get("/api/v1/podtemplates", labelSelector="podtemplate-static=true")["items"]) == 3
    )
    rest.delete(path, labelSelector="podtemplate-static=true")
    assert rest.get(path)["items"] == []


def test_lease_api_should_be_available(rest, namespace):
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    spec = {
        "holderIdentity": "holder",
        "leaseDurationSeconds": 30,
        "acquireTime": "2026-01-01T00:00:00.123456Z",
        "renewTime": "2026-01-01T00:00:05.000001Z",
        "leaseTransitions": 0,
    }
    made = rest.post(path, {"metadata": {"name": "lease"}, "spec": spec})
    assert made["spec"] == spec
    made["spec"] |= {"holderIdentity": "other", "leaseTransitions": 1}
    assert rest.put(f"{path}/lease", made)["spec"]["leaseTransitions"] == 1
    patched = rest.patch(f"{path}/lease", {"spec": {"leaseDurationSeconds": 42}}, "strategic")
    assert patched["spec"]["leaseDurationSeconds"] == 42
    rest.post(path, {"metadata": {"name": "lease2", "labels": {"deletecollection": "true"}}})
    rest.delete(path, labelSelector="deletecollection=true")
    assert [x["metadata"]["name"] for x in rest.get(path)["items"]] == ["lease"]


def test_node_status_can_be_patched(rest):
    path = "/api/v1/nodes/sim-1/status"
    made = {"type": "E2E", "status": "True", "reason": "E2E", "message": "Set from e2e test"}
    patched = rest.patch(path, {"status": {"conditions": [made]}}, "strategic")
    assert condition(patched, "E2E")["reason"] == "E2E"
    assert condition(patched, "Ready")["status"] == "True"
    nodes = rest.get("/api/v1/nodes")["items"]
    assert len([n for n in nodes if not n["spec"].get("taints")]) >= 2  # sig-architecture
    extended = {"status": {"capacity": {"example.com/fakecpu": "1"}}}
    assert rest.patch(path, extended)["status"]["capacity"]["example.com/fakecpu"] == "1"


@pytest.mark.parametrize("group", ["core", "events.k8s.io"])
def test_should_manage_the_lifecycle_of_an_event(rest, namespace, group):
    mine, others = events_path(namespace, "core"), events_path(namespace, "events.k8s.io")
    path = mine if group == "core" else others
    rest.post(path, event(namespace, "event-test", group))
    for everywhere in ("/api/v1/events", "/apis/events.k8s.io/v1/events"):
        found = rest.get(everywhere, labelSelector="testevent-constant=true")["items"]
        assert namespace in [e["metadata"]["namespace"] for e in found]
    fields = "reportingController=test-controller" if group != "core" else "reason=Test"
    assert len(rest.get(path, fieldSelector=fields)["items"]) == 1
    if group == "core":
        changed = {"message": "This is a test event - patched"}
    else:
        # Through its own group an event's note never changes.
        at = "2026-01-02T03:04:05.000000Z"
        changed = {"series": {"count": 2, "lastObservedTime": at}}
    patched = rest.patch(f"{path}/event-test", changed, "strategic")
    assert patched | changed == patched
    for there, said in ((mine, "message"), (others, "note")):
        assert rest.get(f"{there}/event-test")[said] == patched.get("message", patched.get("note"))
    tree = rest.get(f"{path}/event-test")
    tree["series"] = {
        "count": 100,
        "lastObservedTime": "2026-01-02T03:04:05.000006Z",
    }
    updated = rest.put(f"{path}/event-test", tree)
    assert updated["series"]["count"] == 100
    rest.delete(f"{path}/event-test")
    assert rest.gone(f"{mine}/event-test")
    assert rest.gone(f"{others}/event-test")


@pytest.mark.parametrize("group", ["core", "events.k8s.io"])
def test_should_delete_a_collection_of_events(rest, namespace, group):
    path = events_path(namespace, group)
    for number in range(3):
        rest.post(path, event(namespace, f"test-event-{number}", group))
    assert len(rest.get(path, labelSelector="testevent-constant=true")["items"]) == 3
    rest.delete(path, labelSelector="testevent-constant=true")
    wait_until(lambda: not rest.get(path, labelSelector="testevent-constant=true")["items"])


def events_path(namespace, group):
    if group == "core":
        return core(namespace, "events")
    return f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"


def event(namespace, name, group):
    meta = {"name": name, "namespace": namespace, "labels": {"testevent-constant": "true"}}
    about = {"kind": "Pod", "namespace": namespace, "name": "some"}
    if group == "core":
        return {
            "metadata": meta,
            "message": "This is a test event",
            "reason": "Test",
            "type": "Normal",
            "count": 1,
            "involvedObject": about,
        }
    return {
        "metadata": meta,
        "regarding": about,
        "eventTime": "2026-01-02T03:04:05.000006Z",
        "note": "This is a test event",
        "action": "Do",
        "reason": "Test",
        "type": "Normal",
        "reportingController": "test-controller",
        "reportingInstance": "test-node",
    }
