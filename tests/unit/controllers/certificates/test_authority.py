"""Certificates: whose, how long, what for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.certificate_kit import make_request

from kutter.cluster.certificates import Certificates
from kutter.controllers.certificates.authority import Authority
from kutter.controllers.certificates.requests import parse_request

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder: Path = tmp_path_factory.mktemp("pki")
    certificates = Certificates(folder)
    certificates.ensure()
    return Authority(certificates.ca_pem, certificates.pair("ca").key.read_bytes())


def signed(
    authority: Authority,
    request: str,
    usages: list[str],
    seconds: int | None = None,
    now: datetime = NOW,
) -> x509.Certificate:
    pem = authority.sign(parse_request(request), usages, seconds, now)
    return x509.load_pem_x509_certificate(pem)


def test_a_certificate_is_its_requests_and_the_authoritys(authority: Authority) -> None:
    request, _ = make_request("jane", "dev", "ops", dns=("a.example",), addresses=("10.0.0.1",))
    found = signed(authority, request, ["client auth", "digital signature", "server auth"])
    ca = x509.load_pem_x509_certificate(authority.certificate_pem)
    found.verify_directly_issued_by(ca)
    parsed = parse_request(request)
    assert found.subject == parsed.subject
    assert found.public_key() == parsed.public_key()
    extensions = found.extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (
        True,
        False,
        False,
    )
    assert set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    }
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    ("seconds", "lifetime"),
    [
        (None, timedelta(days=365)),
        (60, timedelta(minutes=10)),
        (600, timedelta(minutes=10)),
        (24 * 3600, DAY),
        (10 * 365 * 24 * 3600, timedelta(days=365)),
    ],
)
def test_the_life_time_is_the_one_asked_for_within_bounds(
    authority: Authority, seconds: int | None, lifetime: timedelta
) -> None:
    found = signed(authority, make_request("jane")[0], ["client auth"], seconds)
    backdated = timedelta(minutes=5)
    assert found.not_valid_before_utc == NOW - backdated
    shortened = backdated if lifetime >= timedelta(hours=8) else timedelta()
    assert found.not_valid_after_utc == NOW + lifetime - shortened


def test_nothing_outlives_its_authority(authority: Authority) -> None:
    ca = x509.load_pem_x509_certificate(authority.certificate_pem)
    late = ca.not_valid_after_utc - DAY
    found = signed(authority, make_request("jane")[0], ["client auth"], now=late)
    assert found.not_valid_after_utc == ca.not_valid_after_utc
