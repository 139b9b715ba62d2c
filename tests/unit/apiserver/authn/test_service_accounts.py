from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from tests.unit.apiserver.authn.authn_kit import (
    EC_KEY,
    ISSUER,
    OTHER_KEY,
    POD,
    RSA_KEY,
    World,
    pem_of,
    public_pem_of,
)

from kutter.apiserver.authn.service_accounts import LEGACY_ISSUER, Binding
from kutter.apiserver.authn.token_cache import CachedTokenVerifier
from kutter.apiserver.authn.token_keys import InvalidTokenError, TokenKeys

TO_POD = Binding("pods", "p", "pod-uid", "n1", "node-uid")


def encode(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts)


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def test_claims_are_upstreams() -> None:
    world = World()
    now = int(world.clock.now().timestamp())
    token = world.token(binding=TO_POD, warn_after_s=3607)
    assert claims_of(token) == {
        "aud": [ISSUER],
        "exp": now + 3600,
        "iat": now,
        "iss": ISSUER,
        "jti": "the-id",
        "nbf": now,
        "sub": "system:serviceaccount:ci:bot",
        "kubernetes.io": {
            "namespace": "ci",
            "serviceaccount": {"name": "bot", "uid": "sa-uid"},
            "pod": {"name": "p", "uid": "pod-uid"},
            "node": {"name": "n1", "uid": "node-uid"},
            "warnafter": now + 3607,
        },
    }
    assert jwt.get_unverified_header(token)["alg"] == "ES256"


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY])
def test_a_bound_token_holds(key: Any) -> None:
    world = World(key)
    verified = world.verifier.verify(world.token(binding=TO_POD))
    assert verified is not None
    user = verified.user
    assert (user.name, user.uid) == ("system:serviceaccount:ci:bot", "sa-uid")
    assert user.groups == (
        "system:serviceaccounts",
        "system:serviceaccounts:ci",
        "system:authenticated",
    )
    assert user.extra == {
        "authentication.kubernetes.io/pod-name": ("p",),
        "authentication.kubernetes.io/pod-uid": ("pod-uid",),
        "authentication.kubernetes.io/node-name": ("n1",),
        "authentication.kubernetes.io/node-uid": ("node-uid",),
        "authentication.kubernetes.io/credential-id": ("JTI=the-id",),
    }


def refuse(world: World, token: str, *audiences: str) -> str:
    with pytest.raises(InvalidTokenError) as caught:
        world.verifier.verify(token, audiences)
    assert token not in str(caught.value)
    return str(caught.value)


def test_time() -> None:
    world = World()
    token = world.token()
    world.clock.advance(3599)
    assert world.verifier.verify(token)
    world.clock.advance(1)
    assert refuse(world, token) == "token is expired"
    world.clock.advance(-4000)
    assert refuse(world, token) == "token is not valid yet"


def test_forgeries() -> None:
    world = World()
    claims = claims_of(world.token())
    kid = jwt.get_unverified_header(world.token())["kid"]
    stranger = TokenKeys(pem_of(OTHER_KEY))
    refuse(world, stranger.sign(claims))
    # The right key id over a wrong signature.
    refuse(world, jwt.encode(claims, OTHER_KEY, algorithm="ES256", headers={"kid": kid}))
    refuse(world, jwt.encode(claims, RSA_KEY, algorithm="RS256", headers={"kid": kid}))
    refuse(world, jwt.encode(claims, OTHER_KEY, algorithm="ES256"))
    for algorithm in ("none", "None", "NONE", "nOnE"):
        refuse(world, encode({"alg": algorithm, "kid": kid}, claims))
        refuse(world, encode({"alg": algorithm}, claims))
    # An HMAC whose secret is the public key, in every form a verifier might take it.
    header = {"alg": "HS256", "kid": kid, "typ": "JWT"}
    signed = encode(header, claims).rpartition(".")[0]
    for secret in (public_pem_of(EC_KEY), public_pem_of(EC_KEY).strip()):
        digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        refuse(world, encode(header, claims, digest))
    head, _, signature = world.token().split(".")
    changed = {**claims, "sub": "system:serviceaccount:kube-system:admin"}
    body = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
    refuse(world, f"{head}.{body}.{signature}")
    refuse(world, world.token()[:-2])


def test_a_signed_token_must_name_its_own_account() -> None:
    world = World()
    claims = claims_of(world.token())
    claims["sub"] = "system:serviceaccount:kube-system:admin"
    assert refuse(world, world.keys.sign(claims)) == "subject and account differ"
    for broken in ({}, "x", {"namespace": "ci"}, {"namespace": "ci", "serviceaccount": 1}):
        refuse(world, world.keys.sign({**claims, "kubernetes.io": broken}))
    refuse(world, world.keys.sign({**claims, "exp": "soon"}))


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "..", "é.é.é", "a.b.c.d"])
def test_what_is_no_token_of_ours(token: str) -> None:
    assert World().verifier.verify(token) is None


def test_audiences() -> None:
    world = World()
    token = world.token(audiences=["vault", "other"])
    assert refuse(world, token) == "token is for other audiences"
    assert refuse(world, token, "x") == "token is for other audiences"
    verified = world.verifier.verify(token, ["x", "vault"])
    assert verified is not None
    assert verified.audiences == ("vault",)


def test_it_dies_with_what_it_is_bound_to() -> None:
    world = World()
    to_pod, plain = world.token(binding=TO_POD), world.token()
    to_secret = world.token(binding=Binding("secrets", "s", "s-uid"))
    to_node = world.token(binding=Binding("nodes", "n1", "node-uid"))
    assert all(map(world.verifier.verify, (to_pod, plain, to_secret, to_node)))

    world.reader.remove("secrets", "ci", "s")
    assert refuse(world, to_secret) == "secrets ci/s is gone"
    world.reader.put("nodes", {"metadata": {"name": "n1", "uid": "new"}})
    refuse(world, to_node)
    # A pod on its way out counts a little longer, then not.
    leaving = {**POD, "metadata": {**POD["metadata"], "deletionTimestamp": "2026-06-01T00:00:00Z"}}
    world.reader.put("pods", leaving)
    world.clock.advance(59)
    assert world.verifier.verify(to_pod)
    world.clock.advance(2)
    assert refuse(world, to_pod) == "pods ci/p is deleted"
    world.reader.put("pods", {"metadata": {"name": "p", "namespace": "ci", "uid": "new"}})
    assert refuse(world, to_pod) == "pods ci/p is another one now"
    world.reader.remove("pods", "ci", "p")
    assert refuse(world, to_pod) == "pods ci/p is gone"
    assert world.verifier.verify(plain)
    world.reader.remove("serviceaccounts", "ci", "bot")
    assert refuse(world, plain) == "serviceaccounts ci/bot is gone"


def test_tokens_of_secrets() -> None:
    world = World()
    prefix = "kubernetes.io/serviceaccount/"
    token = world.keys.sign(
        {
            "iss": LEGACY_ISSUER,
            "sub": "system:serviceaccount:ci:bot",
            f"{prefix}namespace": "ci",
            f"{prefix}secret.name": "legacy",
            f"{prefix}service-account.name": "bot",
            f"{prefix}service-account.uid": "sa-uid",
        }
    )
    refuse(world, token)
    secret = {
        "metadata": {
            "name": "legacy",
            "namespace": "ci",
            "uid": "l",
            "annotations": {
                "kubernetes.io/service-account.name": "bot",
                "kubernetes.io/service-account.uid": "sa-uid",
            },
        },
        "type": "kubernetes.io/service-account-token",
        "data": {"token": base64.b64encode(token.encode()).decode()},
    }
    world.reader.put("secrets", secret)
    verified = world.verifier.verify(token)
    assert verified is not None
    assert verified.user.name == "system:serviceaccount:ci:bot"
    assert verified.expires is None
    world.reader.put("secrets", {**secret, "type": "Opaque"})
    refuse(world, token)
    world.reader.put("secrets", {**secret, "data": {}})
    refuse(world, token)


def test_the_cache_forgets_with_the_object_and_with_time() -> None:
    world = World()
    calls: list[str] = []

    class Counting:
        def verify(self, token: str, audiences: Any = ()) -> Any:
            calls.append(token)
            return world.verifier.verify(token, audiences)

    cached = CachedTokenVerifier(Counting(), clock=world.clock)  # type: ignore[arg-type]
    cached.follow(world.reader)
    token = world.token(binding=TO_POD, lifetime_s=605)
    assert cached.verify(token) == cached.verify(token)
    assert len(calls) == 1
    world.clock.advance(11)
    assert cached.verify(token)
    assert len(calls) == 2
    world.reader.remove("pods", "ci", "p")
    with pytest.raises(InvalidTokenError):
        cached.verify(token)
    world.reader.put("pods", POD)
    world.clock.advance(590)
    assert cached.verify(token)
    world.clock.advance(5)
    with pytest.raises(InvalidTokenError, match="expired"):
        cached.verify(token)


def test_rotated_keys_are_accepted_and_published() -> None:
    world = World()
    token = world.token()
    rotated = TokenKeys(pem_of(RSA_KEY), accepted_pems=[public_pem_of(EC_KEY)])
    assert rotated.verify(token)["jti"] == "the-id"
    assert jwt.get_unverified_header(rotated.sign({"a": 1}))["alg"] == "RS256"
    published = json.loads(rotated.jwks())["keys"]
    assert [key["alg"] for key in published] == ["RS256", "ES256"]
    for token, by in ((world.token(), 1), (rotated.sign({"a": 1}), 0)):
        key = jwt.PyJWK(published[by])
        assert key.key_id == jwt.get_unverified_header(token)["kid"]
        jwt.decode(
            token,
            key,
            audience=ISSUER,
            options={
                "verify_exp": False,
                "verify_aud": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
