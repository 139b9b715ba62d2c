"""Which client certificates hold."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kutter.base.clock import SYSTEM_CLOCK
from kutter.http.client_trust import ClientTrust, accept_any_client

NOW = datetime.now(UTC)


class Party:
    """A key and its certificate, signed by ``issuer`` (itself when none)."""

    def __init__(
        self,
        name: str,
        issuer: Party | None = None,
        *,
        authority: bool | None = None,
        usage: x509.ObjectIdentifier | None = None,
        days: tuple[int, int] = (-1, 1),
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name if issuer else self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + timedelta(days=days[0]))
            .not_valid_after(NOW + timedelta(days=days[1]))
        )
        if authority is not None:
            constraints = x509.BasicConstraints(ca=authority, path_length=None)
            builder = builder.add_extension(constraints, critical=True)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        self.certificate = builder.sign((issuer or self).key, hashes.SHA256())
        self.der = self.certificate.public_bytes(Encoding.DER)
        self.pem = self.certificate.public_bytes(Encoding.PEM)


ROOT = Party("root", authority=True)


def trust(*authorities: Party) -> ClientTrust:
    return ClientTrust(b"".join(a.pem for a in authorities), clock=SYSTEM_CLOCK)


@pytest.mark.parametrize(
    ("usage", "holds"),
    [
        (None, True),
        (ExtendedKeyUsageOID.CLIENT_AUTH, True),
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, True),
        (ExtendedKeyUsageOID.SERVER_AUTH, False),
    ],
)
def test_the_certificate_has_to_be_for_clients(
    usage: x509.ObjectIdentifier | None, holds: bool
) -> None:
    leaf = Party("someone", ROOT, usage=usage)
    assert (trust(ROOT).problem_of([leaf.der]) == "") is holds


@pytest.mark.parametrize("days", [(-3, -1), (1, 3)])
def test_out_of_date_certificates_do_not_hold(days: tuple[int, int]) -> None:
    leaf = Party("someone", ROOT, days=days)
    assert trust(ROOT).problem_of([leaf.der]) != ""


def test_a_chain_over_an_intermediate_authority_holds() -> None:
    middle = Party("middle", ROOT, authority=True)
    leaf = Party("someone", middle)
    assert trust(ROOT).problem_of([leaf.der, middle.der]) == ""
    assert trust(ROOT).problem_of([Party("someone", middle).der]) != ""


def test_who_is_no_authority_signs_nothing() -> None:
    user = Party("user", ROOT, authority=False)
    plain = Party("plain", ROOT)
    for signer in (user, plain):
        leaf = Party("admin", signer)
        assert trust(ROOT).problem_of([leaf.der, signer.der]) != ""


def test_the_same_name_is_not_the_same_authority() -> None:
    forged = Party("root", authority=True)
    leaf = Party("admin", forged)
    assert trust(ROOT).problem_of([leaf.der, forged.der]) != ""
    assert trust(ROOT, forged).problem_of([leaf.der]) == ""


def test_what_is_no_certificate_does_not_hold() -> None:
    assert trust(ROOT).problem_of([b"no certificate"]) != ""


def test_this_interpreter_lets_handshakes_go_on() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    assert accept_any_client(context)
