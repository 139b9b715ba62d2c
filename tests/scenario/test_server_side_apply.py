"""Server-side apply and field ownership, request by request."""

from __future__ import annotations

from typing import Any

import orjson
from tests.apiserver_harness import (
    ADMIN,
    AllowAll,
    Api,
    config_map,
    header,
    pod,
    start_server,
    tree,
)

from kutter.apiserver.ports import Attributes, Decision

CM = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
APPLY = {"content-type": "application/apply-patch+yaml"}
MERGE = {"content-type": "application/merge-patch+json", "user-agent": "patcher/v1"}
JSON_PATCH = {"content-type": "application/json-patch+json"}


async def make_api(**more: Any) -> Api:
    return Api(await start_server(**more))


def deployment(name: str = "web", replicas: int | None = 1, image: str = "a:1") -> dict[str, Any]:
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "image": image}]},
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


async def apply(api: Api, target: str, config: Any, manager: str = "me", **query: Any) -> Any:
    return await api.ok(
        "PATCH", target, config, headers=APPLY, query={"fieldManager": manager, **query}
    )


def owners(tree: dict[str, Any]) -> dict[tuple[str, str, str], Any]:
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in tree["metadata"].get("managedFields", ())
    }


async def test_apply_creates_then_changes_then_leaves_alone() -> None:
    api = await make_api()
    response = await api.call(
        "PATCH",
        f"{CM}/a",
        config_map("a", data={"k": "1"}),
        headers=APPLY,
        query={"fieldManager": "me"},
    )
    assert response.status == 201
    made = tree(response)
    entry = made["metadata"]["managedFields"][0]
    assert list(entry) == ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1"]
    assert entry["fieldsV1"] == {"f:data": {"f:k": {}}}
    assert list(made["metadata"])[-1] == "managedFields"
    again = await apply(api, f"{CM}/a", config_map("a", data={"k": "1"}))
    assert again == made
    changed = await apply(api, f"{CM}/a", config_map("a", data={"l": "2"}))
    assert changed["data"] == {"l": "2"}
    assert await api.ok("GET", f"{CM}/a") == changed


async def test_apply_needs_a_manager_and_only_apply_may_be_forced() -> None:
    api = await make_api()
    status = await api.fails(422, "Invalid", "PATCH", f"{CM}/a", config_map("a"), headers=APPLY)
    assert "fieldManager: Required value: is required for apply patch" in status["message"]
    await api.ok("POST", CM, config_map("a"))
    await api.fails(422, "Invalid", "PATCH", f"{CM}/a", {}, headers=MERGE, query={"force": "true"})


async def test_conflicts_and_force() -> None:
    api = await make_api()
    await api.ok("POST", DEPLOYMENTS, deployment(), query={"fieldManager": "creator"})
    status = await api.fails(
        409,
        "Conflict",
        "PATCH",
        f"{DEPLOYMENTS}/web",
        deployment(replicas=3),
        headers=APPLY,
        query={"fieldManager": "me"},
    )
    assert status["message"] == (
        'Apply failed with 1 conflict: conflict with "creator" using apps/v1: .spec.replicas'
    )
    assert status["details"] == {
        "causes": [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "creator" using apps/v1',
                "field": ".spec.replicas",
            }
        ]
    }
    status = await api.fails(
        409,
        "Conflict",
        "PATCH",
        f"{DEPLOYMENTS}/web",
        deployment(replicas=3, image="b"),
        headers=APPLY,
        query={"fieldManager": "me"},
    )
    assert status["message"] == (
        'Apply failed with 2 conflicts: conflicts with "creator" using apps/v1:\n'
        '- .spec.replicas\n- .spec.template.spec.containers[name="c"].image'
    )
    forced = await apply(api, f"{DEPLOYMENTS}/web", deployment(replicas=3), force="true")
    assert forced["spec"]["replicas"] == 3
    found = owners(forced)
    assert "f:replicas" not in found["creator", "Update", ""]["f:spec"]
    assert "f:replicas" in found["me", "Apply", ""]["f:spec"]


async def test_equal_values_are_owned_together_and_stay_for_the_other() -> None:
    api = await make_api()
    await apply(api, f"{CM}/a", config_map("a", data={"x": "1", "y": "1"}), "one")
    both = await apply(api, f"{CM}/a", config_map("a", data={"x": "1"}), "two")
    assert both["data"] == {"x": "1", "y": "1"}
    left = await apply(api, f"{CM}/a", config_map("a"), "one")
    assert left["data"] == {"x": "1"}
    assert set(owners(left)) == {("two", "Apply", "")}
    gone = await apply(api, f"{CM}/a", config_map("a"), "two")
    assert "data" not in gone
    assert "managedFields" not in gone["metadata"]


async def test_updates_and_patches_own_what_they_change() -> None:
    api = await make_api()
    agent = {"user-agent": "tool/v1.2 (linux)"}
    await api.ok("POST", CM, config_map("a", data={"x": "1", "y": "1"}), headers=agent)
    found = await api.ok("PATCH", f"{CM}/a", {"data": {"x": "2"}}, headers=MERGE)
    assert owners(found) == {
        ("tool", "Update", ""): {"f:data": {".": {}, "f:y": {}}},
        ("patcher", "Update", ""): {"f:data": {"f:x": {}}},
    }
    # An update by somebody who knows nothing of owners loses none.
    bare = config_map("a", data={"x": "2", "y": "3"})
    found = await api.ok("PUT", f"{CM}/a", bare, headers=agent)
    assert owners(found) == {
        ("tool", "Update", ""): {"f:data": {".": {}, "f:y": {}}},
        ("patcher", "Update", ""): {"f:data": {"f:x": {}}},
    }
    # One that changes nothing writes nothing, whoever sends it.
    same = await api.ok("PUT", f"{CM}/a", found, headers={"user-agent": "third/v1"})
    assert same == found


async def test_clients_may_forget_or_rewrite_owners() -> None:
    api = await make_api()
    made = await apply(api, f"{CM}/a", config_map("a", data={"x": "1"}))
    known = made["metadata"]["managedFields"]
    made["metadata"]["managedFields"] = []
    found = await api.ok("PUT", f"{CM}/a", made)
    # Who sends none may not know what they are.
    assert found["metadata"]["managedFields"] == known
    made["metadata"]["managedFields"] = [{}]
    found = await api.ok("PUT", f"{CM}/a", made)
    assert "managedFields" not in found["metadata"]
    await api.ok("DELETE", f"{CM}/a")
    await apply(api, f"{CM}/a", config_map("a", data={"x": "1"}))
    rename = [{"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "new"}]
    found = await api.ok("PATCH", f"{CM}/a", rename, headers=JSON_PATCH)
    assert set(owners(found)) == {("new", "Apply", "")}
    # What cannot be read is as if it had not been sent.
    found["metadata"]["managedFields"] = [{"manager": "x", "operation": "Nonsense"}]
    kept = await api.ok("PUT", f"{CM}/a", found)
    assert set(owners(kept)) == {("new", "Apply", "")}


async def test_what_was_there_before_the_first_apply_has_an_owner() -> None:
    api = await make_api()
    made = await api.ok("POST", CM, config_map("a", data={"x": "1"}))
    made["metadata"]["managedFields"] = [{}]
    await api.ok("PUT", f"{CM}/a", made)
    status = await api.fails(
        409,
        "Conflict",
        "PATCH",
        f"{CM}/a",
        config_map("a", data={"x": "2"}),
        headers=APPLY,
        query={"fieldManager": "me"},
    )
    assert 'conflict with "before-first-apply" using v1: .data.x' in status["message"]


async def test_status_has_owners_of_its_own() -> None:
    api = await make_api()
    await apply(api, f"{DEPLOYMENTS}/web", deployment())
    config = {**deployment(replicas=9), "status": {"observedGeneration": 1}}
    found = await apply(api, f"{DEPLOYMENTS}/web/status", config, "ctl", force="true")
    assert found["spec"]["replicas"] == 1
    assert found["status"]["observedGeneration"] == 1
    assert owners(found)["ctl", "Apply", "status"] == {"f:status": {"f:observedGeneration": {}}}
    # On the object itself the status is nobody's.
    found = await apply(api, f"{DEPLOYMENTS}/web", config, "third", force="true")
    assert "f:status" not in owners(found)["third", "Apply", ""]
    patch = {"status": {"replicas": 1}}
    found = await api.ok("PATCH", f"{DEPLOYMENTS}/web/status", patch, headers=MERGE)
    assert owners(found)["patcher", "Update", "status"] == {"f:status": {"f:replicas": {}}}


async def test_scaling_takes_the_replicas() -> None:
    api = await make_api()
    await apply(api, f"{DEPLOYMENTS}/web", deployment())
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}}
    patch = {"spec": {"replicas": 4}}
    await api.ok("PATCH", f"{DEPLOYMENTS}/web/scale", patch, headers=MERGE)
    found = owners(await api.ok("GET", f"{DEPLOYMENTS}/web"))
    assert found["patcher", "Update", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in found["me", "Apply", ""]["f:spec"]
    wanted = {**scale, "spec": {"replicas": 5}}
    status = await api.fails(
        409,
        "Conflict",
        "PATCH",
        f"{DEPLOYMENTS}/web/scale",
        wanted,
        headers=APPLY,
        query={"fieldManager": "hpa"},
    )
    assert status["details"]["causes"][0]["message"] == (
        'conflict with "patcher" with subresource "scale" using autoscaling/v1'
    )
    answer = await apply(api, f"{DEPLOYMENTS}/web/scale", wanted, "hpa", force="true")
    assert answer["spec"]["replicas"] == 5
    found = owners(await api.ok("GET", f"{DEPLOYMENTS}/web"))
    assert found["hpa", "Apply", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert ("patcher", "Update", "scale") not in found


async def test_what_cannot_be_applied_is_refused() -> None:
    api = await make_api()
    query = {"fieldManager": "me"}
    unknown = deployment()
    unknown["spec"]["foo"] = 1
    status = await api.fails(
        500, "", "PATCH", f"{DEPLOYMENTS}/web", unknown, headers=APPLY, query=query
    )
    assert status["message"] == (
        "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): "
        ".spec.foo: field not declared in schema"
    )
    owned = config_map("a", metadata={"managedFields": []})
    status = await api.fails(
        400, "BadRequest", "PATCH", f"{CM}/a", owned, headers=APPLY, query=query
    )
    assert status["message"] == "metadata.managedFields must be nil"
    for target, body, text in (
        (f"{CM}/a", pod("a"), "invalid object type: /v1, Kind=Pod"),
        (f"{CM}/a", config_map("b"), "does not match the name on the URL"),
        (f"{CM}/a", config_map("a", "other"), "namespace of the provided object does not match"),
        (f"{CM}/a", b"- a", "error decoding YAML: error unmarshaling JSON"),
        (f"{CM}/a", b"a: [", "error decoding YAML"),
    ):
        status = await api.fails(
            400, "BadRequest", "PATCH", target, body, headers=APPLY, query=query
        )
        assert text in status["message"]
    lost = config_map("a", metadata={"uid": "x"})
    await api.fails(409, "Conflict", "PATCH", f"{CM}/a", lost, headers=APPLY, query=query)


async def test_items_without_their_keys_are_left_to_validation() -> None:
    api = await make_api()
    nameless = pod("p", spec={"containers": [{"image": "busybox"}]})
    status = await api.fails(422, "Invalid", "POST", PODS, nameless)
    assert "spec.containers[0].name: Required value" in status["message"]


async def test_doubled_keys_are_told_by_line() -> None:
    api = await make_api()
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: '1'\n  k: '2'\n"
    query = {"fieldManager": "me"}
    status = await api.fails(
        400,
        "BadRequest",
        "PATCH",
        f"{CM}/a",
        body,
        headers=APPLY,
        query={**query, "fieldValidation": "Strict"},
    )
    assert 'line 6: key "k" already set in map' in status["message"]
    response = await api.call("PATCH", f"{CM}/a", body, headers=APPLY, query=query)
    assert response.status == 201
    assert 'line 6: key \\"k\\" already set in map' in header(response, "Warning")[0]


async def test_aliases_cannot_blow_up_the_server() -> None:
    api = await make_api()
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    body = "\n".join(levels).encode()
    status = await api.fails(
        400, "BadRequest", "PATCH", f"{CM}/a", body, headers=APPLY, query={"fieldManager": "me"}
    )
    assert "excessive aliasing" in status["message"]
    body = b"&a\napiVersion: v1\nkind: ConfigMap\nmetadata: *a\n"
    await api.fails(
        400, "BadRequest", "PATCH", f"{CM}/a", body, headers=APPLY, query={"fieldManager": "me"}
    )


async def test_applying_something_new_needs_the_right_to_create() -> None:
    class PatchOnly(AllowAll):
        async def authorize(self, attributes: Attributes) -> Decision:
            return Decision(allowed=attributes.verb != "create" or attributes.resource == "pods")

    api = await make_api(authorizer=PatchOnly())
    await api.fails(
        403,
        "Forbidden",
        "PATCH",
        f"{CM}/a",
        config_map("a"),
        headers=APPLY,
        query={"fieldManager": "me"},
        user=ADMIN,
    )


async def test_a_dry_run_leaves_nothing() -> None:
    api = await make_api()
    shown = await apply(api, f"{CM}/a", config_map("a", data={"x": "1"}), dryRun="All")
    assert owners(shown) == {("me", "Apply", ""): {"f:data": {"f:x": {}}}}
    await api.fails(404, "NotFound", "GET", f"{CM}/a")


async def test_owners_of_another_version_lose_what_changes() -> None:
    """Fields are compared as the owner's own version names them."""
    api = await make_api()
    base = "/namespaces/default/horizontalpodautoscalers"
    old, new = f"/apis/autoscaling/v1{base}", f"/apis/autoscaling/v2{base}"
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "maxReplicas": 5,
    }
    config = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {**spec, "targetCPUUtilizationPercentage": 50},
    }
    await apply(api, f"{old}/h", config, "old")
    patch = {"spec": {"maxReplicas": 7}}
    found = owners(await api.ok("PATCH", f"{new}/h", patch, headers=MERGE))
    assert found["patcher", "Update", ""] == {"f:spec": {"f:maxReplicas": {}}}
    assert found["old", "Apply", ""] == {
        "f:spec": {"f:scaleTargetRef": {}, "f:targetCPUUtilizationPercentage": {}}
    }


async def test_what_the_client_applied_becomes_the_servers() -> None:
    """kubectl's annotation says what client-side apply set: no conflicts over that."""
    api = await make_api()
    config = config_map("a", data={"x": "1"})
    name = "kubectl.kubernetes.io/last-applied-configuration"
    annotated = config_map("a", data={"x": "1"}, metadata={})
    annotated["metadata"]["annotations"] = {name: orjson.dumps(config).decode()}
    csa = {"fieldManager": "kubectl-client-side-apply"}
    await api.ok("POST", CM, annotated, query=csa)
    wanted = config_map("a", data={"x": "2"})
    await api.fails(
        409, "Conflict", "PATCH", f"{CM}/a", wanted, headers=APPLY, query={"fieldManager": "me"}
    )
    found = await apply(api, f"{CM}/a", wanted, "kubectl")
    assert found["data"] == {"x": "2"}
    assert orjson.loads(found["metadata"]["annotations"][name]) == wanted


async def test_every_form_shows_owners_whole() -> None:
    api = await make_api()
    made = await apply(api, f"{CM}/a", config_map("a", data={"x": "1"}))
    expected = made["metadata"]["managedFields"]
    partial = {"accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
    table = {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    found = await api.ok("GET", f"{CM}/a", headers=partial)
    assert found["metadata"]["managedFields"] == expected
    for include in ("Metadata", "Object"):
        rows = (await api.ok("GET", CM, headers=table, query={"includeObject": include}))["rows"]
        assert rows[0]["object"]["metadata"]["managedFields"] == expected
    yaml = await api.call("GET", f"{CM}/a", headers={"accept": "application/yaml"})
    assert b"manager: me" in yaml.body
    listed = await api.ok("GET", CM)
    assert listed["items"][0]["metadata"]["managedFields"] == expected


async def test_deleting_keeps_owners_to_the_end() -> None:
    api = await make_api()
    config = config_map("a", data={"x": "1"}, metadata={"finalizers": ["x/y"]})
    await apply(api, f"{CM}/a", config)
    pending = await api.ok("DELETE", f"{CM}/a")
    assert pending["metadata"]["deletionTimestamp"]
    assert ("me", "Apply", "") in owners(pending)
    patch = {"metadata": {"finalizers": None}}
    await api.ok("PATCH", f"{CM}/a", patch, headers=MERGE)
    await api.fails(404, "NotFound", "GET", f"{CM}/a")


async def test_a_name_full_of_brackets_does_not_confuse_the_cache() -> None:
    """Owners are cut out of the stored bytes: what is in them must not look like their end."""
    api = await make_api()
    evil = ']},"spec":{"a":[}'
    await apply(api, f"{CM}/a", config_map("a", data={"x": "1"}), evil)
    body = {"metadata": {"labels": {"a": "b"}}}
    found = await api.ok("PATCH", f"{CM}/a", body, headers=MERGE)
    assert found["data"] == {"x": "1"}
    assert set(owners(found)) == {(evil, "Apply", ""), ("patcher", "Update", "")}
