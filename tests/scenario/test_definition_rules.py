"""What a definition must say, and what its conditions say about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from tests.apiserver_harness import Api, header, tree
from tests.custom_kinds import (
    CRDS,
    CRONTABS,
    FULL,
    condition,
    crontab,
    define,
    definition,
    serving,
    version,
)

from kutter.store.memory import MemoryStore

NAME = "crontabs.stable.example.com"
APPROVED = "api-approved.kubernetes.io"
CONFORMS = "KubernetesAPIApprovalPolicyConformant"
_JSON = {"content-type": "application/json-patch+json"}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as served:
        yield served


@pytest.mark.parametrize(
    ("approval", "status", "reason"),
    [
        ("https://github.com/kubernetes/enhancements/pull/1", "True", "ApprovedAnnotation"),
        ("unapproved, an experiment", "False", "UnapprovedAnnotation"),
    ],
)
async def test_groups_of_the_community_say_who_approved_them(
    api: Api, approval: str, status: str, reason: str
) -> None:
    crd = definition("things", "Thing", group="example.k8s.io")
    refused = await api.fails(422, "Invalid", "POST", CRDS, crd)
    assert (
        f"metadata.annotations[{APPROVED}]: Required value: protected groups"
        in (refused["message"])
    )
    crd["metadata"]["annotations"] = {APPROVED: "me"}
    refused = await api.fails(422, "Invalid", "POST", CRDS, crd)
    assert 'Invalid value: "me": protected groups must have' in refused["message"]
    crd["metadata"]["annotations"] = {APPROVED: approval}
    await api.ok("POST", CRDS, crd)
    found = await condition(api, "things.example.k8s.io", CONFORMS)
    assert (found["status"], found["reason"]) == (status, reason)


async def test_other_groups_have_no_such_condition(api: Api) -> None:
    made = await define(api, definition())
    assert {c["type"] for c in made["status"]["conditions"]} == {"NamesAccepted", "Established"}


async def test_stored_versions_are_kept_true(api: Api) -> None:
    old = version("v1beta1", storage=False, **FULL)
    made = await define(api, definition(versions=[old, version("v1", **FULL)]))
    for stored, message in (
        ([], "status.storedVersions: Invalid value: []: must have at least one stored version"),
        (["v1beta1"], "must have the storage version v1"),
        (["v1", "v0"], "v0 was previously a storage version, and must remain in spec.versions"),
    ):
        made["status"]["storedVersions"] = stored
        status = await api.fails(422, "Invalid", "PUT", f"{CRDS}/{NAME}/status", made)
        assert message in status["message"]


async def test_unknown_formats_are_told_once(api: Api) -> None:
    fields: dict[str, Any] = {
        "a": {"type": "string", "format": "date-time"},
        "b": {"type": "integer", "format": "int32"},
        "c": {"type": "string", "format": "odd"},
        "d": {"type": "array", "items": {"type": "string", "format": "odd"}},
    }
    crd = definition(versions=[version(spec={"type": "object", "properties": fields})])
    response = await api.call("POST", CRDS, crd)
    assert header(response, "warning") == ['299 - "unrecognized format \\"odd\\""']
    await condition(api, NAME)
    made = await api.ok("GET", f"{CRDS}/{NAME}")
    spec = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["e"] = {"type": "string", "format": "odd-too"}
    response = await api.call("PUT", f"{CRDS}/{NAME}", made)
    assert response.status == 200
    assert header(response, "warning") == ['299 - "unrecognized format \\"odd-too\\""']


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "webhookClientConfig: Required value: exactly one of url or service is required"),
        (
            {"url": "http://a.example.com"},
            "webhookClientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme",
        ),
        ({"service": {"name": "a"}}, "webhookClientConfig.service.name: Required value"),
    ],
)
async def test_a_conversion_webhooks_place_is_checked(
    api: Api, config: dict[str, Any], message: str
) -> None:
    webhook = {"clientConfig": config, "conversionReviewVersions": ["v1"]}
    crd = definition(conversion={"strategy": "Webhook", "webhook": webhook})
    status = await api.fails(422, "Invalid", "POST", CRDS, crd)
    assert f"spec.conversion.{message}" in status["message"]


async def test_a_bundle_is_checked_once_the_kind_is_served(api: Api) -> None:
    """Upstream takes any before: what calls the webhook complains."""
    config = {"url": "https://a.example.com", "caBundle": "Cg=="}
    webhook = {"clientConfig": config, "conversionReviewVersions": ["v1"]}
    conversion = {"strategy": "Webhook", "webhook": webhook}
    dry = {"dryRun": "All"}
    await api.ok("POST", CRDS, definition(conversion=conversion), query=dry)
    made = await define(api, definition())
    made["spec"]["conversion"] = conversion
    status = await api.fails(422, "Invalid", "PUT", f"{CRDS}/{NAME}", made)
    assert "spec.conversion.webhookClientConfig.caBundle: Invalid value" in status["message"]


async def test_review_versions_are_checked(api: Api) -> None:
    webhook = {"clientConfig": {"url": "https://a.example.com"}}
    crd = definition(conversion={"strategy": "Webhook", "webhook": webhook})
    for versions, message in (
        (["v7"], "must include at least one of v1, v1beta1"),
        (["v1", "v1"], 'conversionReviewVersions[1]: Invalid value: "v1": duplicate version'),
        (["v1", "V2"], 'conversionReviewVersions[1]: Invalid value: "V2"'),
    ):
        webhook["conversionReviewVersions"] = versions  # type: ignore[assignment]
        status = await api.fails(422, "Invalid", "POST", CRDS, crd)
        assert message in status["message"]


async def test_a_schema_that_is_not_structural_is_told(api: Api) -> None:
    """Nobody can write one here; a store filled by an older server may hold one."""
    store = MemoryStore()
    async with serving(store) as first:
        made = await define(first, definition())
    schema = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["untyped"] = {"description": "of no type"}
    del made["metadata"]["resourceVersion"]
    key = f"/registry/apiextensions.k8s.io/customresourcedefinitions/{NAME}"
    await store.put(key, orjson.dumps(made))
    async with serving(store) as second:
        found = await condition(second, NAME, "NonStructuralSchema")
        assert (found["status"], found["reason"]) == ("True", "Violations")
        assert "properties[spec].properties[untyped].type: Required value" in found["message"]


async def test_a_scale_without_replicas_is_an_error_to_read_and_may_be_set(api: Api) -> None:
    bare = {"type": "object", "properties": {"replicas": {"type": "integer"}}}
    await define(api, definition(versions=[version(spec=bare, subresources=FULL["subresources"])]))
    body = crontab()
    body["spec"] = {}
    await api.ok("POST", CRONTABS, body)
    status = await api.fails(500, "InternalError", "GET", f"{CRONTABS}/a/scale")
    assert status["message"] == (
        'Internal error occurred: the spec replicas field ".spec.replicas" does not exist'
    )
    change = [{"op": "add", "path": "/spec/replicas", "value": 3}]
    scaled = await api.ok("PATCH", f"{CRONTABS}/a/scale", change, headers=_JSON)
    assert scaled["spec"] == {"replicas": 3}
    assert (await api.ok("GET", f"{CRONTABS}/a"))["spec"] == {"replicas": 3}


async def test_a_new_kind_is_served_and_told_of_at_once(api: Api) -> None:
    """What waits for Established finds everything in place."""
    await define(api, definition(names={"categories": ["all"], "shortNames": ["ct"]}))
    resources = (await api.ok("GET", "/apis/stable.example.com/v1"))["resources"]
    assert [r["name"] for r in resources] == ["crontabs", "crontabs/status", "crontabs/scale"]
    assert resources[0]["categories"] == ["all"]
    aggregated = {"accept": "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList"}
    groups = (await api.ok("GET", "/apis", headers=aggregated))["items"]
    assert groups[-1]["metadata"]["name"] == "stable.example.com"
    index = (await api.ok("GET", "/openapi/v3"))["paths"]
    assert "apis/stable.example.com/v1" in index
    schemas = (await api.ok("GET", "/openapi/v3/apis/stable.example.com/v1"))["components"]
    assert "com.example.stable.v1.CronTab" in schemas["schemas"]
    assert (await api.ok("GET", CRONTABS))["items"] == []
    await api.ok("DELETE", f"{CRDS}/{NAME}")
    async with asyncio.timeout(20):
        while (await api.call("GET", "/apis/stable.example.com")).status != 404:
            await asyncio.sleep(0)
    assert "apis/stable.example.com/v1" not in (await api.ok("GET", "/openapi/v3"))["paths"]
    response = await api.call("GET", "/openapi/v2")
    assert not [name for name in tree(response)["definitions"] if "stable" in name]
