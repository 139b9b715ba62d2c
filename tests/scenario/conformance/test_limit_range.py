"""sig-scheduling: LimitRange."""

from tests.conformance_kit import pod, wait_until

MIN = {"cpu": "50m", "memory": "100Mi", "ephemeral-storage": "100Gi"}
MAX = {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"}
DEFAULT = {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"}
REQUEST = {"cpu": "100m", "memory": "200Mi", "ephemeral-storage": "200Gi"}


def limit_range(name, *, labels=None, **limit):
    limits = [{"type": "Container", **limit}]
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"limits": limits}}


def sized(name, requests=None, limits=None):
    tree = pod(name)
    resources = {k: v for k, v in (("requests", requests), ("limits", limits)) if v}
    tree["spec"]["containers"][0]["resources"] = resources
    return tree


def resources(tree):
    return tree["spec"]["containers"][0]["resources"]


def test_should_create_a_limit_range_with_defaults_and_ensure_pod_has_those_defaults_applied(
    rest, namespace
):
    at = f"/api/v1/namespaces/{namespace}"
    body = limit_range("limit-range", min=MIN, max=MAX, default=DEFAULT, defaultRequest=REQUEST)
    with rest.watch(f"{at}/limitranges") as events:
        rest.post(f"{at}/limitranges", body)
        events.until("ADDED", lambda t: t["metadata"]["name"] == "limit-range")
    rest.post(f"{at}/pods", pod("pod-no-resources"))
    made = rest.get(f"{at}/pods/pod-no-resources")
    assert resources(made) == {"requests": REQUEST, "limits": DEFAULT}
    # What a container says stays; a limit given is the default of its request.
    partial = sized(
        "pod-partial-resources",
        {"cpu": "300m", "memory": "150Mi"},
        {"cpu": "300m", "ephemeral-storage": "300Gi"},
    )
    rest.post(f"{at}/pods", partial)
    assert resources(rest.get(f"{at}/pods/pod-partial-resources")) == {
        "requests": {"cpu": "300m", "memory": "150Mi", "ephemeral-storage": "300Gi"},
        "limits": {"cpu": "300m", "memory": "500Mi", "ephemeral-storage": "300Gi"},
    }
    small = {"cpu": "10m", "memory": "50Mi", "ephemeral-storage": "50Gi"}
    refused = rest.fails(403, "Forbidden", "POST", f"{at}/pods", sized("pfpod", small))
    assert "minimum cpu usage per Container is 50m, but request is 10m" in refused["message"]
    large = {"cpu": "600m", "memory": "600Mi", "ephemeral-storage": "600Gi"}
    rest.fails(422, "Invalid", "POST", f"{at}/pods", sized("pfpod", large))
    # A change counts for pods to come.
    path = f"{at}/limitranges/limit-range"
    rest.change(path, lambda tree: tree["spec"]["limits"][0].update(min={"cpu": "9m"}))
    rest.post(f"{at}/pods", sized("pfpod", small))
    rest.fails(422, "Invalid", "POST", f"{at}/pods", sized("pfpod2", large))
    rest.delete(path)
    rest.wait_gone(path)
    rest.post(f"{at}/pods", sized("pfpod2", large))


def test_should_list_patch_and_delete_a_limit_range_by_collection(rest, namespace):
    at = f"/api/v1/namespaces/{namespace}/limitranges"
    other = f"{namespace}-other"
    rest.post("/api/v1/namespaces", {"metadata": {"name": other}})
    labels = {"e2e-test": f"limits-{namespace}"}
    selector = f"e2e-test=limits-{namespace}"
    body = {"labels": labels, "min": MIN, "max": MAX, "default": DEFAULT, "defaultRequest": REQUEST}
    rest.post(at, limit_range("e2e-limitrange", **body))
    rest.post(f"/api/v1/namespaces/{other}/limitranges", limit_range("e2e-limitrange", **body))
    found = rest.get("/api/v1/limitranges", labelSelector=selector)["items"]
    assert len(found) == 2
    small = {"cpu": "50m"}
    patch = {
        "metadata": {"labels": {"patched": "yes"}},
        "spec": {"limits": [{"type": "Container", "min": {**MIN, **small}}]},
    }
    patched = rest.patch(f"{at}/e2e-limitrange", patch, kind="strategic")
    assert patched["metadata"]["labels"] == {**labels, "patched": "yes"}
    rest.delete(at, labelSelector="patched=yes")
    wait_until(lambda: not rest.get(at, labelSelector=selector)["items"], 30)
    assert len(rest.get("/api/v1/limitranges", labelSelector=selector)["items"]) == 1
    rest.delete(f"/api/v1/namespaces/{other}")


def test_claims_have_bounds_too(rest, namespace):
    at = f"/api/v1/namespaces/{namespace}"
    storage = {
        "type": "PersistentVolumeClaim",
        "min": {"storage": "1Gi"},
        "max": {"storage": "2Gi"},
    }
    rest.post(f"{at}/limitranges", {"metadata": {"name": "claims"}, "spec": {"limits": [storage]}})

    def claim(size):
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
        return {"metadata": {"name": "c"}, "spec": spec}

    path = f"{at}/persistentvolumeclaims"
    refused = rest.fails(403, "Forbidden", "POST", path, claim("3Gi"))
    assert refused["message"] == (
        'persistentvolumeclaims "c" is forbidden: maximum storage usage per '
        "PersistentVolumeClaim is 2Gi, but request is 3Gi"
    )
    rest.post(path, claim("1Gi"))
