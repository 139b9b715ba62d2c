"""What each signer takes, and what is approved without people."""

from __future__ import annotations

import pytest
from tests.certificate_kit import make_request

from kutter.api.types.base import convert
from kutter.api.types.certificates_v1 import CertificateSigningRequest
from kutter.controllers.certificates.requests import (
    API_CLIENT,
    KUBELET_CLIENT,
    KUBELET_SERVING,
    LEGACY,
    RequestError,
    check_request,
    names_of,
    parse_request,
    permissions_of,
)

CLIENT = ["client auth", "digital signature", "key encipherment"]
SERVING = ["server auth", "digital signature", "key encipherment"]
NODE = ("system:node:n1", "system:nodes")


@pytest.mark.parametrize(
    ("signer", "subject", "sans", "usages", "problem"),
    [
        (API_CLIENT, ("jane", "dev"), {}, CLIENT, ""),
        (API_CLIENT, ("jane",), {"dns": ("a",)}, ["client auth"], ""),
        (API_CLIENT, ("jane",), {}, ["digital signature"], "missing required usage"),
        (API_CLIENT, ("jane",), {}, [*CLIENT, "server auth"], "invalid usage for client"),
        (KUBELET_CLIENT, NODE, {}, CLIENT, ""),
        (KUBELET_CLIENT, NODE, {}, CLIENT[:2], ""),
        (KUBELET_CLIENT, NODE, {}, CLIENT[:1], "usages did not match [client auth digital"),
        (KUBELET_CLIENT, NODE, {}, SERVING, "usages did not match"),
        (KUBELET_CLIENT, ("n1", "system:nodes"), {}, CLIENT, "does not begin with system:node:"),
        (KUBELET_CLIENT, NODE[:1], {}, CLIENT, "organization is not system:nodes"),
        (KUBELET_CLIENT, (*NODE, "system:masters"), {}, CLIENT, "organization is not"),
        (KUBELET_CLIENT, NODE, {"dns": ("a",)}, CLIENT, "DNS subjectAltNames are not allowed"),
        (KUBELET_CLIENT, NODE, {"addresses": ("10.0.0.1",)}, CLIENT, "IP subjectAltNames"),
        (KUBELET_CLIENT, NODE, {"emails": ("a@b.c",)}, CLIENT, "Email subjectAltNames"),
        (KUBELET_CLIENT, NODE, {"uris": ("x://y",)}, CLIENT, "URI subjectAltNames"),
        (KUBELET_SERVING, NODE, {"dns": ("n1",), "addresses": ("10.0.0.1",)}, SERVING, ""),
        (KUBELET_SERVING, NODE, {}, SERVING, "DNS or IP subjectAltName is required"),
        (KUBELET_SERVING, NODE, {"dns": ("n1",)}, CLIENT, "usages did not match"),
        (
            KUBELET_SERVING,
            NODE,
            {"dns": ("n1",), "emails": ("a@b.c",)},
            SERVING,
            "Email subjectAltNames",
        ),
        (LEGACY, ("anybody", "anything"), {"uris": ("x://y",)}, ["any"], ""),
    ],
)
def test_signers_take_what_upstreams_do(signer, subject, sans, usages, problem) -> None:
    names = names_of(parse_request(make_request(*subject, **sans)[0]))
    if not problem:
        check_request(signer, names, usages)
        return
    with pytest.raises(RequestError) as caught:
        check_request(signer, names, usages)
    assert problem in str(caught.value)


@pytest.mark.parametrize("encoded", ["", "!!", "eA==", make_request("a")[0][:-80]])
def test_what_is_no_request_is_an_error(encoded: str) -> None:
    with pytest.raises(RequestError):
        parse_request(encoded)


@pytest.mark.parametrize(
    ("signer", "username", "usages", "expected"),
    [
        (KUBELET_CLIENT, "system:node:n1", CLIENT, ("selfnodeclient", "nodeclient")),
        (KUBELET_CLIENT, "system:bootstrap:abcdef", CLIENT, ("nodeclient",)),
        (KUBELET_CLIENT, "system:node:n1", SERVING, ()),
        (API_CLIENT, "system:node:n1", CLIENT, ()),
        (KUBELET_SERVING, "system:node:n1", SERVING, ()),
    ],
)
def test_only_nodes_client_requests_are_approved_by_rights(
    signer, username, usages, expected
) -> None:
    request = make_request(*NODE)[0]
    view = convert(
        CertificateSigningRequest,
        {"spec": {"signerName": signer, "username": username, "usages": usages}},
    )
    assert permissions_of(view, names_of(parse_request(request))) == expected
