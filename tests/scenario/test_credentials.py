"""Credentials that do not hold are answered, with 401, and never end the connection."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kutter.testing.cluster import LocalCluster


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(controllers=False, scheduler=False) as cluster:
        yield cluster


def issue(cluster: LocalCluster, folder: Path, *, days: tuple[int, int], foreign: bool) -> Path:
    """A masters' certificate and key in one file, by the cluster's authority or another."""
    pki = cluster.kubeconfig_path.parent / "pki"
    authority = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    if foreign:
        signer = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(
            x509.Name(
                [
                    x509.NameAttribute(NameOID.COMMON_NAME, "mallory"),
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
                ]
            )
        )
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .sign(signer, hashes.SHA256())
    )
    file = folder / "identity.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


def get(cluster: LocalCluster, path: str, identity: Path | None = None, token: str = ""):
    context = ssl.create_default_context(
        cafile=str(cluster.kubeconfig_path.parent / "pki" / "ca.crt")
    )
    if identity is not None:
        context.load_cert_chain(identity)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with urllib3.PoolManager(ssl_context=context, retries=False) as pool:
        response = pool.request("GET", cluster.url + path, headers=headers)
    return response.status, response.data


@pytest.mark.parametrize("path", ["/api/v1/namespaces", "/livez"])
@pytest.mark.parametrize(
    ("days", "foreign"),
    [((-3, -1), False), ((1, 3), False), ((-1, 1), True)],
    ids=["expired", "not-yet", "foreign"],
)
def test_a_certificate_that_does_not_hold_is_401(cluster, tmp_path, path, days, foreign) -> None:
    identity = issue(cluster, tmp_path, days=days, foreign=foreign)
    status, body = get(cluster, path, identity)
    assert status == 401
    answer = json.loads(body)
    assert (answer["kind"], answer["reason"], answer["code"]) == ("Status", "Unauthorized", 401)
    assert answer["message"] == "Unauthorized"


def test_a_certificate_that_holds_is_served(cluster, tmp_path) -> None:
    identity = issue(cluster, tmp_path, days=(-1, 1), foreign=False)
    assert get(cluster, "/api/v1/namespaces", identity)[0] == 200


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_a_token_that_does_not_hold_is_401(cluster, token) -> None:
    for path in ("/api/v1/namespaces", "/livez"):
        status, body = get(cluster, path, token=token)
        assert (status, json.loads(body)["reason"]) == (401, "Unauthorized")


def test_nobody_is_401_but_for_health(cluster) -> None:
    assert get(cluster, "/api/v1/namespaces")[0] == 401
    assert get(cluster, "/livez")[0] == 200
