"""Who may approve and sign certificate requests, and what none may say.

CertificateApproval, CertificateSigning, CertificateSubjectRestriction and ClusterTrustBundleAttest.
https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#authorization
"""

from __future__ import annotations

import base64
import binascii

from cryptography import x509
from cryptography.x509.oid import NameOID

from kutter.api.quoting import quote
from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.authn.identity import GROUP_MASTERS
from kutter.apiserver.ports import AdmissionRequest, Attributes, Authorizer, Operation, Tree

_GROUP = "certificates.k8s.io"
_REQUESTS = f"certificatesigningrequests.{_GROUP}"
_BUNDLES = f"clustertrustbundles.{_GROUP}"
# Whoever tidies up, or has objects stored anew, changes nothing of what a bundle says.
_NOT_SAID = ("ownerReferences", "finalizers", "managedFields", "resourceVersion")
_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


class CertificateApproval(Plugin):
    name = "CertificateApproval"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == f"{_REQUESTS}/approval" and operation == "UPDATE"

    async def validate(self, request: AdmissionRequest) -> None:
        await _require(self._authorizer, request, "approve")


class CertificateSigning(Plugin):
    name = "CertificateSigning"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == f"{_REQUESTS}/status" and operation == "UPDATE"

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = _status(request.object), _status(request.old)
        if all(new.get(field) == old.get(field) for field in ("certificate", "conditions")):
            return
        await _require(self._authorizer, request, "sign")


class CertificateSubjectRestriction(Plugin):
    name = "CertificateSubjectRestriction"

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == _REQUESTS and operation == "CREATE"

    async def validate(self, request: AdmissionRequest) -> None:
        spec = (request.object or {}).get("spec") or {}
        signer = spec.get("signerName")
        if signer == _CLIENT_SIGNER and GROUP_MASTERS in _organizations(request, spec):
            raise refusal(
                request, f"use of {signer} signer with {GROUP_MASTERS} group is not allowed"
            )


class ClusterTrustBundleAttest(Plugin):
    name = "ClusterTrustBundleAttest"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == _BUNDLES and operation in ("CREATE", "UPDATE")

    async def validate(self, request: AdmissionRequest) -> None:
        signer = str(((request.object or {}).get("spec") or {}).get("signerName") or "")
        if not signer or _said(request.object) == _said(request.old):
            return
        if not await _may(self._authorizer, request, "attest", signer):
            detail = f"user not permitted to attest for signerName {quote(signer)}"
            raise refusal(request, detail)


def _said(tree: Tree | None) -> Tree | None:
    if tree is None:
        return None
    kept = {k: v for k, v in (tree.get("metadata") or {}).items() if k not in _NOT_SAID}
    return {**tree, "metadata": kept}


def _status(tree: Tree | None) -> Tree:
    return (tree or {}).get("status") or {}


def _organizations(request: AdmissionRequest, spec: Tree) -> list[str]:
    try:
        pem = base64.b64decode(spec.get("request") or "")
        parsed = x509.load_pem_x509_csr(pem)
    except (ValueError, binascii.Error) as error:
        raise refusal(request, f"failed to parse CSR: {error}") from error
    attributes = parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return [str(a.value) for a in attributes]


async def _require(authorizer: Authorizer, request: AdmissionRequest, verb: str) -> None:
    """The caller must be allowed ``verb`` on the signer or on all of its domain."""
    # The signer is fixed at creation; what is stored counts, not what the update says.
    signer = str(((request.old or request.object or {}).get("spec") or {}).get("signerName", ""))
    if not await _may(authorizer, request, verb, signer):
        detail = f"user not permitted to {verb} requests with signerName {quote(signer)}"
        raise refusal(request, detail)


async def _may(authorizer: Authorizer, request: AdmissionRequest, verb: str, signer: str) -> bool:
    for name in (signer, f"{signer.partition('/')[0]}/*"):
        attributes = Attributes(
            request.user,
            verb,
            group=_GROUP,
            version="*",
            resource="signers",
            name=name,
            is_resource=True,
        )
        if (await authorizer.authorize(attributes)).allowed:
            return True
    return False
