"""EndpointSlices: a service's addresses in pieces of at most 100.

Owns: slices labelled with our manager name. Reads: services, pods, nodes (zones).
Invariants: an endpoint stays in the slice it is in while it exists, so that a change rewrites
few slices; a service without endpoints keeps one empty slice.
Upstream: kubernetes.io/docs/concepts/services-networking/endpoint-slices
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Node, Pod, Service
from kutter.api.types.discovery_v1 import Endpoint, EndpointSlice
from kutter.client.client import Client
from kutter.controllers.endpoints.classic import HEADLESS
from kutter.controllers.endpoints.membership import (
    Member,
    Port,
    compute_members,
    target_reference,
    wanted_families,
)
from kutter.controllers.endpoints.watching import service_sources
from kutter.controllers.pods import is_namespace_terminating
from kutter.machinery.controller import Change, Result, Source
from kutter.machinery.informer import InformerFactory, split_key
from kutter.machinery.ownership import controller_reference

PER_SLICE = 100
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
ZONE = "topology.kubernetes.io/zone"


@dataclass(slots=True)
class SlicePlan:
    """Bodies to create (without names), to update (name → body), and names to delete."""

    create: list[dict[str, Any]] = field(default_factory=list)
    update: list[tuple[EndpointSlice, dict[str, Any]]] = field(default_factory=list)
    delete: list[EndpointSlice] = field(default_factory=list)


def endpoint_tree(member: Member, zone: str) -> dict[str, Any]:
    """One endpoint on the wire."""
    tree: dict[str, Any] = {
        "addresses": [member.address],
        "conditions": {
            "ready": member.ready,
            "serving": member.serving,
            "terminating": member.terminating,
        },
    }
    if member.hostname:
        tree["hostname"] = member.hostname
    if member.pod.spec.node_name:
        tree["nodeName"] = member.pod.spec.node_name
    tree["targetRef"] = target_reference(member.pod)
    if zone:
        tree["zone"] = zone
    return tree


def ports_tree(ports: Sequence[Port]) -> list[dict[str, Any]]:
    trees = []
    for name, protocol, number, app in ports:
        tree: dict[str, Any] = {"name": name, "port": number, "protocol": protocol or "TCP"}
        if app:
            tree["appProtocol"] = app
        trees.append(tree)
    return trees


def plan_slices(
    *,
    families: Sequence[str],
    members: Sequence[Member],
    service_ports: Sequence[Port],
    existing: Sequence[EndpointSlice],
    labels: dict[str, str],
    zones: dict[str, str],
) -> SlicePlan:
    """Fit ``members`` into slices, moving as little as possible. Pure."""
    plan = SlicePlan()
    used: set[str] = set()
    for family in families:
        mine = [m for m in members if m.family == family]
        groups: dict[tuple[Port, ...], dict[tuple[str, str], dict[str, Any]]] = {}
        for member in mine:
            endpoint = endpoint_tree(member, zones.get(member.pod.spec.node_name, ""))
            key = (member.address, member.pod.metadata.uid)
            groups.setdefault(member.ports, {})[key] = endpoint
        if not groups:
            groups[tuple(service_ports)] = {}
        for ports, endpoints in groups.items():
            fitting = [
                s
                for s in existing
                if s.address_type == family
                and s.metadata.name not in used
                and [p.tree() for p in s.ports] == ports_tree(ports)
            ]
            used |= {s.metadata.name for s in fitting}
            _fit(plan, fitting, endpoints, ports=ports, family=family, labels=labels)
    plan.delete += [s for s in existing if s.metadata.name not in used]
    return plan


def _fit(
    plan: SlicePlan,
    fitting: list[EndpointSlice],
    endpoints: dict[tuple[str, str], dict[str, Any]],
    *,
    ports: Sequence[Port],
    family: str,
    labels: dict[str, str],
) -> None:
    """Distribute one port group's endpoints over the slices it has, then over new ones."""
    left = dict(endpoints)
    contents: list[tuple[EndpointSlice, list[dict[str, Any]]]] = []
    for item in fitting:
        kept = []
        for endpoint in item.endpoints:
            uid = endpoint.target_ref.uid if endpoint.target_ref else ""
            wanted = left.pop((endpoint.addresses[0] if endpoint.addresses else "", uid), None)
            if wanted is not None:
                kept.append(wanted)
        contents.append((item, kept))
    rest = list(left.values())
    for _, kept in sorted(contents, key=lambda c: -len(c[1])):
        room = PER_SLICE - len(kept)
        kept += rest[:room]
        rest = rest[room:]
    keep_empty = not endpoints
    for item, kept in contents:
        if not kept and not keep_empty:
            plan.delete.append(item)
            continue
        keep_empty = False
        wanted_views = tuple(convert(Endpoint, tree) for tree in kept)
        same = item.endpoints == wanted_views and item.metadata.labels == labels
        if not same:
            plan.update.append((item, _body(kept, ports, family, labels)))
    while rest or keep_empty:
        plan.create.append(_body(rest[:PER_SLICE], ports, family, labels))
        rest, keep_empty = rest[PER_SLICE:], False


def _body(
    endpoints: list[dict[str, Any]], ports: Sequence[Port], family: str, labels: dict[str, str]
) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"labels": labels},
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports_tree(ports),
    }


class EndpointSliceController:
    name = "endpointslice"

    def __init__(self, client: Client, informers: InformerFactory) -> None:
        self._client = client
        self._services = informers.informer(Service)
        self._pods = informers.informer(Pod)
        self._nodes = informers.informer(Node)
        self._slices = informers.informer(EndpointSlice)
        self._slices.add_index("service", _service_key)

    def sources(self) -> Sequence[Source]:
        return service_sources(self._services, self._pods, Source(self._slices, self._slice_keys))

    def _slice_keys(self, change: Change[EndpointSlice]) -> Sequence[str]:
        item = change.any
        if item.metadata.labels.get(MANAGED_BY) != MANAGER:
            return ()
        return _service_key(item)

    async def reconcile(self, key: str) -> Result:
        namespace, name = split_key(key)
        service = self._services.get(key)
        existing = [
            s
            for s in self._slices.by_index("service", key)
            if s.metadata.labels.get(MANAGED_BY) == MANAGER and not s.metadata.deletion_timestamp
        ]
        if service is None:
            for item in existing:
                await self._delete(item)
            return Result("its service is gone" if existing else "")
        if not service.spec.selector or service.spec.type == "ExternalName":
            return Result()
        plan = plan_slices(
            families=wanted_families(service),
            members=compute_members(service, self._pods.items(namespace)),
            service_ports=_declared_ports(service),
            existing=existing,
            labels=_wanted_labels(service),
            zones={
                n.metadata.name: n.metadata.labels[ZONE]
                for n in self._nodes.items()
                if ZONE in n.metadata.labels
            },
        )
        for item, body in plan.update:
            body["metadata"] = {
                **body["metadata"],
                "name": item.metadata.name,
                "resourceVersion": item.metadata.resource_version,
                "ownerReferences": [controller_reference(service)],
                "generateName": f"{name}-",
            }
            await self._client.update(EndpointSlice, body, namespace)
        for body in plan.create:
            body["metadata"] = {
                **body["metadata"],
                "generateName": f"{name}-",
                "ownerReferences": [controller_reference(service)],
            }
            try:
                await self._client.create(EndpointSlice, body, namespace)
            except ApiError as error:
                if is_namespace_terminating(error):
                    return Result("its namespace is being deleted")
                raise
        for item in plan.delete:
            await self._delete(item)
        changes = len(plan.create) + len(plan.update) + len(plan.delete)
        return Result(f"changed {changes} endpoint slices" if changes else "")

    async def _delete(self, item: EndpointSlice) -> None:
        try:
            await self._client.delete(EndpointSlice, item.metadata.name, item.metadata.namespace)
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise


def _service_key(item: EndpointSlice) -> Sequence[str]:
    name = item.metadata.labels.get(SERVICE_NAME)
    return (f"{item.metadata.namespace}/{name}",) if name else ()


def _wanted_labels(service: Service) -> dict[str, str]:
    labels = {
        k: v
        for k, v in service.metadata.labels.items()
        if k not in (SERVICE_NAME, MANAGED_BY, HEADLESS)
    }
    labels |= {SERVICE_NAME: service.metadata.name, MANAGED_BY: MANAGER}
    if service.spec.cluster_ip == "None":
        labels[HEADLESS] = ""
    return labels


def _declared_ports(service: Service) -> tuple[Port, ...]:
    """The ports of the empty slice: those whose target is a number."""
    declared = []
    for port in service.spec.ports:
        target = port.target_port or port.port
        if isinstance(target, int):
            declared.append((port.name, port.protocol, target, port.app_protocol or ""))
    return tuple(declared)
