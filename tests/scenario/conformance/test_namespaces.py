"""sig-api-machinery: Namespaces, OrderedNamespaceDeletion; sig-auth: kube-root-ca.crt."""

from tests.conformance_kit import condition, config_map, pod, wait_until

NAMESPACES = "/api/v1/namespaces"


def make(rest, name, **meta):
    return rest.post(NAMESPACES, {"metadata": {"name": name, **meta}})


def ready_for_pods(rest, name):
    wait_until(lambda: not rest.gone(f"{NAMESPACES}/{name}/serviceaccounts/default"))


def test_should_apply_a_finalizer_to_a_namespace(rest):
    made = make(rest, "ns-finalizer")
    assert made["spec"]["finalizers"] == ["kubernetes"]
    made["spec"]["finalizers"].append("e2e.example.com/fakeFinalizer")
    updated = rest.put(f"{NAMESPACES}/ns-finalizer/finalize", made)
    assert updated["spec"]["finalizers"] == ["kubernetes", "e2e.example.com/fakeFinalizer"]
    updated["spec"]["finalizers"].remove("e2e.example.com/fakeFinalizer")
    updated = rest.put(f"{NAMESPACES}/ns-finalizer/finalize", updated)
    assert rest.get(f"{NAMESPACES}/ns-finalizer")["spec"]["finalizers"] == ["kubernetes"]
    updated["spec"]["finalizers"].append("e2e.example.com/fakeFinalizer")
    rest.put(f"{NAMESPACES}/ns-finalizer/finalize", updated)
    rest.delete(f"{NAMESPACES}/ns-finalizer")

    def only_theirs():
        found = rest.get(f"{NAMESPACES}/ns-finalizer")
        assert found["status"]["phase"] == "Terminating"
        left = found["spec"]["finalizers"] == ["e2e.example.com/fakeFinalizer"]
        return found if left else None

    found = wait_until(only_theirs)
    found["spec"]["finalizers"] = []
    found["metadata"].pop("resourceVersion")  # the controller writes conditions meanwhile
    rest.put(f"{NAMESPACES}/ns-finalizer/finalize", found)
    rest.wait_gone(f"{NAMESPACES}/ns-finalizer")


def test_should_apply_an_update_and_a_patch_to_a_namespace(rest, namespace):
    tree = rest.get(f"{NAMESPACES}/{namespace}")
    assert tree["metadata"]["labels"] == {"kubernetes.io/metadata.name": namespace}
    tree["metadata"]["labels"]["e2e"] = "updated"
    assert rest.put(f"{NAMESPACES}/{namespace}", tree)["metadata"]["labels"]["e2e"] == "updated"
    body = {"metadata": {"labels": {"testLabel": "testValue"}}}
    patched = rest.patch(f"{NAMESPACES}/{namespace}", body, "strategic")
    assert patched["metadata"]["labels"]["testLabel"] == "testValue"
    assert rest.get(f"{NAMESPACES}/{namespace}")["metadata"]["labels"]["testLabel"] == "testValue"


def test_should_apply_changes_to_a_namespace_status(rest, namespace):
    path = f"{NAMESPACES}/{namespace}/status"
    assert rest.get(path)["status"] == {"phase": "Active"}
    made = {
        "type": "StatusPatch",
        "status": "True",
        "reason": "E2E",
        "message": "Patched by an e2e test",
    }
    patched = rest.patch(path, {"status": {"conditions": [made]}})
    assert condition(patched, "StatusPatch")["message"] == "Patched by an e2e test"
    patched["status"]["conditions"].append(
        {**made, "type": "StatusUpdate", "message": "Updated by an e2e test"}
    )
    updated = rest.put(path, patched)
    assert condition(updated, "StatusUpdate")["reason"] == "E2E"
    assert condition(rest.get(f"{NAMESPACES}/{namespace}"), "StatusPatch")["status"] == "True"


def test_should_ensure_that_pods_and_services_are_removed_when_a_namespace_is_deleted(rest):
    make(rest, "ns-emptied")
    ready_for_pods(rest, "ns-emptied")
    here = f"{NAMESPACES}/ns-emptied"
    rest.post(f"{here}/pods", pod("a", labels={"a": "b"}))
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}
    rest.post(f"{here}/services", service)
    wait_until(lambda: rest.get(f"{here}/pods/a")["status"].get("phase") == "Running")
    rest.delete(here)
    rest.wait_gone(here)
    make(rest, "ns-emptied")
    assert rest.get(f"{here}/pods")["items"] == []
    assert rest.get(f"{here}/services")["items"] == []
    rest.delete(here)


def test_namespace_deletion_should_delete_pod_first(rest):
    make(rest, "ns-ordered")
    ready_for_pods(rest, "ns-ordered")
    here = f"{NAMESPACES}/ns-ordered"
    held = pod("held")
    held["metadata"]["finalizers"] = ["e2e.example.com/finalizer"]
    rest.post(f"{here}/pods", held)
    rest.post(f"{here}/configmaps", config_map("needed", a="b"))
    rest.post(f"{here}/secrets", {"metadata": {"name": "needed"}, "stringData": {"a": "b"}})
    rest.delete(here)

    def finalizers_hold():
        tree = rest.get(here)
        return tree if condition(tree, "NamespaceFinalizersRemaining") else None

    found = wait_until(finalizers_hold)
    assert condition(found, "NamespaceFinalizersRemaining")["message"] == (
        "Some content in the namespace has finalizers remaining: "
        "e2e.example.com/finalizer in 1 resource instances"
    )
    assert condition(found, "NamespaceContentRemaining")["message"] == (
        "Some resources are remaining: pods. has 1 resource instances"
    )
    assert rest.get(f"{here}/pods/held")["metadata"]["deletionTimestamp"]
    for kept in ("configmaps/needed", "secrets/needed"):
        assert "deletionTimestamp" not in rest.get(f"{here}/{kept}")["metadata"]
    rest.patch(f"{here}/pods/held", {"metadata": {"finalizers": None}})
    rest.wait_gone(here)


def test_nothing_is_made_in_a_namespace_that_is_going(rest):
    make(rest, "ns-going")
    here = f"{NAMESPACES}/ns-going"
    held = config_map("held")
    held["metadata"]["finalizers"] = ["e2e.example.com/finalizer"]
    rest.post(f"{here}/configmaps", held)
    rest.delete(here)
    status = rest.fails(403, "Forbidden", "POST", f"{here}/configmaps", config_map("late"))
    assert status["message"] == (
        'configmaps "late" is forbidden: unable to create new content in namespace ns-going '
        "because it is being terminated"
    )
    assert status["details"]["causes"] == [
        {
            "reason": "NamespaceTerminating",
            "message": "namespace ns-going is being terminated",
            "field": "metadata.namespace",
        }
    ]
    rest.patch(f"{here}/configmaps/held", {"metadata": {"finalizers": None}})
    rest.wait_gone(here)


def test_should_guarantee_kube_root_ca_crt_exist_in_any_namespace(rest, namespace):
    path = f"{NAMESPACES}/{namespace}/configmaps/kube-root-ca.crt"
    wait_until(lambda: not rest.gone(path))
    wanted = rest.get(path)["data"]["ca.crt"]
    assert "BEGIN CERTIFICATE" in wanted
    rest.delete(path)
    wait_until(lambda: not rest.gone(path))
    rest.patch(path, {"data": {"ca.crt": ""}})
    wait_until(lambda: rest.get(path)["data"] == {"ca.crt": wanted})
