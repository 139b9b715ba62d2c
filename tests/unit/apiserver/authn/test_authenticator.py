from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from tests.unit.apiserver.authn.authn_kit import ACCOUNT, World

from kutter.api.errors import ApiError
from kutter.apiserver.authn.authenticator import RequestAuthenticator
from kutter.apiserver.authn.client_certificates import CertificateAuthenticator
from kutter.apiserver.authn.identity import User
from kutter.apiserver.authn.token_cache import CachedTokenVerifier
from kutter.cluster.certificates import Certificates
from kutter.http.messages import PeerCertificate, Request


@pytest.fixture
def world() -> World:
    return World()


def authenticator(world: World) -> RequestAuthenticator:
    return RequestAuthenticator(
        certificates=CertificateAuthenticator(clock=world.clock), tokens=[world.verifier]
    )


def get(path: str, der: bytes = b"", **headers: str) -> Request:
    found = {name.replace("_", "-"): value for name, value in headers.items()}
    peer = PeerCertificate(der) if der else None
    return Request(
        "GET", path, headers=found, header_list=list(found.items()), peer_certificate=peer
    )


async def who(world: World, request: Request) -> User | None:
    return await authenticator(world).authenticate(request)


async def is_401(world: World, request: Request) -> None:
    with pytest.raises(ApiError) as caught:
        await who(world, request)
    assert (caught.value.code, caught.value.reason) == (401, "Unauthorized")
    assert caught.value.message == "Unauthorized"


async def test_a_refused_certificate_is_401_also_for_health(world: World) -> None:
    for path in ("/api/v1/pods", "/livez"):
        request = get(path)
        request.refused_certificate = "certificate is not trusted"
        await is_401(world, request)
    request = get("/api/v1/pods", authorization=f"Bearer {world.token()}")
    request.refused_certificate = "certificate is not trusted"
    user = await who(world, request)
    assert user is not None


def der_of(certificates: Certificates, identity: str) -> bytes:
    pem = certificates.pair(identity).certificate.read_bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/version"])
async def test_nobody_may_look_at_health_and_version(world: World, path: str) -> None:
    user = await who(world, get(path))
    assert user is not None
    assert (user.name, user.groups) == ("system:anonymous", ("system:unauthenticated",))


@pytest.mark.parametrize("path", ["/", "/api", "/metrics", "/livez/ping", "/version/", "/apis"])
async def test_nobody_sees_anything_else(world: World, path: str) -> None:
    assert await who(world, get(path)) is None


async def test_a_token_is_taken_out_of_the_request(world: World) -> None:
    request = get("/api", authorization=f"Bearer {world.token()}", accept="x")
    user = await who(world, request)
    assert user is not None
    assert user.name == "system:serviceaccount:ci:bot"
    assert user.groups[-1] == "system:authenticated"
    assert request.headers == {"accept": "x"}
    assert request.header_list == [("accept", "x")]


@pytest.mark.parametrize("path", ["/api", "/livez"])
@pytest.mark.parametrize("token", ["garbage", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
async def test_bad_tokens_are_401_everywhere(world: World, path: str, token: str) -> None:
    await is_401(world, get(path, authorization=f"Bearer {token}"))


async def test_expired_token(world: World) -> None:
    token = world.token()
    world.clock.advance(3600)
    await is_401(world, get("/api", authorization=f"Bearer {token}"))


async def test_the_scheme_is_case_insensitive_and_others_are_not_credentials(world: World) -> None:
    assert await who(world, get("/api", authorization=f"bearer {world.token()}"))
    assert await who(world, get("/api", authorization="Basic eDp5")) is None


async def test_browsers_send_tokens_as_subprotocol(world: World) -> None:
    encoded = base64.urlsafe_b64encode(world.token().encode()).decode().rstrip("=")
    offered = f"base64url.bearer.authorization.k8s.io.{encoded}, v5.channel.k8s.io"
    request = get("/api", sec_websocket_protocol=offered)
    user = await who(world, request)
    assert user is not None
    assert user.name == "system:serviceaccount:ci:bot"
    assert request.headers["sec-websocket-protocol"] == "v5.channel.k8s.io"
    await is_401(world, get("/api", sec_websocket_protocol=offered.partition(",")[0]))


async def test_certificates(world: World, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path, clock=world.clock)
    certificates.ensure()
    user = await who(world, get("/api", der_of(certificates, "admin")))
    assert user is not None
    assert user.name == "kubernetes-admin"
    assert user.groups == ("kutter:cluster-admins", "system:authenticated")
    ((credential,),) = user.extra.values()
    assert credential.startswith("X509SHA256=")
    certificates.issue_node("n1", [])
    node = await who(world, get("/api", der_of(certificates, "nodes/n1-client")))
    assert node is not None
    assert (node.name, node.groups[0]) == ("system:node:n1", "system:nodes")
    # A server's certificate is no identity, and neither is one out of date.
    await is_401(world, get("/api", der_of(certificates, "apiserver")))
    der = der_of(certificates, "admin")
    shared = authenticator(world)
    assert await shared.authenticate(get("/api", der))
    world.clock.at += timedelta(days=366)
    with pytest.raises(ApiError):
        await shared.authenticate(get("/api", der))


async def test_a_certificate_comes_before_a_token(world: World, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path, clock=world.clock)
    certificates.ensure()
    request: Any = get("/api", der_of(certificates, "admin"), authorization="Bearer x")
    user = await who(world, request)
    assert user is not None
    assert user.name == "kubernetes-admin"
    assert "authorization" not in request.headers


class SameHeaders:
    """A connection that sends one header block again and again."""

    def __init__(self, **headers: str) -> None:
        self.headers = headers
        self.remembered: dict[object, object] = {}

    def get(self, path: str = "/api") -> Request:
        request = get(path, **self.headers)
        request.remembered = self.remembered
        return request


def caching(world: World) -> RequestAuthenticator:
    tokens = CachedTokenVerifier(world.verifier, clock=world.clock)
    tokens.follow(world.reader)
    return RequestAuthenticator(
        certificates=CertificateAuthenticator(clock=world.clock), tokens=[tokens]
    )


async def test_the_same_headers_are_read_once_and_the_token_still_leaves(world: World) -> None:
    ask, sent = caching(world), SameHeaders(authorization=f"Bearer {world.token()}", accept="x")
    first = await ask.authenticate(sent.get())
    request = sent.get("/api/v1/pods")
    assert await ask.authenticate(request) is first
    assert request.headers == {"accept": "x"}
    assert request.header_list == [("accept", "x")]
    # Another authenticator, or another connection, has nothing of it.
    other = caching(world)
    assert await other.authenticate(sent.get()) == first
    assert len(sent.remembered) == 2


async def test_what_is_remembered_ends_with_the_account_the_token_and_time(world: World) -> None:
    ask, sent = caching(world), SameHeaders(authorization=f"Bearer {world.token(lifetime_s=605)}")
    assert await ask.authenticate(sent.get()) is not None
    world.reader.remove("serviceaccounts", "ci", "bot")
    for _ in range(2):
        with pytest.raises(ApiError, match="Unauthorized"):
            await ask.authenticate(sent.get())
    world.reader.put("serviceaccounts", ACCOUNT)
    assert await ask.authenticate(sent.get()) is not None
    world.clock.advance(600)
    assert await ask.authenticate(sent.get()) is not None
    world.clock.advance(5.5)
    with pytest.raises(ApiError, match="Unauthorized"):
        await ask.authenticate(sent.get())


async def test_only_tokens_of_a_header_are_remembered(world: World, tmp_path: Path) -> None:
    token = world.token()
    encoded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    sent = SameHeaders(
        sec_websocket_protocol=f"v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.{encoded}"
    )
    ask = caching(world)
    for _ in range(2):
        request = sent.get()
        assert await ask.authenticate(request) is not None
        assert request.headers == {"sec-websocket-protocol": "v5.channel.k8s.io"}
    certificates = Certificates(tmp_path / "pki", clock=world.clock)
    certificates.ensure()
    peer = PeerCertificate(der_of(certificates, "admin"))
    both = SameHeaders(authorization=f"Bearer {token}")
    for _ in range(2):
        request = both.get()
        request.peer_certificate = peer
        user = await ask.authenticate(request)
        assert user is not None
        assert user.name == "kubernetes-admin"
        assert not request.headers
    assert not sent.remembered
    assert not both.remembered
