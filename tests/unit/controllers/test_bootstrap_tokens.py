"""Who signs cluster-info, and how."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Secret
from kutter.controllers.bootstrap_tokens import expiry_of, plan_signatures, sign_detached

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = {
    "token-id": "abcdef",
    "token-secret": "0123456789abcdef",
    "usage-bootstrap-signing": "true",
}


def secret(data: dict[str, str], name: str = "bootstrap-token-abcdef") -> Secret:
    tree: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "kube-system"},
        "data": {k: base64.b64encode(v.encode()).decode() for k, v in data.items()},
    }
    return convert(Secret, tree)


@pytest.mark.filterwarnings("ignore:The HMAC key is 16 bytes")
def test_a_signature_is_a_detached_jws() -> None:
    content = "apiVersion: v1\n"
    found = sign_detached(content, "abcdef", GOOD["token-secret"])
    head, _, mac = found.partition("..")
    payload = base64.urlsafe_b64encode(content.encode()).rstrip(b"=").decode()
    whole = f"{head}.{payload}.{mac}"
    api = jwt.PyJWS()
    key = GOOD["token-secret"]
    assert api.decode(whole, key, algorithms=["HS256"]) == content.encode()
    assert jwt.get_unverified_header(whole)["kid"] == "abcdef"


@pytest.mark.parametrize(
    ("made", "signs"),
    [
        (secret(GOOD), True),
        (secret({**GOOD, "expiration": "2026-01-01T00:00:01Z"}), True),
        (secret({**GOOD, "expiration": "2025-12-31T23:59:59Z"}), False),
        (secret({**GOOD, "expiration": "never"}), False),
        (secret({**GOOD, "usage-bootstrap-signing": "false"}), False),
        (secret({**GOOD, "token-secret": ""}), False),
        (secret(GOOD, name="bootstrap-token-other1"), False),
    ],
)
def test_only_tokens_for_signing_sign(made: Secret, signs: bool) -> None:
    data = {"kubeconfig": "x", "jws-kubeconfig-gone00": "old", "else": "kept"}
    found = plan_signatures(data, [made], NOW)
    assert set(found) == {"kubeconfig", "else", *(("jws-kubeconfig-abcdef",) if signs else ())}
    assert plan_signatures(found, [made], NOW) == found


def test_nothing_is_signed_without_content() -> None:
    assert plan_signatures({"jws-kubeconfig-abcdef": "x"}, [secret(GOOD)], NOW) == {}


def test_expirations() -> None:
    assert expiry_of(secret(GOOD)) is None
    assert expiry_of(secret({"expiration": "2026-01-01T00:00:00Z"})) == NOW
    unreadable = expiry_of(secret({"expiration": "x"}))
    assert unreadable is not None
    assert unreadable < NOW
