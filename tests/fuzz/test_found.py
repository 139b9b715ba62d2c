"""What the fuzzer found once, kept: each was a 500 that named nothing."""

from __future__ import annotations

import pytest
from tests.apiserver_harness import ADMIN, Api, start_server

APPLY = {"content-type": "application/apply-patch+yaml"}


@pytest.fixture
async def api() -> Api:
    server = await start_server()
    return Api(server)


async def test_a_node_whose_address_has_no_type_is_not_reached(api: Api) -> None:
    await api.ok("POST", "/api/v1/nodes", {"metadata": {"name": "odd"}})
    odd = {"status": {"addresses": [{}, {"type": "InternalIP"}, {"address": "x"}]}}
    await api.ok(
        "PATCH",
        "/api/v1/nodes/odd/status",
        odd,
        headers={"content-type": "application/merge-patch+json"},
    )
    status = await api.fails(503, "ServiceUnavailable", "GET", "/api/v1/nodes/odd/proxy/pods")
    assert "no preferred addresses found" in status["message"]


async def test_applying_to_an_object_without_owners_whose_list_lacks_its_key(api: Api) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts"
    # An empty list of owners takes them away.
    await api.ok("POST", path, {"metadata": {"name": "web"}, "secrets": [{}]})
    await api.ok(
        "PATCH",
        f"{path}/web",
        {"metadata": {"managedFields": [{}]}},
        headers={"content-type": "application/merge-patch+json"},
    )
    answer = await api.call(
        "PATCH",
        f"{path}/web",
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}},
        query={"fieldManager": "a"},
        headers=APPLY,
    )
    # Upstream's answer, which has no reason: "an element that omits all key fields".
    assert answer.status == 500
    assert b"failed to create typed live object" in answer.body


def test_a_review_with_odd_owners_is_answered_in_any_form(kutter_cluster_factory) -> None:
    cluster = kutter_cluster_factory()
    api = Api(cluster.plane.api)
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    asked = {
        "metadata": {"managedFields": [{"manager": "a", "operation": "?"}]},
        "spec": {"nonResourceAttributes": {"path": "/version", "verb": "get"}},
    }
    for media in ("application/json", "application/vnd.kubernetes.protobuf"):
        answer = cluster.run(api.call("POST", path, asked, headers={"accept": media}, user=ADMIN))
        assert answer.status == 201
        assert b"managedFields" not in answer.body


async def test_owners_with_a_time_that_is_none_are_refused(api: Api) -> None:
    """They were stored, and every list of the kind in protobuf was a 500 from then on."""
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    owner = {"manager": "a", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1"}
    await api.ok("POST", path, {"metadata": {"name": "a"}, "value": 1})
    for time in ("x", "", 5, ["2026-01-01T00:00:00Z"], {"a": 1}):
        odd = {"name": "a", "managedFields": [{**owner, "time": time, "fieldsV1": {"f:value": {}}}]}
        for method, target, media in (
            ("PUT", f"{path}/a", "application/json"),
            ("PATCH", f"{path}/a", "application/merge-patch+json"),
            ("POST", path, "application/json"),
        ):
            await api.fails(
                400,
                "BadRequest",
                method,
                target,
                {"metadata": odd, "value": 1},
                headers={"content-type": media},
            )
    protobuf = {"accept": "application/vnd.kubernetes.protobuf"}
    assert (await api.call("GET", path, headers=protobuf)).status == 200
    # Another zone is another way to write the same moment.
    zone = {"name": "a", "managedFields": [{**owner, "time": "2026-01-01T02:00:00+01:00"}]}
    await api.ok("PUT", f"{path}/a", {"metadata": zone, "value": 1})
    assert (await api.call("GET", path, headers=protobuf)).status == 200


@pytest.mark.parametrize("version", ["x" * 300, "\0", "../../errors/v1", "a/b/c"])
async def test_a_version_nobody_has_is_looked_for_in_no_file(api: Api, version: str) -> None:
    """The table of a group-version was a file by its name: a long one was "the store failed"."""
    body = {"kind": "Endpoints", "apiVersion": version, "metadata": {"name": "a"}}
    answer = await api.fails(
        400, "BadRequest", "POST", "/api/v1/namespaces/default/endpoints", body
    )
    assert "cannot be handled" in answer["message"] or "GroupVersion" in answer["message"]
