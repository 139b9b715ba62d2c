"""Who may use the kubelet's API: the API server by its certificate, others by asking it.

Follows upstream's webhook mode: bearer tokens by TokenReview, then SubjectAccessReview on
``nodes/<subresource>``. Answers are kept for seconds, in a bounded table.
https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from kutter.api.resources import Resource
from kutter.base.clock import Clock
from kutter.client.client import Client
from kutter.http.messages import Request
from kutter.node.options import NodeOptions

CACHE_LIMIT = 512
CACHE_S = 10.0

TOKEN_REVIEWS = Resource(
    "authentication.k8s.io", "v1", "tokenreviews", "TokenReview", False, ("create",)
)
ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", False, ("create",)
)
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}


class Caller(NamedTuple):
    name: str
    groups: tuple[str, ...]
    uid: str = ""


class ServerAuth:
    """Identifies and authorizes. Raises ApiError or OSError when the API server cannot say."""

    def __init__(self, client: Client, options: NodeOptions, clock: Clock) -> None:
        self._client = client
        self._options = options
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    async def identify(self, request: Request) -> Caller | None:
        """The caller by certificate or token; None when neither is good."""
        if request.peer_certificate is not None:
            certificate = x509.load_der_x509_certificate(request.peer_certificate.der)
            names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
            if names:
                return Caller(str(names[0].value), tuple(str(g.value) for g in groups))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        key = "token\0" + hashlib.sha256(token.encode()).hexdigest()
        hit, caller = self._recall(key)
        if not hit:
            body = {
                "kind": "TokenReview",
                "apiVersion": "authentication.k8s.io/v1",
                "spec": {"token": token},
            }
            status = (await self._client.create(TOKEN_REVIEWS, body)).get("status") or {}
            user = status.get("user") or {}
            caller = (
                Caller(
                    user.get("username", ""),
                    tuple(user.get("groups") or ()),
                    user.get("uid") or "",
                )
                if status.get("authenticated")
                else None
            )
            self._keep(key, caller)
        return caller  # type: ignore[no-any-return]

    async def allows(self, caller: Caller, request: Request) -> bool:
        """Whether the caller may do this."""
        if caller.name in self._options.server_users or "system:masters" in caller.groups:
            return True
        verb = _VERBS.get(request.method, request.method.lower())
        subresource = subresource_of(request.path)
        key = f"access\0{caller!r}\0{verb}\0{subresource}"
        hit, allowed = self._recall(key)
        if not hit:
            body = {
                "kind": "SubjectAccessReview",
                "apiVersion": "authorization.k8s.io/v1",
                "spec": {
                    "user": caller.name,
                    "groups": list(caller.groups),
                    "uid": caller.uid,
                    "resourceAttributes": {
                        "verb": verb,
                        "version": "v1",
                        "resource": "nodes",
                        "subresource": subresource,
                        "name": self._options.node_name,
                    },
                },
            }
            status = (await self._client.create(ACCESS_REVIEWS, body)).get("status") or {}
            allowed = bool(status.get("allowed"))
            self._keep(key, allowed)
        return bool(allowed)

    def _recall(self, key: str) -> tuple[bool, Any]:
        found = self._known.get(key)
        if found is None or self._clock.monotonic() > found[0]:
            return False, None
        return True, found[1]

    def _keep(self, key: str, value: Any) -> None:
        self._known[key] = (self._clock.monotonic() + CACHE_S, value)
        while len(self._known) > CACHE_LIMIT:
            self._known.popitem(last=False)


def subresource_of(path: str) -> str:
    """The ``nodes`` subresource a path belongs to."""
    first = path.strip("/").partition("/")[0]
    if first in ("stats", "metrics", "healthz", "configz"):
        return first
    if first in ("logs", "containerLogs") and path.startswith("/logs"):
        return "log"
    return "pods" if first in ("pods", "runningpods") else "proxy"
