"""Services of type LoadBalancer: answered on the nodes' own addresses.

Owns: ``status.loadBalancer`` of LoadBalancer services without a class of their own.
Reads: services, nodes. Every Ready node is an ingress address, because every node's service
rules answer for every service.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.core_v1 import Node, Service
from kutter.client.client import Client
from kutter.machinery.controller import Change, Result, Source
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import InformerFactory, key_of

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"


def plan_ingress(service: Service, nodes: Sequence[Node]) -> list[dict[str, Any]]:
    """The ingress list of a service. Pure."""
    if service.spec.type != "LoadBalancer":
        return []
    addresses = set()
    for node in nodes:
        if EXCLUDE_LABEL in node.metadata.labels:
            continue
        if not any(c.type == "Ready" and c.status == "True" for c in node.status.conditions):
            continue
        by_type = {a.type: a.address for a in reversed(node.status.addresses)}
        address = by_type.get("ExternalIP") or by_type.get("InternalIP")
        if address:
            addresses.add(address)
    families = set(service.spec.ip_families) or {"IPv4"}
    return [
        {"ip": a, "ipMode": "VIP"}
        for a in sorted(addresses)
        if ("IPv6" if ":" in a else "IPv4") in families
    ]


def find_rival(service: Service, others: Iterable[Service]) -> Service | None:
    """An older LoadBalancer service that already answers on one of the same ports. Pure.

    All of them share the nodes' addresses, so a port can belong to one service only.
    """
    mine = {(p.protocol or "TCP", p.port) for p in service.spec.ports}
    for other in others:
        if other.metadata.uid == service.metadata.uid or not _is_ours(other):
            continue
        if _age(other) < _age(service) and any(
            (p.protocol or "TCP", p.port) in mine for p in other.spec.ports
        ):
            return other
    return None


def _age(service: Service) -> tuple[str, str]:
    return service.metadata.creation_timestamp, key_of(service)


def _is_ours(service: Service) -> bool:
    return (
        service.spec.type == "LoadBalancer"
        and not service.spec.load_balancer_class
        and not service.metadata.deletion_timestamp
    )


class ServiceLoadBalancer:
    name = "service-lb"

    def __init__(self, client: Client, informers: InformerFactory, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder
        self._services = informers.informer(Service)
        self._nodes = informers.informer(Node)

    def sources(self) -> Sequence[Source]:
        return [Source(self._services, self._service_keys), Source(self._nodes, self._node_keys)]

    def _service_keys(self, change: Change[Service]) -> Sequence[str]:
        """The service itself, and those that may take over a port it gives up."""
        seen = [s for s in (change.old, change.new) if s is not None]
        if not any(s.spec.type == "LoadBalancer" for s in seen):
            return (change.key,)
        return [change.key, *(key_of(s) for s in self._services.items() if _is_ours(s))]

    def _node_keys(self, change: Change[Node]) -> Sequence[str]:
        old, new = change.old, change.new
        if old is not None and new is not None and _offers(old) == _offers(new):
            return ()
        return [key_of(s) for s in self._services.items() if s.spec.type == "LoadBalancer"]

    async def reconcile(self, key: str) -> Result:
        service = self._services.get(key)
        if service is None or service.metadata.deletion_timestamp:
            return Result()
        if service.spec.load_balancer_class:
            return Result("another controller serves its class")
        known = [i.tree() for i in service.status.load_balancer.ingress]
        rival = find_rival(service, self._services.items()) if _is_ours(service) else None
        if rival is not None and not known:
            self._recorder.event(
                service,
                "Warning",
                "SyncLoadBalancerFailed",
                f"Error syncing load balancer: a port is taken by service {key_of(rival)}",
            )
        wanted = [] if rival is not None else plan_ingress(service, self._nodes.items())
        if known == wanted:
            return Result()
        if wanted and not known:
            self._recorder.event(
                service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer"
            )
        body = {"status": {"loadBalancer": {"ingress": wanted or None}}}
        meta = service.metadata
        try:
            await self._client.patch(Service, meta.name, body, meta.namespace, subresource="status")
        except ApiError as error:
            if not is_reason(error, "NotFound", "Conflict"):
                raise
            return Result()
        if wanted and not known:
            self._recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        return Result(f"answered on {len(wanted)} node addresses")


def _offers(node: Node) -> tuple[Any, ...]:
    ready = any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
    addresses = tuple((a.type, a.address) for a in node.status.addresses)
    return ready, addresses, EXCLUDE_LABEL in node.metadata.labels
