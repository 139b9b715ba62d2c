"""Who may use the kubelet's API."""

from __future__ import annotations

from typing import Any

import pytest

from kutter.base.clock import SYSTEM_CLOCK
from kutter.http.messages import Request
from kutter.node.options import NodeOptions
from kutter.node.server_auth import Caller, ServerAuth, subresource_of


class ReviewClient:
    """Answers token and access reviews; remembers what was asked."""

    def __init__(self, *, authenticated: bool = True, allowed: bool = True) -> None:
        self.authenticated = authenticated
        self.allowed = allowed
        self.asked: list[dict[str, Any]] = []

    async def create(self, target: Any, tree: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(tree)
        if tree["kind"] == "TokenReview":
            user = {"username": "sue", "groups": ["devs"]}
            return {"status": {"authenticated": self.authenticated, "user": user}}
        return {"status": {"allowed": self.allowed}}


def auth(client: ReviewClient) -> ServerAuth:
    return ServerAuth(client, NodeOptions("node-1"), SYSTEM_CLOCK)  # type: ignore[arg-type]


def request(path: str = "/pods", token: str = "t", method: str = "GET") -> Request:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return Request(method, path, headers=headers)


async def test_token_is_reviewed_once_and_then_remembered() -> None:
    client = ReviewClient()
    server = auth(client)
    for _ in range(3):
        assert await server.identify(request()) == Caller("sue", ("devs",))
    assert len(client.asked) == 1
    assert await server.identify(request(token="")) is None


async def test_bad_token_is_nobody() -> None:
    assert await auth(ReviewClient(authenticated=False)).identify(request()) is None


async def test_access_is_asked_for_the_right_subresource() -> None:
    client = ReviewClient(allowed=False)
    server = auth(client)
    asked = request("/exec/default/web/app", method="POST")
    assert not await server.allows(Caller("sue", ("devs",)), asked)
    attributes = client.asked[0]["spec"]["resourceAttributes"]
    assert attributes == {
        "verb": "create",
        "version": "v1",
        "resource": "nodes",
        "subresource": "proxy",
        "name": "node-1",
    }


async def test_api_server_and_masters_are_not_asked_about() -> None:
    client = ReviewClient(allowed=False)
    server = auth(client)
    assert await server.allows(Caller("kube-apiserver-kubelet-client", ()), request())
    assert await server.allows(Caller("x", ("system:masters",)), request())
    assert client.asked == []


async def test_answers_for_one_user_are_not_another_users() -> None:
    client = ReviewClient(allowed=True)
    server = auth(client)
    assert await server.allows(Caller("sue", ()), request())
    client.allowed = False
    assert not await server.allows(Caller("sue", ("other",)), request())
    assert not await server.allows(Caller("eve", ()), request())
    assert not await server.allows(Caller("sue", ()), request(method="POST"))


@pytest.mark.parametrize(
    ("path", "subresource"),
    [
        ("/pods", "pods"),
        ("/runningpods/", "pods"),
        ("/stats/summary", "stats"),
        ("/metrics/resource", "metrics"),
        ("/logs/x", "log"),
        ("/containerLogs/a/b/c", "proxy"),
        ("/exec/a/b/c", "proxy"),
        ("/run/a/b/c", "proxy"),
        ("/portForward/a/b", "proxy"),
        ("/configz", "configz"),
        ("/podsx", "proxy"),
    ],
)
def test_subresources(path: str, subresource: str) -> None:
    assert subresource_of(path) == subresource
