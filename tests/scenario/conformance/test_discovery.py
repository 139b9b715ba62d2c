"""sig-api-machinery: Discovery, AggregatedDiscovery, server version, FieldValidation."""

import json
import re

import pytest
from tests.conformance_kit import workload

AGGREGATED = "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList"
# What upstream's test insists on, beside CRDs and aggregation.
REQUIRED = {
    "/api": {"v1": {"namespaces", "pods", "services", "configmaps"}},
    "apps": {"v1": {"deployments", "replicasets"}},
    "admissionregistration.k8s.io": {
        "v1": {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}
    },
    "apiextensions.k8s.io": {"v1": {"customresourcedefinitions"}},
    "apiregistration.k8s.io": {"v1": {"apiservices"}},
}


def test_should_validate_preferred_version_for_each_api_group(rest):
    groups = rest.get("/apis")
    assert (groups["kind"], groups["apiVersion"]) == ("APIGroupList", "v1")
    for group in groups["groups"]:
        versions = [v["groupVersion"] for v in group["versions"]]
        assert group["preferredVersion"] in group["versions"], group
        assert group["preferredVersion"]["groupVersion"] == versions[0]
        alone = rest.get(f"/apis/{group['name']}")
        assert alone["kind"] == "APIGroup"
        assert alone["preferredVersion"] == group["preferredVersion"]


def test_should_locate_the_group_version_and_a_resource_within_each_api_group(rest):
    for group in rest.get("/apis")["groups"]:
        for version in group["versions"]:
            listed = rest.get(f"/apis/{version['groupVersion']}")
            assert listed["kind"] == "APIResourceList"
            assert listed["groupVersion"] == version["groupVersion"]
            assert listed["resources"], version
            assert all(r["name"] and r["kind"] and r["verbs"] for r in listed["resources"])
    core = {r["name"]: r for r in rest.get("/api/v1")["resources"]}
    assert core["pods"]["shortNames"] == ["po"]
    assert core["pods/log"]["verbs"] == ["get"]
    assert rest.get("/api")["versions"] == ["v1"]


@pytest.mark.parametrize("accept", [AGGREGATED, f"{AGGREGATED},application/json"])
def test_should_support_raw_aggregated_discovery_endpoint_accept_headers(rest, accept):
    found = {}
    for path in ("/api", "/apis"):
        answer = rest.answer("GET", path, headers={"accept": accept})
        assert answer.status == 200
        media = answer.headers["content-type"]
        assert "application/json" in media
        assert "g=apidiscovery.k8s.io" in media
        assert "v=v2" in media
        assert "as=APIGroupDiscoveryList" in media
        assert answer.tree["kind"] == "APIGroupDiscoveryList"
        assert answer.tree["apiVersion"] == "apidiscovery.k8s.io/v2"
        for item in answer.tree["items"]:
            name = item["metadata"].get("name") or path
            found[name] = {
                v["version"]: {r["resource"] for r in v["resources"]} for v in item["versions"]
            }
            assert all(r["responseKind"]["kind"] for v in item["versions"] for r in v["resources"])
            assert all(v["freshness"] == "Current" for v in item["versions"])
    for group, versions in REQUIRED.items():
        for version, resources in versions.items():
            assert resources <= found[group][version]


def test_discovery_caches_are_told_when_nothing_changed(rest):
    first = rest.answer("GET", "/apis", headers={"accept": AGGREGATED})
    tag = first.headers["etag"]
    headers = {"accept": AGGREGATED, "if-none-match": tag}
    assert rest.answer("GET", "/apis", headers=headers).status == 304


def test_should_find_the_server_version(rest):
    version = rest.get("/version")
    assert re.fullmatch(r"[1-9]", version["major"])
    assert re.fullmatch(r"[0-9]+\+?", version["minor"])
    assert version["gitVersion"].startswith(f"v{version['major']}.{version['minor']}")
    assert {"gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"} <= set(
        version
    )


def deployment_with(text):
    """A Deployment's JSON with ``text`` inside its spec."""
    body = json.dumps(workload("Deployment", "strict"))
    return body.replace('"spec": {', f'"spec": {{{text}', 1).encode()


def test_should_detect_unknown_and_duplicate_fields_of_a_typed_object(rest, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    odd = deployment_with(
        '"unknown1": "val1", "unknownDupe": "a", "unknownDupe": "b", "paused": true, "paused": false, '
    )
    status = rest.fails(400, "BadRequest", "POST", path, odd, query={"fieldValidation": "Strict"})
    assert status["message"] == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "spec.unknown1", unknown field "spec.unknownDupe", '
        'duplicate field "spec.paused"'
    )
    warned = rest.answer("POST", path, odd, query={"fieldValidation": "Warn"})
    assert warned.status == 201
    assert '299 - "unknown field \\"spec.unknown1\\""' in warned.headers["warning"]
    assert 'duplicate field \\"spec.paused\\"' in warned.headers["warning"]
    assert "unknown1" not in warned.tree["spec"]
    ignored = rest.answer("PUT", f"{path}/strict", odd, query={"fieldValidation": "Ignore"})
    assert ignored.status == 200
    assert "warning" not in ignored.headers


def test_should_detect_unknown_metadata_fields_of_a_typed_object(rest, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    body = workload("Deployment", "strict")
    body["metadata"]["unknownMeta"] = "unknown-metadata"
    status = rest.fails(400, "BadRequest", "POST", path, body, query={"fieldValidation": "Strict"})
    assert status["message"] == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "metadata.unknownMeta"'
    )


def test_patches_are_validated_strictly_too(rest, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    rest.post(path, workload("Deployment", "strict"))
    for kind, body in (
        ("application/merge-patch+json", {"spec": {"unknown1": "val"}}),
        ("application/strategic-merge-patch+json", {"spec": {"unknown1": "val"}}),
        (
            "application/json-patch+json",
            [{"op": "add", "path": "/spec/unknown1", "value": "val"}],
        ),
    ):
        status = rest.answer(
            "PATCH",
            f"{path}/strict",
            body,
            query={"fieldValidation": "Strict"},
            headers={"content-type": kind},
        )
        assert (status.status, status.tree["reason"]) == (422, "Invalid"), status.tree
        assert 'strict decoding error: unknown field "spec.unknown1"' in status.tree["message"]
    twice = b'{"spec":{"paused":true,"paused":false}}'
    status = rest.answer(
        "PATCH",
        f"{path}/strict",
        twice,
        query={"fieldValidation": "Strict"},
        headers={"content-type": "application/merge-patch+json"},
    )
    assert status.status == 422
    assert 'strict decoding error: duplicate field "spec.paused"' in status.tree["message"]
