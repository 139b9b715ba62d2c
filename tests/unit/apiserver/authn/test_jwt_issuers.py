"""Tokens of issuers: signatures, times, audiences, keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.unit.apiserver.authn.authn_kit import StandingClock, public_pem_of

from kutter.apiserver.authn.authentication_configuration import parse_authentication
from kutter.apiserver.authn.issuer_keys import IssuerKeys
from kutter.apiserver.authn.jwt_issuers import JwtIssuer
from kutter.apiserver.authn.token_keys import InvalidTokenError

ISSUER = "https://issuer.example"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
_MAKERS = {"RS256": jwt.algorithms.RSAAlgorithm, "ES256": jwt.algorithms.ECAlgorithm}


def jwk(key: Any, algorithm: str, key_id: str, **more: Any) -> dict[str, Any]:
    tree = orjson.loads(_MAKERS[algorithm].to_jwk(key.public_key()))
    return {**tree, "kid": key_id, "use": "sig", **more}


class Site:
    """An issuer's endpoints."""

    def __init__(self) -> None:
        self.keys = [jwk(RSA_KEY, "RS256", "one", alg="RS256")]
        self.issuer = ISSUER
        self.asked: list[str] = []
        self.down = False

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if self.down:
            raise ConnectionRefusedError("no")
        if url.endswith("/.well-known/openid-configuration"):
            return orjson.dumps({"issuer": self.issuer, "jwks_uri": f"{ISSUER}/keys"})
        return orjson.dumps({"keys": self.keys})


class Setting:
    def __init__(self) -> None:
        self.clock = StandingClock()
        self.site = Site()
        tree = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [
                {
                    "issuer": {"url": ISSUER, "audiences": ["kutter"]},
                    "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
                }
            ],
        }
        rules = parse_authentication(orjson.dumps(tree), own_issuers=[]).jwt[0][1]
        self.issuer = JwtIssuer(
            ISSUER,
            IssuerKeys(ISSUER, "", self.site, self.clock),
            rules,
            audiences=["kutter"],
            api_audiences=["api"],
            clock=self.clock,
        )

    def claims(self, **more: Any) -> dict[str, Any]:
        now = int(self.clock.now().timestamp())
        return {"iss": ISSUER, "sub": "jane", "aud": "kutter", "exp": now + 60, **more}

    def token(self, key: Any = RSA_KEY, algorithm: str = "RS256", kid: str = "one", **more: Any):
        headers = {"kid": kid} if kid else {}
        return jwt.encode(self.claims(**more), key, algorithm=algorithm, headers=headers)


@pytest.fixture
def setting() -> Setting:
    return Setting()


async def refused(setting: Setting, token: str) -> str:
    with pytest.raises(InvalidTokenError) as caught:
        await setting.issuer.verify(token)
    return str(caught.value)


async def test_a_token_that_holds(setting: Setting) -> None:
    for token in (setting.token(), setting.token(kid=""), setting.token(aud=["x", "kutter"])):
        found = await setting.issuer.verify(token)
        assert found is not None
        assert (found.user.name, found.audiences) == ("jane", ("api",))
    assert setting.site.asked == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/keys"]


async def test_other_issuers_tokens_are_not_its(setting: Setting) -> None:
    assert await setting.issuer.verify(setting.token(iss="https://other")) is None
    assert await setting.issuer.verify("opaque") is None
    assert setting.site.asked == []


async def test_times(setting: Setting) -> None:
    now = int(setting.clock.now().timestamp())
    assert "expired" in await refused(setting, setting.token(exp=now))
    assert "not valid yet" in await refused(setting, setting.token(nbf=now + 301))
    assert await setting.issuer.verify(setting.token(nbf=now + 299)) is not None
    assert "no life time" in await refused(setting, setting.token(exp=None))


async def test_audiences(setting: Setting) -> None:
    assert "audience" in await refused(setting, setting.token(aud="other"))
    assert "audience" in await refused(setting, setting.token(aud=None))
    found = await setting.issuer.verify(setting.token(), ["api", "other"])
    assert found is not None
    assert found.audiences == ("api",)
    with pytest.raises(InvalidTokenError):
        await setting.issuer.verify(setting.token(), ["other"])


async def test_a_signature_of_another_key_does_not_hold(setting: Setting) -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    assert "verify signature" in await refused(setting, setting.token(stranger))
    token = setting.token()
    head, _, signature = token.split(".")
    changed = base64.urlsafe_b64encode(orjson.dumps(setting.claims(sub="root"))).rstrip(b"=")
    await refused(setting, f"{head}.{changed.decode()}.{signature}")


async def test_the_header_does_not_choose_how_it_is_checked(setting: Setting) -> None:
    """``none``, and an HMAC made with the public key, never pass."""
    await refused(setting, jwt.encode(setting.claims(), None, algorithm="none"))

    def part(tree: Any) -> str:
        return base64.urlsafe_b64encode(orjson.dumps(tree)).rstrip(b"=").decode()

    signed = f"{part({'alg': 'HS256', 'kid': 'one'})}.{part(setting.claims())}"
    mac = hmac.new(public_pem_of(RSA_KEY), signed.encode(), hashlib.sha256).digest()
    forged = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert "unsupported algorithm" in await refused(setting, forged)
    # A key that says what it is for is for nothing else.
    assert "verify signature" in await refused(setting, setting.token(algorithm="PS256"))


async def test_new_keys_are_fetched_but_not_for_every_token(setting: Setting) -> None:
    assert await setting.issuer.verify(setting.token()) is not None
    fetched = len(setting.site.asked)
    setting.site.keys.append(jwk(EC_KEY, "ES256", "two"))
    new = setting.token(EC_KEY, "ES256", "two")
    await refused(setting, new)
    assert len(setting.site.asked) == fetched
    setting.clock.advance(11)
    assert await setting.issuer.verify(new) is not None
    for number in range(5):
        await refused(setting, setting.token(kid=f"unknown-{number}"))
    assert len(setting.site.asked) == fetched + 1


async def test_an_issuer_that_is_down_is_asked_again(setting: Setting) -> None:
    setting.site.down = True
    assert "not known yet" in await refused(setting, setting.token())
    setting.site.down = False
    assert "not known yet" in await refused(setting, setting.token())
    setting.clock.advance(11)
    assert await setting.issuer.verify(setting.token()) is not None
    setting.site.down = True
    setting.clock.advance(11)
    assert await setting.issuer.verify(setting.token()) is not None


async def test_discovery_of_another_issuer_is_not_believed(setting: Setting) -> None:
    setting.site.issuer = "https://mallory.example"
    assert "not known yet" in await refused(setting, setting.token())
