"""When certificate requests go."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from tests.certificate_kit import make_request

from kutter.api.types.base import convert
from kutter.api.types.certificates_v1 import CertificateSigningRequest
from kutter.base.clock import render_time
from kutter.cluster.certificates import Certificates
from kutter.controllers.certificates.authority import Authority
from kutter.controllers.certificates.cleaner import plan_end
from kutter.controllers.certificates.requests import parse_request

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
DECIDED = CREATED + timedelta(hours=2)
HOUR = timedelta(hours=1)


def request(*conditions: str, certificate: bytes = b"") -> CertificateSigningRequest:
    tree = {
        "metadata": {"creationTimestamp": render_time(CREATED)},
        "status": {
            "conditions": [
                {"type": kind, "status": "True", "lastUpdateTime": render_time(DECIDED)}
                for kind in conditions
            ],
            "certificate": base64.b64encode(certificate).decode(),
        },
    }
    return convert(CertificateSigningRequest, tree)


@pytest.mark.parametrize(
    ("view", "end"),
    [
        (request(), CREATED + timedelta(hours=24)),
        (request("Denied"), DECIDED + HOUR),
        (request("Failed"), DECIDED + HOUR),
        (request("Approved", "Failed"), DECIDED + HOUR),
        (request("Approved", certificate=b"x"), DECIDED + HOUR),
        (request("Approved"), datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_ends(view: CertificateSigningRequest, end: datetime) -> None:
    assert plan_end(view)[0] == end


def test_an_out_of_date_certificate_ends_its_request(tmp_path) -> None:
    certificates = Certificates(tmp_path)
    certificates.ensure()
    authority = Authority(certificates.ca_pem, certificates.pair("ca").key.read_bytes())
    parsed = parse_request(make_request("jane")[0])
    pem = authority.sign(parsed, ["client auth"], 600, CREATED)
    assert plan_end(request("Approved", certificate=pem))[0] == CREATED + timedelta(minutes=10)
