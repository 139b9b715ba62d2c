from __future__ import annotations

import pytest

from kutter.api.errors import ApiError
from kutter.apiserver.authn.identity import User
from kutter.apiserver.authn.impersonation import impersonate, impersonates
from kutter.apiserver.ports import Attributes, Decision
from kutter.http.messages import Request

ADMIN = User("admin", groups=("system:masters",))


class Only:
    """Allows what is listed, and notes what was asked."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = allowed
        self.asked: list[str] = []

    async def authorize(self, a: Attributes) -> Decision:
        assert (a.user, a.verb) == (ADMIN, "impersonate")
        sub = f"/{a.subresource}" if a.subresource else ""
        text = f"{a.group}:{a.resource}{sub}:{a.namespace}:{a.name}"
        self.asked.append(text)
        return Decision("*" in self.allowed or text in self.allowed)


def request(*headers: tuple[str, str]) -> Request:
    pairs = [*headers, ("Accept", "x")]
    return Request("GET", "/api", headers={k.lower(): v for k, v in pairs}, header_list=pairs)


async def test_mostly_oneself() -> None:
    authorizer = Only()
    assert await impersonate(request(), ADMIN, authorizer) is ADMIN
    assert authorizer.asked == []


async def test_everything_is_asked_for() -> None:
    authorizer = Only("*")
    asked = request(
        ("Impersonate-User", "ann"),
        ("Impersonate-Group", "devs"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Uid", "u1"),
        ("Impersonate-Extra-Acme%2fScope", "read"),
        ("Impersonate-Extra-Acme%2fScope", "write"),
    )
    user = await impersonate(asked, ADMIN, authorizer)
    assert user == User(
        "ann", "u1", ("devs", "ops", "system:authenticated"), {"acme/scope": ("read", "write")}
    )
    assert authorizer.asked == [
        ":users::ann",
        ":groups::devs",
        ":groups::ops",
        "authentication.k8s.io:userextras/acme/scope::read",
        "authentication.k8s.io:userextras/acme/scope::write",
        "authentication.k8s.io:uids::u1",
    ]
    assert asked.headers == {"accept": "x"}
    assert asked.header_list == [("Accept", "x")]


async def test_service_accounts_and_anonymous() -> None:
    authorizer = Only(":serviceaccounts:ci:bot")
    user = await impersonate(
        request(("Impersonate-User", "system:serviceaccount:ci:bot")), ADMIN, authorizer
    )
    assert user.groups == (
        "system:serviceaccounts",
        "system:serviceaccounts:ci",
        "system:authenticated",
    )
    user = await impersonate(request(("Impersonate-User", "system:anonymous")), ADMIN, Only("*"))
    assert user.groups == ("system:unauthenticated",)


async def test_one_no_is_enough() -> None:
    asked = request(("Impersonate-User", "ann"), ("Impersonate-Group", "system:masters"))
    with pytest.raises(ApiError) as caught:
        await impersonate(asked, ADMIN, Only(":users::ann"))
    assert caught.value.code == 403
    assert caught.value.message == (
        'groups "system:masters" is forbidden: User "admin" cannot impersonate resource "groups" '
        'in API group "" at the cluster scope'
    )


async def test_groups_without_a_user() -> None:
    with pytest.raises(ApiError) as caught:
        await impersonate(request(("Impersonate-Group", "x")), ADMIN, Only("*"))
    assert caught.value.code == 400
    assert caught.value.message == (
        'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"x"}, '
        "Extra:map[string][]string(nil)} without impersonating a user name"
    )


def test_whether_somebody_impersonates_is_looked_for_once_per_header_block() -> None:
    plain, acting = request(), request(("Impersonate-Group", "x"))
    assert not impersonates(plain)
    assert impersonates(acting)
    for asked, expected in ((plain, False), (acting, True)):
        asked.remembered = {}
        assert impersonates(asked) is expected
        again = request()
        again.remembered = asked.remembered
        assert impersonates(again) is expected
