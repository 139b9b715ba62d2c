"""What certificate requests say, and what each signer takes. Pure.

The rules and their words are upstream's:
https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from kutter.api.types.certificates_v1 import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
)

API_CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = (API_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY)

_NODE_PREFIX, _NODES = "system:node:", "system:nodes"
_CLIENT_USAGES = ("client auth", "digital signature", "key encipherment")
_SERVING_USAGES = ("digital signature", "key encipherment", "server auth")


class RequestError(ValueError):
    """A request its signer does not take; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a request asks to be called."""

    common_name: str
    organizations: tuple[str, ...]
    dns: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()


def parse_request(encoded: str) -> x509.CertificateSigningRequest:
    """The request of ``spec.request``. Raises RequestError."""
    try:
        return x509.load_pem_x509_csr(base64.b64decode(encoded))
    except (ValueError, binascii.Error) as error:
        raise RequestError(f"unable to parse csr: {error}") from error


def names_of(request: x509.CertificateSigningRequest) -> Names:
    """Raises RequestError for names that are none."""
    try:
        subject = request.subject
        sans = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        sans = x509.SubjectAlternativeName([])
    except (ValueError, x509.UnsupportedGeneralNameType, x509.DuplicateExtension) as error:
        raise RequestError(f"unable to parse csr: {error}") from error
    common = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Names(
        str(common[-1].value) if common else "",
        tuple(str(a.value) for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)),
        dns=tuple(sans.get_values_for_type(x509.DNSName)),
        emails=tuple(sans.get_values_for_type(x509.RFC822Name)),
        addresses=tuple(str(a) for a in sans.get_values_for_type(x509.IPAddress)),
        uris=tuple(sans.get_values_for_type(x509.UniformResourceIdentifier)),
    )


def check_request(signer: str, names: Names, usages: Sequence[str]) -> None:
    """Raise RequestError if the signer does not take such a request."""
    if signer == API_CLIENT:
        _check_client_usages(usages)
    elif signer == KUBELET_CLIENT:
        _check_node(names)
        for found, kind in (
            (names.dns, "DNS"),
            (names.emails, "Email"),
            (names.addresses, "IP"),
            (names.uris, "URI"),
        ):
            if found:
                raise RequestError(f"{kind} subjectAltNames are not allowed")
        _check_common_name(names)
        _check_usages(usages, _CLIENT_USAGES)
    elif signer == KUBELET_SERVING:
        _check_node(names)
        if not names.dns and not names.addresses:
            raise RequestError("DNS or IP subjectAltName is required")
        for found, kind in ((names.emails, "Email"), (names.uris, "URI")):
            if found:
                raise RequestError(f"{kind} subjectAltNames are not allowed")
        _check_common_name(names)
        _check_usages(usages, _SERVING_USAGES)


def _check_node(names: Names) -> None:
    if names.organizations != (_NODES,):
        raise RequestError("subject organization is not system:nodes")


def _check_common_name(names: Names) -> None:
    if not names.common_name.startswith(_NODE_PREFIX):
        raise RequestError("subject common name does not begin with system:node:")


def _check_usages(usages: Sequence[str], wanted: Sequence[str]) -> None:
    """Key encipherment may be missing: elliptic keys have no use for it."""
    given = set(usages)
    if given != set(wanted) and given != set(wanted) - {"key encipherment"}:
        raise RequestError(f"usages did not match [{' '.join(wanted)}]")


def _check_client_usages(usages: Sequence[str]) -> None:
    for usage in usages:
        if usage not in _CLIENT_USAGES:
            raise RequestError(f"invalid usage for client certificate: {usage}")
    if "client auth" not in usages:
        raise RequestError("missing required usage for client certificate: client auth")


# -- approval ------------------------------------------------------------------------------


def permissions_of(request: CertificateSigningRequest, names: Names) -> tuple[str, ...]:
    """The subresources whose ``create`` right approves the request, the closest first; empty
    for requests that only people decide on.
    """
    if request.spec.signer_name != KUBELET_CLIENT:
        return ()
    try:
        check_request(KUBELET_CLIENT, names, request.spec.usages)
    except RequestError:
        return ()
    own = request.spec.username == names.common_name
    return ("selfnodeclient", "nodeclient") if own else ("nodeclient",)


def condition_of(
    request: CertificateSigningRequest, kind: str
) -> CertificateSigningRequestCondition | None:
    """The condition of a type, if it holds."""
    return next(
        (c for c in request.status.conditions if c.type == kind and c.status == "True"), None
    )


def is_decided(request: CertificateSigningRequest) -> bool:
    return any(c.type in ("Approved", "Denied") for c in request.status.conditions)
