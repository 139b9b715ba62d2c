"""Whether a certificate and a key belong together, in the words of Go's ``crypto/tls``."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

_BLOCK = re.compile(rb"-----BEGIN ([^\n-]+)-----\s[\s\S]*?-----END \1-----")
_SWITCHED = (
    "tls: failed to find certificate PEM data in certificate input, but did find a private key; "
    "PEM inputs may have been switched"
)


def key_pair_problem(certificate: bytes, key: bytes) -> str:
    """The first thing wrong; nothing, too, where Go's words for it are not known."""
    return (
        _no_certificate(_types(certificate)) or _no_key(_types(key)) or _strangers(certificate, key)
    )


def _types(data: bytes) -> list[str]:
    return [found.decode(errors="replace") for found in _BLOCK.findall(data)]


def _no_certificate(types: list[str]) -> str:
    if "CERTIFICATE" in types:
        return ""
    if not types:
        return "tls: failed to find any PEM data in certificate input"
    if len(types) == 1 and types[0].endswith("PRIVATE KEY"):
        return _SWITCHED
    return (
        'tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM '
        f"blocks of the following types: [{' '.join(types)}]"
    )


def _no_key(types: list[str]) -> str:
    if any(t == "PRIVATE KEY" or t.endswith(" PRIVATE KEY") for t in types):
        return ""
    if not types:
        return "tls: failed to find any PEM data in key input"
    if types == ["CERTIFICATE"]:
        return "tls: found a certificate rather than a key in the PEM for the private key"
    return (
        'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after '
        f"skipping PEM blocks of the following types: [{' '.join(types)}]"
    )


def _strangers(certificate: bytes, key: bytes) -> str:
    try:
        certified = x509.load_pem_x509_certificate(certificate).public_key()
        held = load_pem_private_key(key, None).public_key()
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return ""
    if type(certified) is not type(held):
        return "tls: private key type does not match public key type"
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certified.public_bytes(*form) != held.public_bytes(*form):
        return "tls: private key does not match public key"
    return ""
