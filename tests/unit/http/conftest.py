"""A little CA and a server for each test that asks."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = dt.datetime.now(dt.UTC)


@dataclass
class Pki:
    """Files under one folder: ca.crt, and <name>.crt/.key for what was issued."""

    folder: Path
    ca_key: ec.EllipticCurvePrivateKey
    ca: x509.Certificate

    def path(self, name: str) -> Path:
        return self.folder / name

    def issue(
        self,
        name: str,
        *,
        file: str = "",
        issuer: Pki | None = None,
        valid: tuple[float, float] = (-1, 24),
    ) -> None:
        """``valid``: from and until, in hours from now."""
        signer = issuer or self
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = _builder(name, key, signer.ca.subject, valid).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        _write(self.path(f"{file or name}.crt"), certificate.sign(signer.ca_key, hashes.SHA256()))
        _write_key(self.path(f"{file or name}.key"), key)


def _builder(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name | None = None,
    valid: tuple[float, float] = (-1, 24),
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + dt.timedelta(hours=valid[0]))
        .not_valid_after(NOW + dt.timedelta(hours=valid[1]))
    )


def _write(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def make_pki(folder: Path) -> Pki:
    key = ec.generate_private_key(ec.SECP256R1())
    ca = (
        _builder("test-ca", key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(exist_ok=True)
    _write(folder / "ca.crt", ca)
    return Pki(folder, key, ca)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    made = make_pki(tmp_path / "pki")
    made.issue("localhost", file="server")
    made.issue("admin")
    return made


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, object]:
    """Everything here holds on both loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
