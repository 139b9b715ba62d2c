"""EndpointSlices of Endpoints that people write themselves, for services without a selector.

Owns: slices labelled with this manager's name. Reads: endpoints, services.
Invariants: never beside the slices of a service that has a selector; at most 1000 addresses of a
subset are mirrored; the slices belong to their Endpoints and go with them.
Upstream: kubernetes.io/docs/concepts/services-networking/service/#endpointslice-mirroring
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.base import convert
from kutter.api.types.core_v1 import EndpointAddress, Endpoints, EndpointSubset, Service
from kutter.api.types.discovery_v1 import EndpointSlice
from kutter.client.client import Client
from kutter.controllers.endpoints.membership import Port, family_of
from kutter.controllers.endpoints.slices import MANAGED_BY, SERVICE_NAME, SlicePlan, ports_tree
from kutter.controllers.pods import is_namespace_terminating
from kutter.machinery.controller import Change, Result, Source, own_key
from kutter.machinery.informer import InformerFactory, split_key
from kutter.machinery.ownership import controller_reference

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
PER_SUBSET = 1000
# Annotations about the Endpoints object itself, which say nothing of a slice.
PRIVATE_NOTES = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "endpoints.kubernetes.io/last-change-trigger-time",
)


def is_mirrored(endpoints: Endpoints, service: Service | None) -> bool:
    """Whether these Endpoints are written by hand for a service without a selector. Pure."""
    meta = endpoints.metadata
    return (
        service is not None
        and not service.spec.selector
        and meta.labels.get(SKIP) != "true"
        and LEADER not in meta.annotations
    )


def plan_mirror(endpoints: Endpoints, existing: Sequence[EndpointSlice]) -> SlicePlan:
    """One slice for each family and set of ports. Pure."""
    plan = SlicePlan()
    left = list(existing)
    for (family, ports), addresses in _group(endpoints.subsets).items():
        body = {
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {"labels": _labels(endpoints), "annotations": _notes(endpoints)},
            "addressType": family,
            "endpoints": addresses,
            "ports": ports_tree(ports),
        }
        wanted = convert(EndpointSlice, body)
        known = next(
            (s for s in left if s.address_type == family and s.ports == wanted.ports), None
        )
        if known is None:
            plan.create.append(body)
            continue
        left.remove(known)
        if (
            known.endpoints != wanted.endpoints
            or known.metadata.labels != wanted.metadata.labels
            or known.metadata.annotations != wanted.metadata.annotations
        ):
            plan.update.append((known, body))
    plan.delete = left
    return plan


def _group(
    subsets: Sequence[EndpointSubset],
) -> dict[tuple[str, tuple[Port, ...]], list[dict[str, Any]]]:
    groups: dict[tuple[str, tuple[Port, ...]], list[dict[str, Any]]] = {}
    for subset in subsets:
        ports = tuple((p.name, p.protocol, p.port, p.app_protocol or "") for p in subset.ports)
        both = [(a, True) for a in subset.addresses]
        both += [(a, False) for a in subset.not_ready_addresses]
        for address, ready in both[:PER_SUBSET]:
            group = groups.setdefault((family_of(address.ip), ports), [])
            group.append(_endpoint(address, ready=ready))
    return groups


def _endpoint(address: EndpointAddress, *, ready: bool) -> dict[str, Any]:
    tree: dict[str, Any] = {"addresses": [address.ip], "conditions": {"ready": ready}}
    if address.hostname:
        tree["hostname"] = address.hostname
    if address.node_name:
        tree["nodeName"] = address.node_name
    if address.target_ref is not None:
        tree["targetRef"] = address.target_ref.tree()
    return tree


def _labels(endpoints: Endpoints) -> dict[str, str]:
    meta = endpoints.metadata
    kept = {k: v for k, v in meta.labels.items() if k not in (SKIP, MANAGED_BY, SERVICE_NAME)}
    return {**kept, SERVICE_NAME: meta.name, MANAGED_BY: MANAGER}


def _notes(endpoints: Endpoints) -> dict[str, str]:
    notes = endpoints.metadata.annotations
    return {k: v for k, v in notes.items() if k not in PRIVATE_NOTES}


class EndpointSliceMirroringController:
    name = "endpointslice-mirroring"

    def __init__(self, client: Client, informers: InformerFactory) -> None:
        self._client = client
        self._services = informers.informer(Service)
        self._endpoints = informers.informer(Endpoints)
        self._slices = informers.informer(EndpointSlice)
        self._slices.add_index("mirror", _mirror_key)

    def sources(self) -> Sequence[Source]:
        return [
            Source(self._services, own_key),
            Source(self._endpoints, own_key),
            Source(self._slices, self._slice_keys),
        ]

    def _slice_keys(self, change: Change[EndpointSlice]) -> Sequence[str]:
        return _mirror_key(change.any)

    async def reconcile(self, key: str) -> Result:
        namespace, name = split_key(key)
        endpoints = self._endpoints.get(key)
        existing = [
            s for s in self._slices.by_index("mirror", key) if not s.metadata.deletion_timestamp
        ]
        if endpoints is None or not is_mirrored(endpoints, self._services.get(key)):
            for item in existing:
                await self._delete(item)
            return Result("there is nothing to mirror any more" if existing else "")
        plan = plan_mirror(endpoints, existing)
        identity = {
            "generateName": f"{name}-",
            "ownerReferences": [controller_reference(endpoints)],
        }
        for item, body in plan.update:
            meta = item.metadata
            version = {"name": meta.name, "resourceVersion": meta.resource_version}
            body["metadata"] |= identity | version
            await self._client.update(EndpointSlice, body, namespace)
        for body in plan.create:
            body["metadata"] |= identity
            try:
                await self._client.create(EndpointSlice, body, namespace)
            except ApiError as error:
                if is_namespace_terminating(error):
                    return Result("its namespace is being deleted")
                raise
        for item in plan.delete:
            await self._delete(item)
        changes = len(plan.create) + len(plan.update) + len(plan.delete)
        return Result(f"changed {changes} mirrored slices" if changes else "")

    async def _delete(self, item: EndpointSlice) -> None:
        try:
            await self._client.delete(EndpointSlice, item.metadata.name, item.metadata.namespace)
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise


def _mirror_key(item: EndpointSlice) -> Sequence[str]:
    labels = item.metadata.labels
    name = labels.get(SERVICE_NAME)
    mirrored = labels.get(MANAGED_BY) == MANAGER
    return (f"{item.metadata.namespace}/{name}",) if name and mirrored else ()
