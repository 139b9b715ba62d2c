"""Which bootstrap tokens hold."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.apiserver.authn.authn_kit import World

from kutter.apiserver.authn.bootstrap_tokens import BootstrapTokens
from kutter.apiserver.authn.token_keys import InvalidTokenError
from kutter.base.clock import render_time

TOKEN = "abcdef.0123456789abcdef"
GOOD = {
    "token-id": "abcdef",
    "token-secret": "0123456789abcdef",
    "usage-bootstrap-authentication": "true",
}


def tokens(world: World, data: dict[str, str] | None = None, **more: Any) -> BootstrapTokens:
    metadata = {"name": "bootstrap-token-abcdef", "namespace": "kube-system", "uid": "u"}
    encoded = {k: base64.b64encode(v.encode()).decode() for k, v in (data or GOOD).items()}
    world.reader.put(
        "secrets",
        {
            "metadata": {**metadata, **more.pop("metadata", {})},
            "type": "bootstrap.kubernetes.io/token",
            "data": encoded,
            **more,
        },
    )
    return BootstrapTokens(world.reader, audiences=["api"], clock=world.clock)


def test_a_token_is_its_user_in_its_groups() -> None:
    world = World()
    data = {**GOOD, "auth-extra-groups": "system:bootstrappers:workers,system:bootstrappers:a"}
    found = tokens(world, data).verify(TOKEN)
    assert found is not None
    assert found.user.name == "system:bootstrap:abcdef"
    assert found.user.groups == (
        "system:bootstrappers",
        "system:bootstrappers:a",
        "system:bootstrappers:workers",
    )
    assert found.audiences == ("api",)


@pytest.mark.parametrize(
    "token", ["", "abcdef", "ABCDEF.0123456789abcdef", f"{TOKEN}0", f" {TOKEN}", f"{TOKEN}\n"]
)
def test_tokens_of_other_forms_are_not_its(token: str) -> None:
    assert tokens(World()).verify(token) is None


@pytest.mark.parametrize(
    ("data", "more"),
    [
        ({**GOOD, "token-secret": "x" * 16}, {}),
        ({**GOOD, "token-secret": ""}, {}),
        ({**GOOD, "token-id": "abcdeg"}, {}),
        ({**GOOD, "usage-bootstrap-authentication": "yes"}, {}),
        ({k: v for k, v in GOOD.items() if not k.startswith("usage")}, {}),
        ({**GOOD, "auth-extra-groups": "system:masters"}, {}),
        ({**GOOD, "auth-extra-groups": "system:bootstrappers:a,"}, {}),
        ({**GOOD, "expiration": "soon"}, {}),
        (GOOD, {"type": "Opaque"}),
        (GOOD, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        (GOOD, {"metadata": {"namespace": "default"}}),
    ],
)
def test_tokens_that_do_not_hold(data: dict[str, str], more: dict[str, Any]) -> None:
    with pytest.raises(InvalidTokenError) as caught:
        tokens(World(), data, **more).verify(TOKEN)
    assert "0123456789abcdef" not in str(caught.value)


def test_a_token_ends_when_it_says() -> None:
    world = World()
    end = render_time(world.clock.now() + timedelta(minutes=5))
    found = tokens(world, {**GOOD, "expiration": end})
    assert found.verify(TOKEN) is not None
    world.clock.advance(301)
    with pytest.raises(InvalidTokenError, match="expired"):
        found.verify(TOKEN)


def test_it_is_for_the_api_server_only() -> None:
    found = tokens(World())
    assert found.verify(TOKEN, ["api", "other"]) is not None
    with pytest.raises(InvalidTokenError):
        found.verify(TOKEN, ["other"])
