from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.unit.apiserver.admission.admission_kit import admit, refused, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from kutter.apiserver.ports import Attributes, Decision

CSR = "certificatesigningrequests.certificates.k8s.io"


class May:
    def __init__(self, verb: str, signer: str) -> None:
        self.wanted = (verb, "signers", signer)

    async def authorize(self, a: Attributes) -> Decision:
        return Decision((a.verb, a.resource, a.name) == self.wanted)


def asking(signer: str, organization: str = "devs", **status: Any) -> dict[str, Any]:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, "ann"),
        ]
    )
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = made.public_bytes(serialization.Encoding.PEM)
    spec = {"signerName": signer, "request": base64.b64encode(pem).decode()}
    return {"metadata": {"name": "r"}, "spec": spec, "status": status}


def change(part: str, new: dict[str, Any], old: dict[str, Any]) -> Any:
    return request(f"{CSR}/{part}", new, FakeReader(), operation="UPDATE", old=old, namespace="")


async def test_approval_is_a_right_per_signer_or_domain() -> None:
    old = asking("example.com/web")
    for signer in ("example.com/web", "example.com/*"):
        await admit(CertificateApproval(May("approve", signer)), change("approval", old, old))
    for may in (May("approve", "example.com/other"), May("sign", "example.com/web")):
        error = await refused(CertificateApproval(may), change("approval", old, old))
        assert error.message.endswith(
            'user not permitted to approve requests with signerName "example.com/web"'
        )
    # Claiming another signer in the update does not help.
    claimed = asking("mine.example/x")
    may = May("approve", "mine.example/x")
    await refused(CertificateApproval(may), change("approval", claimed, old))


async def test_signing_is_another_right() -> None:
    old = asking("example.com/web")
    new = asking("example.com/web", certificate="x")
    await admit(CertificateSigning(May("sign", "example.com/web")), change("status", new, old))
    error = await refused(CertificateSigning(May("approve", "x")), change("status", new, old))
    assert "user not permitted to sign requests" in error.message
    await admit(CertificateSigning(May("approve", "x")), change("status", old, old))


async def test_nobody_asks_to_be_master() -> None:
    plugin, client = CertificateSubjectRestriction(), "kubernetes.io/kube-apiserver-client"
    await admit(plugin, request(CSR, asking(client), FakeReader(), namespace=""))
    bad = asking(client, "system:masters")
    error = await refused(plugin, request(CSR, bad, FakeReader(), namespace=""))
    assert error.message.endswith(
        "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
    )
    other = asking("example.com/web", "system:masters")
    await admit(plugin, request(CSR, other, FakeReader(), namespace=""))
    broken = {**bad, "spec": {"signerName": client, "request": "AAAA"}}
    error = await refused(plugin, request(CSR, broken, FakeReader(), namespace=""))
    assert "failed to parse CSR" in error.message
