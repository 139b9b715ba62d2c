"""Composes the API server: one store, one catalog, the ports, one entry.

``handle`` is what the HTTP server and the local transport call. Nothing here serves sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from kutter.api.catalog import Catalog
from kutter.api.errors import ApiError, PageNotFoundError, method_not_allowed, path_not_found
from kutter.api.resources import Resource
from kutter.apiserver.aggregation.aggregator import Aggregator
from kutter.apiserver.aggregation.front_proxy import FrontProxy
from kutter.apiserver.aggregation.registration import Registration
from kutter.apiserver.caches import Caches
from kutter.apiserver.custom.definitions import Definitions
from kutter.apiserver.discovery import Discovery, version_info
from kutter.apiserver.encoders import PlainPrinter
from kutter.apiserver.fairness import debug
from kutter.apiserver.fairness.configuration import Configuration
from kutter.apiserver.fairness.fairness import Fairness
from kutter.apiserver.fairness.metrics import FairnessMetrics
from kutter.apiserver.fairness.width import Width
from kutter.apiserver.health import Health
from kutter.apiserver.kinds.strategy import Strategy, StrategyFor
from kutter.apiserver.list_bodies import ListBodies
from kutter.apiserver.negotiation import check_accepts
from kutter.apiserver.pipeline import Pipeline
from kutter.apiserver.ports import (
    Admission,
    Authenticator,
    Authorizer,
    CallHandler,
    PrinterFor,
)
from kutter.apiserver.protobuf_encoders import MessageCache
from kutter.apiserver.request_info import RequestInfo
from kutter.apiserver.served import Served
from kutter.apiserver.server_metrics import ServerMetrics
from kutter.apiserver.statusz import Statusz
from kutter.apiserver.storage import ObjectStorage
from kutter.apiserver.subresources.registry import core_handlers
from kutter.apiserver.versions import DEPRECATED, older_versions, schema_of, version_of
from kutter.apiserver.watching import Broadcaster
from kutter.apiserver.webhooks import WebhookCaller
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.metrics import Registry
from kutter.base.rng import SYSTEM_RNG, Rng
from kutter.http.client import HttpClient
from kutter.http.messages import Request, Response
from kutter.store.interface import Store

if TYPE_CHECKING:
    from kutter.apiserver.audit.auditor import Auditor
    from kutter.apiserver.openapi import OpenApi

# (group, plural, subresource); the subresource is empty for resources that are not stored.
_METRICS = ("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
HandlerKey = tuple[str, str, str]


class ServerParts(msgspec.Struct):
    """What an :class:`ApiServer` is made of. Everything but the store and ports has a default.

    ``handlers`` adds to (or replaces) the core's subresource and virtual-resource handlers;
    ``documents`` are fixed answers by path (OpenID discovery): content type and body.
    ``node_client`` reaches node agents; without one, logs and exec answer 503. ``pod_client`` is
    for the proxies of pods and services: without an identity, and trusting any certificate.
    """

    store: Store
    authenticator: Authenticator
    authorizer: Authorizer
    admission: Admission
    strategy_for: StrategyFor = Strategy
    printer_for: PrinterFor | None = None
    catalog: Catalog | None = None
    handlers: Mapping[HandlerKey, CallHandler] = msgspec.field(default_factory=dict)
    documents: Mapping[str, tuple[str, bytes]] = msgspec.field(default_factory=dict)
    node_client: HttpClient | None = None
    pod_client: HttpClient | None = None
    advertised_address: str = "127.0.0.1:6443"
    clock: Clock = SYSTEM_CLOCK
    rng: Rng = SYSTEM_RNG
    metrics: Registry | None = None
    # As upstream's --max-requests-inflight and --max-mutating-requests-inflight together.
    seats: int = 600
    front_proxy: FrontProxy | None = None
    request_timeout_s: float = 60.0


class ApiServer:
    """``await start()`` once, then ``await handle(request)`` for every request."""

    def __init__(self, parts: ServerParts) -> None:
        self.store = parts.store
        self.authenticator = parts.authenticator
        self.authorizer = parts.authorizer
        self.admission = parts.admission
        self.clock = parts.clock
        self.rng = parts.rng
        self.node_client = parts.node_client
        self.pod_client = parts.pod_client
        self.advertised_address = parts.advertised_address
        self.catalog = parts.catalog or Catalog()
        self._strategy_for = parts.strategy_for
        self._printer_for = parts.printer_for
        self.documents = dict(parts.documents)
        self._handlers: dict[HandlerKey, CallHandler] = {**core_handlers(), **parts.handlers}
        for resource in older_versions(self.catalog):
            if self.catalog.find(resource.group, resource.version, resource.plural) is None:
                self.catalog.add(resource)
        self.caches = Caches(self.store, (r for r in self.catalog if r.storage_prefix))
        self._messages = MessageCache()
        self.list_bodies = ListBodies()
        self.metrics = ServerMetrics(parts.metrics or Registry(), self._is_served, version_info())
        self._served: dict[tuple[str, str, str], Served] = {}
        self._storages: dict[str, tuple[ObjectStorage, Broadcaster]] = {}
        self._broadcasters: dict[tuple[str, str], Broadcaster] = {}
        self.webhooks = WebhookCaller(self.caches, rng=self.rng)
        self.request_timeout_s = parts.request_timeout_s
        self.fairness = Fairness(parts.seats, Width(self), parts.clock)
        self._fairness_metrics = FairnessMetrics(self.metrics.registry)
        self.fairness.observe_wait = self._fairness_metrics.waits.observe
        self.fairness.wait_limit_s = parts.request_timeout_s / 4
        self.fairness_configuration = Configuration(self)
        self.aggregator = Aggregator(self, parts.front_proxy)
        self.registration = Registration(self, self.aggregator)
        self.definitions = Definitions(self)
        self.health = Health(self)
        # Set by the composition when there is a policy; without one audit costs nothing.
        self.auditor: Auditor | None = None
        self._discovery = Discovery(self)
        self._openapi_made: OpenApi | None = None
        self._statusz = Statusz(self)
        self._pipeline = Pipeline(self)
        self.handle: Callable[[Request], Any] = self._pipeline.handle

    async def start(self) -> None:
        """Fill the read caches; from then on the server is ready."""
        await self.caches.start()
        self.fairness_configuration.start()
        self.aggregator.start()
        self.registration.start()
        await self.definitions.load()
        self.health.started = True

    async def stop(self) -> None:
        """End every watch and let the store go on without us."""
        self.health.stopping = True
        for _, broadcaster in self._storages.values():
            broadcaster.close()
        self.fairness.close()
        self.aggregator.stop()
        self.registration.stop()
        self.definitions.stop()
        self.list_bodies.stop()
        self.caches.stop()
        await self.webhooks.close()

    # -- resources ------------------------------------------------------------

    def served_for(self, resource: Resource) -> Served:
        """How one group-version's resource is served; made when first asked for."""
        custom = self.definitions.served_for(resource)
        if custom is not None:
            return custom
        key = (resource.group, resource.version, resource.plural)
        served = self._served.get(key)
        if served is None or served.resource is not resource:
            served = self._served[key] = self._make_served(resource)
        return served

    def storage_of(self, group: str, plural: str) -> ObjectStorage:
        """The storage of a resource by group and plural; KeyError when it is not stored."""
        resource = self.catalog.find_group_resource(group, plural)
        if resource is None or not resource.storage_prefix:
            raise KeyError(f"{plural}.{group}")
        return self._storage_for(resource)[0]

    def _make_served(self, resource: Resource) -> Served:
        key = (resource.group, resource.version, resource.plural)
        handler = self._handlers.get((resource.group, resource.plural, ""))
        printer = self._printer_for(resource) if self._printer_for is not None else None
        common: dict[str, Any] = {
            "printer": printer or PlainPrinter(),
            "clock": self.clock,
            "handler": handler,
            "schema": schema_of(resource),
            "messages": self._messages,
        }
        deprecation = DEPRECATED.get(key, "")
        if not resource.storage_prefix:
            return Served(
                resource, storage=None, broadcaster=None, deprecation=deprecation, **common
            )
        storage, broadcaster = self._storage_for(resource)
        version = version_of(resource, storage.resource)
        return Served(
            resource,
            storage=storage,
            broadcaster=broadcaster,
            convert_in=version.to_stored,
            convert_out=version.to_served,
            deprecation=version.deprecation or deprecation,
            **common,
        )

    def _storage_for(self, resource: Resource) -> tuple[ObjectStorage, Broadcaster]:
        custom = self.definitions.version_of(resource)
        if custom is not None:
            return custom.storage, custom.broadcaster
        found = self._storages.get(resource.storage_prefix)
        if found is None:
            cache = self.caches.add(resource)
            storage = ObjectStorage(
                self.store,
                self.caches,
                cache,
                self._strategy_for(cache.resource),
                admission=self.admission,
                rng=self.rng,
            )
            found = self._storages[resource.storage_prefix] = (storage, Broadcaster(cache))
        return found

    def subresource_handler(self, resource: Resource, subresource: str) -> CallHandler | None:
        """The handler of a subresource; None where it is a part of its object (status)."""
        custom = self.definitions.version_of(resource)
        if custom is not None:
            return custom.scale if subresource == "scale" else None
        found = self._handlers.get((resource.group, resource.plural, subresource))
        if found is None and resource.storage_prefix:
            # An older version is handled like the stored one.
            stored = self._storage_for(resource)[0].resource
            found = self._handlers.get((stored.group, stored.plural, subresource))
        return found

    def count_of(self, group: str, plural: str) -> int:
        """How many objects of a resource are stored; 0 for what is not."""
        resource = self.catalog.find_group_resource(group, plural)
        if resource is None or not resource.storage_prefix:
            return 0
        return len(self._storage_for(resource)[1].cache)

    def watchers_of(self, group: str, plural: str) -> int:
        """How many watch a resource. Asked for every write."""
        found = self._broadcasters.get((group, plural))
        if found is None:
            resource = self.catalog.find_group_resource(group, plural)
            if resource is None or not resource.storage_prefix:
                return 0
            found = self._storage_for(resource)[1]
            if not resource.custom:  # another definition may come under a custom one's name
                self._broadcasters[group, plural] = found
        return len(found)

    @property
    def _openapi(self) -> OpenApi:
        """Made, and read in, with the first who asks, or once the server answers."""
        if self._openapi_made is None:
            from kutter.apiserver.openapi import OpenApi

            self._openapi_made = OpenApi(self)
        return self._openapi_made

    # -- paths that are no resource -------------------------------------------

    async def answer_path(self, request: Request, info: RequestInfo) -> Response:
        """Discovery, health, metrics, OpenAPI and fixed documents. Raises 404."""
        path = info.path
        document = self.documents.get(path)
        if document is not None:
            if request.method != "GET":
                raise method_not_allowed("")
            check_accepts(request.headers.get("accept", ""), (document[0],))
            return Response(200, [("Content-Type", document[0])], document[1])
        for source in (self._discovery, self.health, self._statusz):
            response = source.answer(request, path)
            if response is not None:
                return response
        if path.startswith("/openapi/"):
            response = self._openapi.answer(request, path)
            if response is not None:
                return response
        response = debug.answer(self.fairness, self.clock, request, path)
        if response is not None:
            return response
        if path == "/metrics":
            return self._answer_metrics()
        if path == "/metrics/slis":
            return Response(200, [_METRICS], self.health.indicators.render())
        raise self._not_routed(request, path)

    def _not_routed(self, request: Request, path: str) -> ApiError:
        """Why nothing answers a path: below our own groups a Status says it, elsewhere a page."""
        if request.method != "GET" and self._discovery.is_known(path):
            return method_not_allowed("")
        head, _, rest = path[1:].partition("/")
        own = head == "api" or (
            head == "apis" and self.catalog.is_own_group(rest.partition("/")[0])
        )
        return path_not_found() if own else PageNotFoundError()

    def paths(self) -> list[str]:
        """Every path that is no resource, for the list at ``/``."""
        own = ["/metrics", "/metrics/slis", "/statusz", *self.documents]
        return sorted(
            {*own, *self._discovery.paths(), *self.health.paths(), *self._openapi.paths()}
        )

    def _is_served(self, group: str, version: str, plural: str) -> bool:
        return (
            self.catalog.find(group, version, plural) is not None
            or (group, version) in self.aggregator.remotes
        )

    def _answer_metrics(self) -> Response:
        for resource in self.catalog:
            if resource.storage_prefix:
                storage, broadcaster = self._storage_for(resource)
                stored = storage.resource
                key = (stored.group, stored.plural)
                self.metrics.count_objects(*key, len(broadcaster.cache))
                self.metrics.count_watches(*key, stored.version, broadcaster.scopes())
                self.metrics.count_events(*key, stored.version, broadcaster.sent)
        self.metrics.tell_size(self.store.size_bytes)
        self._fairness_metrics.publish(self.fairness)
        return Response(200, [_METRICS], self.metrics.registry.render())
