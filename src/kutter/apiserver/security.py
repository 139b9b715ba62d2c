"""Composes what decides about requests: authentication, authorization, admission.

Between :mod:`kutter.apiserver.server`, which is handed the parts, and the packages that make them.
The parts are needed before the server's read caches exist, so they read through a
:class:`LateReader` and are attached once the caches are filled::

    security = Security(SecurityOptions(token_key_pem=...), clock=clock)
    server = ApiServer(ServerParts(store=store, **security.parts()))
    await server.start()
    security.follow(server.caches)     # no await between these
    security.reserve_in(server.storage_of("", "resourcequotas"))
    security.attach(server)
    await bootstrap(server.handle, server.caches)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from kutter.apiserver.admission.chain import AdmissionChain
from kutter.apiserver.admission.dynamic.plugins import DynamicAdmission
from kutter.apiserver.admission.options import AdmissionOptions
from kutter.apiserver.admission.registry import (
    attach_quota_store,
    attach_server,
    default_chain,
)
from kutter.apiserver.authn.authenticator import RequestAuthenticator, TokenAuthenticator
from kutter.apiserver.authn.bootstrap_tokens import BootstrapTokens
from kutter.apiserver.authn.client_certificates import CertificateAuthenticator
from kutter.apiserver.authn.issuer_discovery import IssuerDiscovery
from kutter.apiserver.authn.request_header import RequestHeaderAuthenticator
from kutter.apiserver.authn.reviews import SelfSubjectReview, TokenReview
from kutter.apiserver.authn.service_accounts import TokenIssuer, TokenVerifier
from kutter.apiserver.authn.token_cache import CachedTokenVerifier
from kutter.apiserver.authn.token_keys import TokenKeys
from kutter.apiserver.authn.token_request import TokenRequests
from kutter.apiserver.authn.virtual import ReviewHandler, TokenRequestHandler
from kutter.apiserver.authz.escalation import EscalationCheck
from kutter.apiserver.authz.node import NodeAuthorizer
from kutter.apiserver.authz.node_graph import NodeGraph
from kutter.apiserver.authz.rbac import RbacAuthorizer, RbacIndex
from kutter.apiserver.authz.reviews import (
    LocalSubjectAccessReview,
    SelfSubjectAccessReview,
    SelfSubjectRulesReview,
    SubjectAccessReview,
)
from kutter.apiserver.authz.union import UnionAuthorizer
from kutter.apiserver.bootstrap import create_as_system
from kutter.apiserver.ports import Authorizer, CallHandler, ChangeSink, Reader, Tree
from kutter.apiserver.storage import ObjectStorage
from kutter.apiserver.stored_quotas import StoredQuotas
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.rng import SYSTEM_RNG, Rng

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

DEFAULT_ISSUER = "https://kubernetes.default.svc.cluster.local"


class SecurityOptions(msgspec.Struct, frozen=True):
    """``token_key_pem`` signs service-account tokens; ``accepted_key_pems`` are public keys of
    earlier signers. ``audiences`` (default: the issuer) are the API server's own.
    """

    token_key_pem: bytes
    accepted_key_pems: tuple[bytes, ...] = ()
    issuer: str = DEFAULT_ISSUER
    audiences: tuple[str, ...] = ()
    external_url: str = ""
    extend_tokens: bool = True
    first_tokens: tuple[TokenAuthenticator, ...] = ()
    admission: AdmissionOptions = msgspec.field(default_factory=AdmissionOptions)


class LateReader:
    """A :class:`Reader` whose source comes later; empty until then."""

    def __init__(self) -> None:
        self._source: Reader | None = None

    def attach(self, source: Reader) -> None:
        self._source = source

    def get(self, group_resource: str, namespace: str, name: str) -> Tree | None:
        return self._source.get(group_resource, namespace, name) if self._source else None

    def look(self, group_resource: str, namespace: str, name: str) -> Tree | None:
        return self._source.look(group_resource, namespace, name) if self._source else None

    def exists(self, group_resource: str, namespace: str, name: str) -> bool:
        return self._source is not None and self._source.exists(group_resource, namespace, name)

    def labels(self, group_resource: str, namespace: str, name: str) -> Mapping[str, str] | None:
        return self._source.labels(group_resource, namespace, name) if self._source else None

    def list(self, group_resource: str, namespace: str = "") -> Iterable[Tree]:
        return self._source.list(group_resource, namespace) if self._source else ()

    def revision(self, group_resource: str) -> int:
        return self._source.revision(group_resource) if self._source else 0

    def on_change(self, group_resource: str, sink: ChangeSink) -> None:
        assert self._source is not None, "nothing to follow yet"
        self._source.on_change(group_resource, sink)


class Security:
    """The deciding parts of one API server."""

    def __init__(
        self, options: SecurityOptions, *, clock: Clock = SYSTEM_CLOCK, rng: Rng = SYSTEM_RNG
    ) -> None:
        """Raises ValueError for a key that is none."""
        self._reader = LateReader()
        self.audiences = audiences = options.audiences or (options.issuer,)
        self.keys = TokenKeys(options.token_key_pem, accepted_pems=options.accepted_key_pems)
        self.issuer = TokenIssuer(self.keys, options.issuer, clock=clock)
        verifier = TokenVerifier(
            self.keys,
            [options.issuer],
            reader=self._reader,
            clock=clock,
            default_audiences=audiences,
        )
        self._tokens = CachedTokenVerifier(verifier, clock=clock)
        self.authenticator = RequestAuthenticator(
            certificates=CertificateAuthenticator(clock=clock),
            proxies=RequestHeaderAuthenticator(),
            tokens=[
                *options.first_tokens,
                self._tokens,
                BootstrapTokens(self._reader, audiences=audiences, clock=clock),
            ],
        )
        self.rbac = RbacIndex()
        self._graph = NodeGraph()
        self.authorizers: dict[str, Authorizer] = {
            "Node": NodeAuthorizer(self._graph, self._reader),
            "RBAC": RbacAuthorizer(self.rbac),
        }
        self.authorizer = UnionAuthorizer([*self.authorizers.values()])
        self.dynamic = DynamicAdmission()
        self.admission: AdmissionChain = default_chain(
            authorizer=self.authorizer,
            escalation=EscalationCheck(self.rbac, self.authorizer),
            dynamic=self.dynamic.plugins,
            options=options.admission,
            clock=clock,
            rng=rng,
        )
        requests = TokenRequests(
            self.issuer, default_audiences=audiences, extend=options.extend_tokens
        )
        identity, rights = "authentication.k8s.io", "authorization.k8s.io"
        asks = self.authorizer, self.rbac.explain
        self.handlers: Mapping[tuple[str, str, str], CallHandler] = {
            ("", "serviceaccounts", "token"): TokenRequestHandler(requests, self.admission),
            (identity, "tokenreviews", ""): ReviewHandler(TokenReview(self.authenticator)),
            (identity, "selfsubjectreviews", ""): ReviewHandler(SelfSubjectReview(clock)),
            (rights, "subjectaccessreviews", ""): ReviewHandler(SubjectAccessReview(*asks)),
            (rights, "selfsubjectaccessreviews", ""): ReviewHandler(SelfSubjectAccessReview(*asks)),
            (rights, "localsubjectaccessreviews", ""): ReviewHandler(
                LocalSubjectAccessReview(*asks)
            ),
            (rights, "selfsubjectrulesreviews", ""): ReviewHandler(
                SelfSubjectRulesReview(self.rbac, self.authorizer)
            ),
        }
        discovery = IssuerDiscovery(self.keys, options.issuer, external_url=options.external_url)
        self.documents = discovery.documents

    def parts(self) -> dict[str, Any]:
        """Keyword arguments for :class:`kutter.apiserver.server.ServerParts`."""
        return {
            "authenticator": self.authenticator,
            "authorizer": self.authorizer,
            "admission": self.admission,
            "handlers": self.handlers,
            "documents": self.documents,
        }

    def follow(self, reader: Reader) -> None:
        """Read from ``reader`` and follow its changes. Called once, with filled caches."""
        self._reader.attach(reader)
        self._tokens.follow(reader)
        self.rbac.follow(reader)
        self._graph.follow(reader)

    def reserve_in(self, quotas: ObjectStorage) -> None:
        """Enforce the quotas stored there."""
        attach_quota_store(self.admission, StoredQuotas(quotas))

    def attach(self, server: ApiServer) -> None:
        """Let webhooks and policies take part. Called once, right after ``follow``."""
        self.dynamic.attach(server, self.admission.forget)

        async def create_namespace(name: str) -> None:
            await create_as_system(
                server.handle, "/api/v1/namespaces", {"metadata": {"name": name}}
            )

        attach_server(self.admission, server.catalog, server.metrics.registry, create_namespace)
