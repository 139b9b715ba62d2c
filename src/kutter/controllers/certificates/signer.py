"""Signs approved certificate requests of the signers ``kubernetes.io/...``.

Owns: ``status.certificate`` and the condition Failed of requests of :data:`SIGNERS`. Reads:
requests. Writes: their status. Invariants: nothing is signed that is not approved; a request its
signer does not take fails for good (SignerValidationFailure); a certificate is never replaced.
Upstream: kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from kutter.api.types.certificates_v1 import CertificateSigningRequest
from kutter.base.clock import Clock
from kutter.client.client import Client
from kutter.controllers.certificates.authority import Authority
from kutter.controllers.certificates.requests import (
    SIGNERS,
    RequestError,
    check_request,
    condition_of,
    names_of,
    parse_request,
)
from kutter.machinery.controller import Result, Source, Terminal, own_key
from kutter.machinery.informer import InformerFactory


class CertificateSigner:
    name = "certificatesigningrequest-signing"

    def __init__(
        self, client: Client, informers: InformerFactory, authority: Authority, clock: Clock
    ) -> None:
        self._client = client
        self._authority = authority
        self._clock = clock
        self._requests = informers.informer(CertificateSigningRequest)

    def sources(self) -> Sequence[Source]:
        return [Source(self._requests, own_key)]

    async def reconcile(self, key: str) -> Result:
        request = self._requests.get(key)
        if request is None or request.status.certificate:
            return Result()
        if condition_of(request, "Approved") is None or condition_of(request, "Failed"):
            return Result()
        spec = request.spec
        if spec.signer_name not in SIGNERS:
            return Result()
        try:
            parsed = parse_request(spec.request)
            check_request(spec.signer_name, names_of(parsed), spec.usages)
        except RequestError as error:
            await self._write(request, {"conditions": _failed(request, str(error))})
            return Result(f"failed: {error}")
        try:
            pem = self._authority.sign(
                parsed, spec.usages, spec.expiration_seconds, self._clock.now()
            )
        except ValueError as error:
            raise Terminal(f"error auto signing csr: {error}") from error
        await self._write(request, {"certificate": base64.b64encode(pem).decode()})
        return Result(f"signed for {spec.signer_name}")

    async def _write(self, request: CertificateSigningRequest, status: dict[str, Any]) -> None:
        meta = request.metadata
        tree = await self._client.get_tree(CertificateSigningRequest, meta.name)
        tree["metadata"] = {**tree["metadata"], "resourceVersion": meta.resource_version}
        tree["status"] = {**(tree.get("status") or {}), **status}
        await self._client.update(CertificateSigningRequest, tree, subresource="status")


def _failed(request: CertificateSigningRequest, message: str) -> list[dict[str, Any]]:
    return [
        *(c.tree() for c in request.status.conditions),
        {
            "type": "Failed",
            "status": "True",
            "reason": "SignerValidationFailure",
            "message": message,
        },
    ]
