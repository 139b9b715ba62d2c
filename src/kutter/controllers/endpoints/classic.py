"""Endpoints: one object per service with all its addresses.

Owns: the Endpoints of services that have a selector. Reads: services, pods.
Invariants: at most 1000 addresses (the rest is marked as cut off); Endpoints of services
without a selector belong to their makers and are never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Endpoints, Pod, Service
from kutter.client.client import Client
from kutter.controllers.endpoints.membership import (
    Member,
    compute_members,
    target_reference,
    wanted_families,
)
from kutter.controllers.endpoints.watching import service_sources
from kutter.controllers.pods import is_namespace_terminating
from kutter.machinery.controller import Result, Source, own_key
from kutter.machinery.informer import InformerFactory, split_key

CAPACITY = 1000
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
HEADLESS = "service.kubernetes.io/headless"


def plan_subsets(service: Service, members: Sequence[Member]) -> tuple[list[dict[str, Any]], bool]:
    """Subsets grouped by equal ports, and whether addresses were cut off. Pure."""
    family = wanted_families(service)[0]
    mine = [m for m in members if m.family == family and (m.ready or not m.terminating)]
    mine.sort(key=lambda m: (not m.ready, m.address))
    truncated = len(mine) > CAPACITY
    groups: dict[tuple[Any, ...], dict[str, list[dict[str, Any]]]] = {}
    for member in mine[:CAPACITY]:
        if service.spec.ports and not member.ports:
            continue
        kind = "addresses" if member.ready else "notReadyAddresses"
        groups.setdefault(member.ports, {}).setdefault(kind, []).append(_address(member))
    subsets = []
    for ports in sorted(groups):
        subset: dict[str, Any] = {}
        for kind in ("addresses", "notReadyAddresses"):
            if kind in groups[ports]:
                subset[kind] = sorted(groups[ports][kind], key=lambda a: str(a["ip"]))
        if ports:
            subset["ports"] = [_port(*p) for p in sorted(ports)]
        subsets.append(subset)
    return subsets, truncated


def _address(member: Member) -> dict[str, Any]:
    address: dict[str, Any] = {"ip": member.address}
    if member.hostname:
        address["hostname"] = member.hostname
    if member.pod.spec.node_name:
        address["nodeName"] = member.pod.spec.node_name
    address["targetRef"] = target_reference(member.pod)
    return address


def _port(name: str, protocol: str, number: int, app: str) -> dict[str, Any]:
    port: dict[str, Any] = {"name": name} if name else {}
    port |= {"port": number, "protocol": protocol or "TCP"}
    if app:
        port["appProtocol"] = app
    return port


class EndpointsController:
    name = "endpoint"

    def __init__(self, client: Client, informers: InformerFactory) -> None:
        self._client = client
        self._services = informers.informer(Service)
        self._pods = informers.informer(Pod)
        self._endpoints = informers.informer(Endpoints)

    def sources(self) -> Sequence[Source]:
        return service_sources(self._services, self._pods, Source(self._endpoints, own_key))

    async def reconcile(self, key: str) -> Result:
        namespace, name = split_key(key)
        service = self._services.get(key)
        known = self._endpoints.get(key)
        if service is None:
            if known is not None and MANAGED_BY in known.metadata.labels:
                return await self._delete(namespace, name)
            return Result()
        if not service.spec.selector or service.spec.type == "ExternalName":
            return Result()
        members = compute_members(service, self._pods.items(namespace))
        subsets, truncated = plan_subsets(service, members)
        labels = {**service.metadata.labels, MANAGED_BY: "endpoint-controller"}
        labels.pop(HEADLESS, None)
        if service.spec.cluster_ip == "None":
            labels[HEADLESS] = ""
        annotations = {OVER_CAPACITY: "truncated"} if truncated else {}
        metadata = {"name": name, "labels": labels, "annotations": annotations}
        body = {
            "kind": "Endpoints",
            "apiVersion": "v1",
            "metadata": metadata,
            "subsets": subsets,
        }
        if known is None:
            try:
                await self._client.create(Endpoints, body, namespace)
            except ApiError as error:
                if is_namespace_terminating(error):
                    return Result("its namespace is being deleted")
                raise
            return Result(f"created endpoints with {len(members)} addresses")
        wanted = convert(Endpoints, {"subsets": subsets})
        same_notes = known.metadata.annotations.get(OVER_CAPACITY) == annotations.get(OVER_CAPACITY)
        if known.metadata.labels == labels and same_notes and known.subsets == wanted.subsets:
            return Result()
        metadata["resourceVersion"] = known.metadata.resource_version
        kept = {k: v for k, v in known.metadata.annotations.items() if k != OVER_CAPACITY}
        metadata["annotations"] = {**kept, **annotations}
        await self._client.update(Endpoints, body, namespace)
        return Result(f"endpoints now have {len(members)} addresses")

    async def _delete(self, namespace: str, name: str) -> Result:
        try:
            await self._client.delete(Endpoints, name, namespace)
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise
        return Result("its service is gone")
