"""Who owns what after a sequence of writes: answers seen on v1.36's own API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.apiserver_harness import Api, start_server
from tests.custom_kinds import define, definition, serving, version

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SERVICES = "/api/v1/namespaces/default/services"
CRONTABS = "/apis/stable.example.com/v1/namespaces/default/crontabs"
APPLY = {"content-type": "application/apply-patch+yaml"}
MERGE = {"content-type": "application/merge-patch+json"}
REPLICAS = {"f:spec": {"f:replicas": {}}}
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
TEXT = {"type": "string"}
SPEC = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer"},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
        "granular": {"type": "object", "additionalProperties": TEXT},
        "atomic": {
            "type": "object",
            "x-kubernetes-map-type": "atomic",
            "additionalProperties": TEXT,
        },
        "plain": {"type": "array", "items": TEXT},
        "keyed": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name", "port"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": TEXT,
                    "port": {"type": "integer", "default": 80},
                    "value": TEXT,
                },
            },
        },
    },
}


def deployment(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
            **spec,
        },
    }


def scale(replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas},
    }


def crontab(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "a"}
    version = "stable.example.com/v1"
    return {"apiVersion": version, "kind": "CronTab", "metadata": metadata, "spec": spec}


async def apply(api: Api, target: str, config: Any, manager: str, **query: str) -> Any:
    query["fieldManager"] = manager
    return await api.ok("PATCH", target, config, headers=APPLY, query=query)


async def conflicts(api: Api, target: str, config: Any, manager: str) -> list[tuple[str, str]]:
    query = {"fieldManager": manager}
    status = await api.fails(409, "Conflict", "PATCH", target, config, headers=APPLY, query=query)
    return [(cause["message"], cause["field"]) for cause in status["details"]["causes"]]


def entries(tree: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    found = tree["metadata"].get("managedFields", ())
    return {(e["manager"], e["operation"], e.get("subresource", "")): e for e in found}


@pytest.fixture
async def api() -> Api:
    return Api(await start_server())


@pytest.fixture
async def custom() -> AsyncIterator[Api]:
    async with serving() as served:
        paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
        made = version(spec=SPEC, subresources={"status": {}, "scale": paths})
        await define(served, definition(versions=[made]))
        yield served


# -- scale --------------------------------------------------------------------


async def test_a_scale_nobody_is_tracked_for_stays_nobodys(api: Api) -> None:
    await apply(api, f"{DEPLOYMENTS}/web", deployment(), "owner")
    await api.ok("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 6}}, headers=MERGE)
    found = await api.ok("GET", f"{DEPLOYMENTS}/web")
    assert found["spec"]["replicas"] == 6
    assert set(entries(found)) == {("owner", "Apply", "")}
    # So an apply takes it from nobody.
    taken = await apply(api, f"{DEPLOYMENTS}/web", deployment(replicas=11), "owner")
    assert taken["spec"]["replicas"] == 11


async def test_a_scale_applied_where_nobody_is_tracked_conflicts_with_what_was_before(
    api: Api,
) -> None:
    await apply(api, f"{DEPLOYMENTS}/web", deployment(), "owner")
    assert await conflicts(api, f"{DEPLOYMENTS}/web/scale", scale(5), "hpa") == [
        (
            'conflict with "before-first-apply" with subresource "scale" using autoscaling/v1',
            ".spec.replicas",
        )
    ]
    await apply(api, f"{DEPLOYMENTS}/web/scale", scale(5), "hpa", force="true")
    found = entries(await api.ok("GET", f"{DEPLOYMENTS}/web"))
    assert set(found) == {("owner", "Apply", ""), ("hpa", "Apply", "scale")}
    assert found["hpa", "Apply", "scale"]["fieldsV1"] == REPLICAS
    assert "time" not in found["hpa", "Apply", "scale"]


async def test_scale_takes_the_replicas_from_writers_even_if_equal(api: Api) -> None:
    query = {"fieldManager": "creator"}
    await api.ok("POST", DEPLOYMENTS, deployment(replicas=2), query=query)
    await apply(api, f"{DEPLOYMENTS}/web/scale", scale(2), "hpa")
    found = entries(await api.ok("GET", f"{DEPLOYMENTS}/web"))
    assert "f:replicas" not in found["creator", "Update", ""]["fieldsV1"]["f:spec"]
    assert found["hpa", "Apply", "scale"]["fieldsV1"] == REPLICAS
    await api.ok(
        "PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 3}}, headers=MERGE, query=query
    )
    assert await conflicts(api, f"{DEPLOYMENTS}/web/scale", scale(4), "hpa") == [
        ('conflict with "creator" using autoscaling/v1', ".spec.replicas")
    ]


async def test_the_scale_of_a_custom_object_can_be_applied(custom: Api) -> None:
    """Upstream answers 500 here (ADR 30)."""
    await apply(custom, f"{CRONTABS}/a", crontab(plain=["x"], replicas=1), "owner")
    config = {**scale(3), "metadata": {"name": "a"}}
    assert await conflicts(custom, f"{CRONTABS}/a/scale", config, "hpa") == [
        ('conflict with "owner"', ".spec.replicas")
    ]
    await apply(custom, f"{CRONTABS}/a/scale", config, "hpa", force="true")
    found = entries(await custom.ok("GET", f"{CRONTABS}/a"))
    assert found["hpa", "Apply", "scale"]["fieldsV1"] == REPLICAS


# -- status -------------------------------------------------------------------


async def test_a_status_write_leaves_a_deployments_labels(api: Api) -> None:
    await api.ok("POST", DEPLOYMENTS, deployment())
    patch = {
        "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
        "status": {"observedGeneration": 1},
    }
    query = {"fieldManager": "status"}
    found = await api.ok("PATCH", f"{DEPLOYMENTS}/web/status", patch, headers=MERGE, query=query)
    assert "labels" not in found["metadata"]
    assert found["metadata"]["annotations"] == {"c": "d"}
    assert found["metadata"]["generation"] == 1
    assert entries(found)["status", "Update", "status"]["fieldsV1"] == {
        "f:metadata": {"f:annotations": {".": {}, "f:c": {}}},
        "f:status": {"f:observedGeneration": {}},
    }


async def test_a_status_write_leaves_a_custom_objects_metadata_to_others(custom: Api) -> None:
    await custom.ok("POST", CRONTABS, crontab(replicas=1), query={"fieldManager": "creator"})
    patch = {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Up"}}
    query = {"fieldManager": "status"}
    found = await custom.ok("PATCH", f"{CRONTABS}/a/status", patch, headers=MERGE, query=query)
    assert "labels" not in found["metadata"]
    owned = entries(found)
    assert owned["status", "Update", "status"]["fieldsV1"] == {"f:status": {".": {}, "f:phase": {}}}
    # A specification that was not there before is owned itself, too.
    assert owned["creator", "Update", ""]["fieldsV1"] == {"f:spec": {".": {}, "f:replicas": {}}}


async def test_annotations_of_a_deployment_count_as_a_generation(api: Api) -> None:
    await api.ok("POST", DEPLOYMENTS, deployment())
    for metadata, generation in (
        ({"annotations": {"a": "b"}}, 2),
        ({"labels": {"a": "b"}}, 2),
        ({"annotations": {"a": None}}, 3),
    ):
        patch = {"metadata": metadata}
        found = await api.ok("PATCH", f"{DEPLOYMENTS}/web", patch, headers=MERGE)
        assert found["metadata"]["generation"] == generation, metadata


# -- lists and maps -----------------------------------------------------------


async def test_sets_are_shared_value_by_value(custom: Api) -> None:
    target = f"{CRONTABS}/a"
    await apply(custom, target, crontab(set=["a", "b"]), "one")
    both = await apply(custom, target, crontab(set=["b", "c"]), "two")
    assert both["spec"]["set"] == ["a", "b", "c"]
    left = await apply(custom, target, crontab(set=["b"]), "one")
    assert left["spec"]["set"] == ["b", "c"]
    gone = await apply(custom, target, crontab(), "two")
    assert gone["spec"]["set"] == ["b"]
    assert entries(gone)["one", "Apply", ""]["fieldsV1"] == {"f:spec": {"f:set": {'v:"b"': {}}}}


async def test_granular_maps_are_shared_key_by_key_and_atomic_ones_are_not(custom: Api) -> None:
    target = f"{CRONTABS}/a"
    await apply(custom, target, crontab(granular={"a": "1"}, atomic={"a": "1"}), "one")
    both = await apply(custom, target, crontab(granular={"b": "2"}), "two")
    assert both["spec"]["granular"] == {"a": "1", "b": "2"}
    config = crontab(granular={"a": "9"}, atomic={"b": "2"})
    assert sorted(await conflicts(custom, target, config, "two")) == [
        ('conflict with "one"', ".spec.atomic"),
        ('conflict with "one"', ".spec.granular.a"),
    ]
    forced = await apply(custom, target, config, "two", force="true")
    # What "two" names no longer and nobody else has goes; the atomic map is replaced.
    assert forced["spec"] == {"granular": {"a": "9"}, "atomic": {"b": "2"}}
    assert set(entries(forced)) == {("two", "Apply", "")}


async def test_items_are_known_by_their_keys_with_defaults(custom: Api) -> None:
    target = f"{CRONTABS}/a"
    await apply(custom, target, crontab(keyed=[{"name": "x", "value": "1"}]), "one")
    config = crontab(keyed=[{"name": "x", "port": 81}, {"name": "x", "port": 80, "value": "2"}])
    assert await conflicts(custom, target, config, "two") == [
        ('conflict with "one"', '.spec.keyed[name="x",port=80].value')
    ]
    found = await apply(custom, target, config, "two", force="true")
    assert found["spec"]["keyed"] == [
        {"name": "x", "port": 81},
        {"name": "x", "port": 80, "value": "2"},
    ]
    await apply(custom, target, crontab(plain=["a"]), "one")
    assert await conflicts(custom, target, crontab(plain=["b"]), "two") == [
        ('conflict with "one"', ".spec.plain")
    ]


# -- the rest -----------------------------------------------------------------


async def test_the_text_last_applied_keeps_its_empty_annotations(api: Api) -> None:
    old = '{"apiVersion":"apps/v1"}\n'
    config = deployment(replicas=1)
    config["metadata"]["annotations"] = {LAST_APPLIED: old}
    found = await apply(api, f"{DEPLOYMENTS}/web", config, "kubectl")
    assert found["metadata"]["annotations"][LAST_APPLIED].startswith(
        '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"annotations":{},"name":"web"},'
    )


async def test_a_put_makes_services_that_are_not_there(api: Api) -> None:
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "clusterIP": "None"}}
    response = await api.call("PUT", f"{SERVICES}/s", service)
    assert response.status == 201
    classes = "/apis/node.k8s.io/v1/runtimeclasses"
    made = {"metadata": {"name": "r"}, "handler": "h"}
    assert (await api.call("PUT", f"{classes}/r", made)).status == 201


async def test_keys_given_twice_are_told_after_everything_else(api: Api) -> None:
    twice = (
        b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"1","k":"2"}'
    )
    target = "/api/v1/namespaces/default/configmaps/a"
    strict = {"fieldManager": "m", "fieldValidation": "Strict"}
    status = await api.fails(
        400, "BadRequest", "PATCH", target, twice + b"}", headers=APPLY, query=strict
    )
    assert status["message"] == (
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n"
        '  line 1: key "k" already set in map'
    )
    # What the schema does not know comes first, whatever else there is.
    await api.fails(500, "", "PATCH", target, twice + b',"x":1}', headers=APPLY, query=strict)
