"""A clock that stands, and a world with one service account, its pod and its keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.authn.service_accounts import TokenIssuer, TokenVerifier
from kutter.apiserver.authn.token_keys import TokenKeys

ISSUER = "https://kubernetes.default.svc.cluster.local"


class StandingClock:
    def __init__(self) -> None:
        self.at = datetime(2026, 6, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, delay_s: float) -> None:
        self.advance(delay_s)

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def pem_of(key: Any) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_pem_of(key: Any) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)

ACCOUNT = {"metadata": {"name": "bot", "namespace": "ci", "uid": "sa-uid"}}
POD = {
    "metadata": {"name": "p", "namespace": "ci", "uid": "pod-uid"},
    "spec": {"serviceAccountName": "bot", "nodeName": "n1"},
}


class World:
    def __init__(self, key: Any = EC_KEY) -> None:
        self.clock = StandingClock()
        self.reader = FakeReader()
        self.reader.put("serviceaccounts", ACCOUNT)
        self.reader.put("pods", POD)
        self.reader.put("nodes", {"metadata": {"name": "n1", "uid": "node-uid"}})
        self.reader.put("secrets", {"metadata": {"name": "s", "namespace": "ci", "uid": "s-uid"}})
        self.keys = TokenKeys(pem_of(key))
        self.issuer = TokenIssuer(self.keys, ISSUER, clock=self.clock, new_id=lambda: "the-id")
        self.verifier = TokenVerifier(
            self.keys,
            [ISSUER],
            reader=self.reader,
            clock=self.clock,
            default_audiences=[ISSUER],
        )

    def token(self, **more: Any) -> str:
        options = {"audiences": [ISSUER], "lifetime_s": 3600, **more}
        return self.issuer.issue(ACCOUNT, **options)
