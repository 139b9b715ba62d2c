"""Services of type LoadBalancer: answered on the nodes' own addresses.

Owns: ``status.loadBalancer`` of LoadBalancer services without a class of their own.
Reads: services, nodes. Every Ready node is an ingress address, because every node's service
rules answer for every service.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.core_v1 import Node, Service
from kutter.client.client import Client
from kutter.machinery.controller import Change, Result, Source, own_key
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


class ServiceLoadBalancer:
    name = "service-lb"

    def __init__(self, client: Client, informers: InformerFactory, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder
        self._services = informers.informer(Service)
        self._nodes = informers.informer(Node)

    def sources(self) -> Sequence[Source]:
        return [Source(self._services, own_key), Source(self._nodes, self._node_keys)]

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
        wanted = plan_ingress(service, self._nodes.items())
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
