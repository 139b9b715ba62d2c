"""Approves nodes' requests for client certificates, for those who may ask.

Owns: the condition Approved (reason AutoApproved) of such requests. Reads: requests. Writes:
``approval``, after a SubjectAccessReview on ``certificatesigningrequests/nodeclient`` (anybody's
node) or ``/selfnodeclient`` (the node's own renewal). Never denies.
Upstream: kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/#approval
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kutter.api.types.authorization_v1 import SubjectAccessReview
from kutter.api.types.certificates_v1 import CertificateSigningRequest
from kutter.client.client import Client
from kutter.controllers.certificates.requests import (
    RequestError,
    is_decided,
    names_of,
    parse_request,
    permissions_of,
)
from kutter.machinery.controller import Result, Source, Terminal, own_key
from kutter.machinery.informer import InformerFactory

_MESSAGES = {
    "selfnodeclient": "Auto approving self kubelet client certificate after SubjectAccessReview.",
    "nodeclient": "Auto approving kubelet client certificate after SubjectAccessReview.",
}


class CertificateApprover:
    name = "certificatesigningrequest-approving"

    def __init__(self, client: Client, informers: InformerFactory) -> None:
        self._client = client
        self._requests = informers.informer(CertificateSigningRequest)

    def sources(self) -> Sequence[Source]:
        return [Source(self._requests, own_key)]

    async def reconcile(self, key: str) -> Result:
        request = self._requests.get(key)
        if request is None or request.status.certificate or is_decided(request):
            return Result()
        try:
            names = names_of(parse_request(request.spec.request))
        except RequestError as error:
            raise Terminal(str(error)) from error
        tried = permissions_of(request, names)
        for permission in tried:
            if await self._may(request, permission):
                await self._approve(request, _MESSAGES[permission])
                return Result(f"approved: the requester may create {permission} requests")
        if tried:
            return Result(f"not approved: the requester may create none of {', '.join(tried)}")
        return Result()

    async def _may(self, request: CertificateSigningRequest, permission: str) -> bool:
        spec = request.spec
        body: dict[str, Any] = {
            "kind": "SubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "spec": {
                "user": spec.username,
                "uid": spec.uid,
                "groups": list(spec.groups),
                "extra": {key: list(values) for key, values in spec.extra.items()},
                "resourceAttributes": {
                    "group": "certificates.k8s.io",
                    "resource": "certificatesigningrequests",
                    "verb": "create",
                    "subresource": permission,
                    "version": "*",
                },
            },
        }
        answer = await self._client.create(SubjectAccessReview, body)
        return bool((answer.get("status") or {}).get("allowed"))

    async def _approve(self, request: CertificateSigningRequest, message: str) -> None:
        meta = request.metadata
        tree = await self._client.get_tree(CertificateSigningRequest, meta.name)
        status = dict(tree.get("status") or {})
        status["conditions"] = [
            *(status.get("conditions") or ()),
            {"type": "Approved", "status": "True", "reason": "AutoApproved", "message": message},
        ]
        # The version the decision was made on: whoever decided meanwhile is not overruled.
        tree["metadata"] = {**tree["metadata"], "resourceVersion": meta.resource_version}
        tree["status"] = status
        await self._client.update(CertificateSigningRequest, tree, subresource="approval")
