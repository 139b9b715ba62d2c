"""Create, update, patch, delete: upstream's semantics, request by request."""

from __future__ import annotations

from typing import Any

import orjson
from tests.apiserver_harness import Api, config_map, header, pod, start_server, tree

from kutter.base.rng import Rng

CM = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE = {"content-type": "application/merge-patch+json"}
STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
JSON_PATCH = {"content-type": "application/json-patch+json"}


async def make_api(**more: Any) -> Api:
    return Api(await start_server(**more))


async def test_create_sets_what_the_server_owns() -> None:
    api = await make_api()
    sent = config_map("a", metadata={"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z"})
    made = await api.ok("POST", CM, sent)
    assert made["metadata"]["uid"] != "mine"
    assert made["metadata"]["creationTimestamp"] > "2020"
    assert made["metadata"]["resourceVersion"] == str(api.server.store.revision)
    assert await api.ok("GET", f"{CM}/a") == made
    response = await api.call("POST", CM, config_map("b"))
    assert response.status == 201
    assert header(response, "audit-id")
    assert header(response, "cache-control") == ["no-cache, private"]


async def test_stored_bytes_begin_with_kind_and_carry_no_version() -> None:
    api = await make_api()
    await api.ok("POST", CM, {"data": {"k": "v"}, "metadata": {"name": "a"}})
    record = await api.server.store.get("/registry/configmaps/default/a")
    assert record is not None
    assert record.value.startswith(b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{')
    assert b"resourceVersion" not in record.value


async def test_generated_names_are_tried_again_then_refused() -> None:
    class Stubborn(Rng):
        left = 1

        def suffix(self, length: int = 5) -> str:
            self.left -= 1
            return "zzzzz" if self.left >= 0 else super().suffix(length)

    rng = Stubborn(1)
    api = await make_api(rng=rng)
    sent = config_map(metadata={"generateName": "web-"})
    first = await api.ok("POST", CM, sent)
    assert first["metadata"]["name"] == "web-zzzzz"
    rng.left = 3
    second = await api.ok("POST", CM, sent)
    assert second["metadata"]["name"].startswith("web-")
    assert second != first
    rng.left = 100
    status = await api.fails(409, "AlreadyExists", "POST", CM, sent)
    assert "the server was not able to generate a unique name for the object" in status["message"]


async def test_update_keeps_system_fields_and_compares_versions() -> None:
    api = await make_api()
    made = await api.ok("POST", CM, config_map("a", data={"n": "1"}))
    changed = {**made, "data": {"n": "2"}}
    changed["metadata"] = {**made["metadata"], "creationTimestamp": "2001-01-01T00:00:00Z"}
    updated = await api.ok("PUT", f"{CM}/a", changed)
    assert updated["data"] == {"n": "2"}
    assert updated["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]
    assert int(updated["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    await api.fails(409, "Conflict", "PUT", f"{CM}/a", changed)
    unconditional = await api.ok("PUT", f"{CM}/a", config_map("a", data={"n": "3"}))
    assert unconditional["metadata"]["uid"] == made["metadata"]["uid"]


async def test_an_update_without_change_writes_nothing() -> None:
    api = await make_api()
    made = await api.ok("POST", CM, config_map("a", data={"n": "1"}))
    before = api.server.store.revision
    assert await api.ok("PUT", f"{CM}/a", config_map("a", data={"n": "1"})) == made
    assert await api.ok("PATCH", f"{CM}/a", {"data": {"n": "1"}}, headers=MERGE) == made
    assert api.server.store.revision == before


async def test_put_creates_where_the_kind_allows_it() -> None:
    api = await make_api()
    lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    body = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    response = await api.call("PUT", f"{lease}/l", body)
    assert response.status == 201, response.body
    # Leases are never overwritten blindly.
    await api.fails(422, "Invalid", "PUT", f"{lease}/l", body)
    body["metadata"]["resourceVersion"] = tree(response)["metadata"]["resourceVersion"]
    assert (await api.call("PUT", f"{lease}/l", body)).status == 200


async def test_three_kinds_of_patch() -> None:
    api = await make_api()
    two = [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]
    await api.ok("POST", PODS, pod("p", spec={"containers": two}))
    change = {"spec": {"containers": [{"name": "b", "image": "2"}]}}
    patched = await api.ok("PATCH", f"{PODS}/p", change, headers=STRATEGIC)
    assert [c["image"] for c in patched["spec"]["containers"]] == ["1", "2"]
    change = {"metadata": {"labels": {"x": "y"}}}
    assert (await api.ok("PATCH", f"{PODS}/p", change, headers=MERGE))["metadata"]["labels"] == {
        "x": "y"
    }
    operations = [{"op": "remove", "path": "/metadata/labels/x"}]
    patched = await api.ok("PATCH", f"{PODS}/p", operations, headers=JSON_PATCH)
    assert not patched["metadata"].get("labels")


async def test_status_and_spec_are_apart() -> None:
    api = await make_api()
    await api.ok("POST", PODS, pod("p", status={"phase": "Running"}))
    assert (await api.ok("GET", f"{PODS}/p"))["status"]["phase"] == "Pending"
    change = {"status": {"phase": "Running"}, "spec": {"nodeName": "x"}}
    patched = await api.ok("PATCH", f"{PODS}/p/status", change, headers=MERGE)
    assert patched["status"]["phase"] == "Running"
    assert "nodeName" not in patched["spec"]
    assert (await api.ok("GET", f"{PODS}/p/status"))["status"]["phase"] == "Running"
    change = {"status": {"phase": "Failed"}, "metadata": {"labels": {"a": "b"}}}
    patched = await api.ok("PATCH", f"{PODS}/p", change, headers=MERGE)
    assert patched["status"]["phase"] == "Running"


async def test_generation_counts_changes_of_the_specification() -> None:
    api = await make_api()
    made = await api.ok("POST", DEPLOYMENTS, deployment())
    assert made["metadata"]["generation"] == 1
    labelled = {"metadata": {"labels": {"a": "b"}, "generation": 9}}
    patched = await api.ok("PATCH", f"{DEPLOYMENTS}/d", labelled, headers=MERGE)
    assert patched["metadata"]["generation"] == 1
    patched = await api.ok("PATCH", f"{DEPLOYMENTS}/d", {"spec": {"replicas": 4}}, headers=MERGE)
    assert patched["metadata"]["generation"] == 2


async def test_dry_run_shows_and_stores_nothing() -> None:
    api = await make_api()
    before = api.server.store.revision
    shown = await api.ok("POST", f"{CM}?dryRun=All", config_map("a"))
    assert shown["metadata"]["uid"]
    await api.fails(404, "NotFound", "GET", f"{CM}/a")
    assert api.server.store.revision == before
    made = await api.ok("POST", CM, config_map("a"))
    await api.fails(409, "AlreadyExists", "POST", f"{CM}?dryRun=All", config_map("a"))
    shown = await api.ok("PUT", f"{CM}/a?dryRun=All", config_map("a", data={"x": "y"}))
    assert shown["data"] == {"x": "y"}
    await api.ok("DELETE", f"{CM}/a?dryRun=All")
    await api.ok("DELETE", f"{CM}/a", {"dryRun": ["All"]})
    await api.ok("DELETE", f"{CM}?dryRun=All")
    assert await api.ok("GET", f"{CM}/a") == made


async def test_delete_answers_a_status_or_the_object() -> None:
    api = await make_api()
    made = await api.ok("POST", CM, config_map("a"))
    status = await api.ok("DELETE", f"{CM}/a")
    details = {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    assert (status["status"], status["details"]) == ("Success", details)
    await api.ok("POST", PODS, pod("p"))
    assert (await api.ok("DELETE", f"{PODS}/p"))["kind"] == "Pod"


async def test_finalizers_hold_and_their_removal_ends() -> None:
    api = await make_api()
    held = config_map("a", metadata={"finalizers": ["example.com/a", "example.com/b"]})
    await api.ok("POST", CM, held)
    answer = await api.ok("DELETE", f"{CM}/a")
    assert answer["kind"] == "ConfigMap"
    assert answer["metadata"]["deletionTimestamp"]
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 0
    before = api.server.store.revision
    await api.ok("DELETE", f"{CM}/a")
    assert api.server.store.revision == before
    status = await api.fails(409, "AlreadyExists", "POST", CM, config_map("a"))
    assert status["message"].startswith("object is being deleted: ")
    one = {"metadata": {"finalizers": ["example.com/b"]}}
    await api.ok("PATCH", f"{CM}/a", one, headers=MERGE)
    none = {"metadata": {"finalizers": None}}
    await api.ok("PATCH", f"{CM}/a", none, headers=MERGE)
    await api.fails(404, "NotFound", "GET", f"{CM}/a")


async def test_propagation_policy_sets_finalizers() -> None:
    api = await make_api()
    for policy, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
        await api.ok("POST", CM, config_map("a"))
        answer = await api.ok("DELETE", f"{CM}/a", {"propagationPolicy": policy})
        assert answer["metadata"]["finalizers"] == [finalizer]
        await api.ok("PATCH", f"{CM}/a", {"metadata": {"finalizers": []}}, headers=MERGE)
    await api.ok("POST", CM, config_map("a"))
    assert (await api.ok("DELETE", f"{CM}/a?propagationPolicy=Background"))["kind"] == "Status"


async def test_pods_on_nodes_go_gracefully() -> None:
    api = await make_api()
    await api.ok("POST", PODS, pod("p"))
    await api.ok(
        "POST",
        f"{PODS}/p/binding",
        {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}},
    )
    gone = (await api.ok("DELETE", f"{PODS}/p"))["metadata"]
    assert gone["deletionGracePeriodSeconds"] == 30
    assert gone["generation"] == 2
    again = (await api.ok("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 60}))["metadata"]
    assert again["deletionGracePeriodSeconds"] == 30
    shorter = (await api.ok("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 5}))["metadata"]
    assert shorter["deletionGracePeriodSeconds"] == 5
    assert shorter["deletionTimestamp"] < gone["deletionTimestamp"]
    await api.ok("DELETE", f"{PODS}/p?gracePeriodSeconds=0")
    await api.fails(404, "NotFound", "GET", f"{PODS}/p")


async def test_delete_collection_by_selector_answers_the_list() -> None:
    api = await make_api()
    for number in range(40):
        labels = {"odd": str(number % 2)}
        await api.ok("POST", CM, config_map(f"c{number:02}", metadata={"labels": labels}))
    answer = await api.ok("DELETE", f"{CM}?labelSelector=odd%3D1")
    assert answer["kind"] == "ConfigMapList"
    assert len(answer["items"]) == 20
    left = await api.ok("GET", CM)
    assert {i["metadata"]["labels"]["odd"] for i in left["items"]} == {"0"}


async def test_binding_sets_node_and_condition_once() -> None:
    api = await make_api()
    await api.ok("POST", PODS, pod("p"))
    body = {"metadata": {"name": "p"}, "target": {"name": "n"}}
    response = await api.call("POST", f"{PODS}/p/binding", body)
    assert (response.status, tree(response)["status"]) == (201, "Success")
    bound = await api.ok("GET", f"{PODS}/p")
    assert bound["spec"]["nodeName"] == "n"
    assert [(c["type"], c["status"]) for c in bound["status"]["conditions"]] == [
        ("PodScheduled", "True")
    ]
    status = await api.fails(409, "Conflict", "POST", f"{PODS}/p/binding", body)
    assert 'pod p is already assigned to node "n"' in status["message"]


async def test_scale_reads_and_writes_replicas_only() -> None:
    api = await make_api()
    await api.ok("POST", DEPLOYMENTS, deployment())
    scale = await api.ok("GET", f"{DEPLOYMENTS}/d/scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["status"]["selector"] == "app=a"
    scale["spec"]["replicas"] = 7
    assert (await api.ok("PUT", f"{DEPLOYMENTS}/d/scale", scale))["spec"]["replicas"] == 7
    await api.fails(409, "Conflict", "PUT", f"{DEPLOYMENTS}/d/scale", scale)
    change = {"spec": {"replicas": 0}}
    await api.ok("PATCH", f"{DEPLOYMENTS}/d/scale", change, headers=MERGE)
    found = await api.ok("GET", f"{DEPLOYMENTS}/d")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (0, 3)


async def test_a_scale_has_a_table_of_its_own() -> None:
    api = await make_api()
    await api.ok("POST", DEPLOYMENTS, deployment())
    table = await api.ok(
        "GET",
        f"{DEPLOYMENTS}/d/scale",
        headers={"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
    )
    columns = [(c["name"], c["type"], c["format"]) for c in table["columnDefinitions"]]
    assert columns == [
        ("Name", "string", ""),
        ("Desired", "integer", ""),
        ("Available", "integer", ""),
        ("Age", "string", ""),
    ]
    (row,) = table["rows"]
    assert row["cells"][:3] == ["d", 1, 0]
    assert row["object"]["kind"] == "PartialObjectMetadata"


async def test_eviction_obeys_the_budget() -> None:
    api = await make_api()
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    await api.ok("POST", PODS, pod("p", metadata={"labels": {"app": "a"}}))
    running = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await api.ok("PATCH", f"{PODS}/p/status", {"status": running}, headers=MERGE)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}
    await api.ok("POST", budgets, {"metadata": {"name": "b"}, "spec": spec})
    status = {"observedGeneration": 1, "currentHealthy": 1, "desiredHealthy": 1}
    full = {"disruptionsAllowed": 0, "expectedPods": 1, **status}
    await api.ok("PATCH", f"{budgets}/b/status", {"status": full}, headers=MERGE)
    body = {"metadata": {"name": "p"}}
    refused = await api.fails(429, "TooManyRequests", "POST", f"{PODS}/p/eviction", body)
    assert refused["message"] == (
        "Cannot evict pod as it would violate the pod's disruption budget."
    )
    assert refused["details"]["causes"][0]["reason"] == "DisruptionBudget"
    allowed = {"status": {"disruptionsAllowed": 1}}
    await api.ok("PATCH", f"{budgets}/b/status", allowed, headers=MERGE)
    assert (await api.call("POST", f"{PODS}/p/eviction", body)).status == 201
    await api.fails(404, "NotFound", "GET", f"{PODS}/p")
    left = (await api.ok("GET", f"{budgets}/b"))["status"]
    assert left["disruptionsAllowed"] == 0
    assert list(left["disruptedPods"]) == ["p"]


async def test_namespaces_wait_for_their_finalizer() -> None:
    api = await make_api()
    await api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "a"}})
    gone = await api.ok("DELETE", "/api/v1/namespaces/a")
    assert gone["status"]["phase"] == "Terminating"
    assert gone["metadata"]["deletionTimestamp"]
    gone["spec"]["finalizers"] = []
    finished = await api.ok("PUT", "/api/v1/namespaces/a/finalize", gone)
    assert not finished["spec"].get("finalizers")
    await api.fails(404, "NotFound", "GET", "/api/v1/namespaces/a")


async def test_older_workloads_are_stored_as_of_today() -> None:
    api = await make_api()
    older = "/apis/apps/v1beta2/namespaces/default/deployments"
    body = {"apiVersion": "apps/v1beta2", "kind": "Deployment", **deployment()}
    del body["spec"]["selector"]
    response = await api.call("POST", older, body)
    assert response.status == 201, response.body
    assert tree(response)["apiVersion"] == "apps/v1beta2"
    assert header(response, "warning") == [
        (
            '299 - "apps/v1beta2 Deployment is deprecated in v1.9+, unavailable in v1.16+; '
            'use apps/v1 Deployment"'
        )
    ]
    today = await api.ok("GET", f"{DEPLOYMENTS}/d")
    assert today["apiVersion"] == "apps/v1"
    assert today["spec"]["selector"] == {"matchLabels": {"app": "a"}}
    listed = await api.ok("GET", older)
    assert listed["apiVersion"] == "apps/v1beta2"
    versions = (await api.ok("GET", "/apis/apps"))["versions"]
    assert [v["version"] for v in versions] == ["v1", "v1beta2", "v1beta1"]


async def test_events_are_one_store_in_two_groups() -> None:
    api = await make_api()
    core = "/api/v1/namespaces/default/events"
    reference = {"kind": "Pod", "namespace": "default", "name": "p"}
    body = {"metadata": {"name": "e"}, "involvedObject": reference, "message": "m", "reason": "R"}
    await api.ok("POST", core, {**body, "type": "Normal", "source": {"component": "c"}})
    other = await api.ok("GET", "/apis/events.k8s.io/v1/namespaces/default/events/e")
    assert (other["regarding"]["name"], other["note"]) == ("p", "m")
    assert other["apiVersion"] == "events.k8s.io/v1"


async def test_unknown_fields_are_dropped_with_a_warning() -> None:
    api = await make_api()
    response = await api.call("POST", CM, {**config_map("a"), "dat": {"a": "b"}})
    assert header(response, "warning") == ['299 - "unknown field \\"dat\\""']
    assert "dat" not in tree(response)
    response = await api.call("POST", f"{CM}?fieldValidation=Ignore", {**config_map("b"), "dat": 1})
    assert not header(response, "warning")


async def test_yaml_in_and_out() -> None:
    api = await make_api()
    body = b"metadata: {name: a}\ndata:\n  day: 2001-01-01\n"
    response = await api.call(
        "POST", CM, body, headers={"content-type": "application/yaml", "accept": "application/yaml"}
    )
    assert response.status == 201, response.body
    assert response.body.startswith(b"apiVersion: v1\n")
    assert (await api.ok("GET", f"{CM}/a"))["data"] == {"day": "2001-01-01"}


async def test_what_crashes_tells_nothing_of_the_inside() -> None:
    api = await make_api()
    await api.ok("POST", CM, config_map("a"))

    def explode(*_: Any) -> Any:
        raise RuntimeError("secret of the inside")

    api.server.caches.cache("configmaps").get = explode  # type: ignore[method-assign]
    response = await api.call("GET", f"{CM}/a")
    assert response.status == 500
    assert b"secret" not in response.body
    assert header(response, "audit-id")[0] in orjson.loads(response.body)["message"]


def deployment(**spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    whole = {"replicas": 1, "selector": {"matchLabels": {"app": "a"}}, "template": template}
    return {"metadata": {"name": "d"}, "spec": {**whole, **spec}}
