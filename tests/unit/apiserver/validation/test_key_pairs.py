"""Certificates and keys that do not belong together."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kutter.apiserver.validation.key_pairs import key_pair_problem

_KEY, _OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def _pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _certificate() -> bytes:
    name, day = x509.Name([]), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, _KEY.public_key(), 1, day, day)
    return builder.sign(_KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


_CERTIFICATE = _certificate()
_OTHER_BLOCK = b"-----BEGIN X-----\neA==\n-----END X-----\n"


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        (_CERTIFICATE, _pem(_KEY), ""),
        (b"x", _pem(_KEY), "tls: failed to find any PEM data in certificate input"),
        (_CERTIFICATE, b"", "tls: failed to find any PEM data in key input"),
        (_pem(_KEY), _CERTIFICATE, "PEM inputs may have been switched"),
        (_OTHER_BLOCK, _pem(_KEY), "blocks of the following types: [X]"),
        (_CERTIFICATE, _OTHER_BLOCK, "blocks of the following types: [X]"),
        (_CERTIFICATE, _CERTIFICATE, "found a certificate rather than a key"),
        (_CERTIFICATE, _pem(_OTHER), "tls: private key does not match public key"),
        (
            _CERTIFICATE,
            _pem(ed25519.Ed25519PrivateKey.generate()),
            "tls: private key type does not match public key type",
        ),
    ],
)
def test_what_is_wrong(certificate: bytes, key: bytes, problem: str) -> None:
    found = key_pair_problem(certificate, key)
    assert found.endswith(problem) or problem in found
    assert bool(found) == bool(problem)
