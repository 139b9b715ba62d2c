from __future__ import annotations

from typing import Any

import jwt
import pytest
from tests.unit.apiserver.authn.authn_kit import ISSUER, World

from kutter.api.errors import ApiError
from kutter.apiserver.authn.token_request import TokenRequests


def ask(world: World, name: str = "bot", extend: bool = True, **spec: Any) -> dict[str, Any]:
    requests = TokenRequests(world.issuer, default_audiences=[ISSUER], extend=extend)
    tree: dict[str, Any] = {"spec": spec}
    requests.complete(tree, "ci", name)
    return requests.issue(tree, world.reader, world.clock.now())


def claims_of(tree: dict[str, Any]) -> dict[str, Any]:
    return jwt.decode(tree["status"]["token"], options={"verify_signature": False})


def refused(world: World, **spec: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        ask(world, **spec)
    return caught.value


def to_pod(**more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "name": "p", **more}


def test_defaults() -> None:
    world = World()
    tree = ask(world)
    assert tree["spec"] == {"expirationSeconds": 3600, "audiences": [ISSUER]}
    assert tree["status"]["expirationTimestamp"] == "2026-06-01T01:00:00Z"
    assert tree["metadata"]["name"] == "bot"
    assert world.verifier.verify(tree["status"]["token"])


def test_bound_to_a_pod_and_its_node() -> None:
    world = World()
    claims = claims_of(ask(world, boundObjectRef=to_pod(uid="pod-uid"), expirationSeconds=600))
    assert claims["kubernetes.io"]["pod"] == {"name": "p", "uid": "pod-uid"}
    assert claims["kubernetes.io"]["node"] == {"name": "n1", "uid": "node-uid"}
    assert claims["exp"] - claims["iat"] == 600


def test_tokens_of_pods_that_never_asked_live_longer() -> None:
    world = World()
    tree = ask(world, boundObjectRef=to_pod(), expirationSeconds=3607)
    claims = claims_of(tree)
    assert claims["exp"] - claims["iat"] == 365 * 24 * 3600
    assert claims["kubernetes.io"]["warnafter"] - claims["iat"] == 3607
    assert tree["status"]["expirationTimestamp"] == "2026-06-01T01:00:07Z"
    claims = claims_of(ask(world, extend=False, boundObjectRef=to_pod(), expirationSeconds=3607))
    assert claims["exp"] - claims["iat"] == 3607


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        ({"expirationSeconds": 599}, 422, "may not specify a duration less than 10 minutes"),
        ({"expirationSeconds": 2**33}, 422, "may not specify a duration larger than 2^32 seconds"),
        ({"boundObjectRef": to_pod(name="x")}, 404, 'pods "x" not found'),
        ({"boundObjectRef": to_pod(uid="x")}, 409, "does not match the UID in record"),
        (
            {"boundObjectRef": {"apiVersion": "v1", "kind": "Service", "name": "s"}},
            400,
            "cannot bind token to object of type /v1, Kind=Service",
        ),
        ({"name": "nobody"}, 404, 'serviceaccounts "nobody" not found'),
    ],
)
def test_refusals(spec: dict[str, Any], code: int, text: str) -> None:
    error = refused(World(), **spec)
    assert error.code == code
    assert text in error.message


def test_a_pod_of_another_account() -> None:
    world = World()
    world.reader.put("serviceaccounts", {"metadata": {"name": "x", "namespace": "ci", "uid": "y"}})
    error = refused(world, name="x", boundObjectRef=to_pod())
    assert error.code == 400
    assert 'cannot bind token for serviceaccount "x" to pod running with different' in error.message
