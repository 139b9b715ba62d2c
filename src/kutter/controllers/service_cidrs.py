"""Ranges of cluster addresses become ready, and go only when no address needs them.

Owns: the condition Ready and the finalizer of ServiceCIDR objects. Reads: ServiceCIDR, IPAddress.
Invariants: a range that is going hands nothing out (the API server sees to it); its finalizer goes
when every address in it lies in another range too, or there is none.
Upstream: kubernetes.io/docs/tasks/network/extend-service-ip-ranges
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.networking_v1 import IPAddress, ServiceCIDR
from kutter.base.clock import Clock, parse_time, render_time
from kutter.client.client import Client
from kutter.machinery.controller import Change, Result, Source
from kutter.machinery.informer import InformerFactory

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"
# Addresses are stored before the services that have them. The API server stops to hand out at
# once, so this only has to outlast a write; upstream, whose servers learn of it by watching,
# waits ten seconds.
GRACE_S = 2.0
_READY = "Kubernetes Service CIDR is ready"
_IN_USE = (
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new"
    " ServiceCIDR"
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks_of(item: ServiceCIDR) -> list[Network]:
    return [ipaddress.ip_network(cidr, strict=False) for cidr in item.spec.cidrs]


def holds(item: ServiceCIDR, address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in networks_of(item))


def needs(
    going: ServiceCIDR, others: Iterable[ServiceCIDR], addresses: Iterable[str]
) -> str | None:
    """An address that only the range that is going contains. Pure."""
    kept = [item for item in others if item.metadata.name != going.metadata.name]
    for address in addresses:
        if holds(going, address) and not any(holds(item, address) for item in kept):
            return address
    return None


class ServiceCIDRController:
    name = "service-cidrs"

    def __init__(self, client: Client, informers: InformerFactory, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._ranges = informers.informer(ServiceCIDR)
        self._addresses = informers.informer(IPAddress)

    def sources(self) -> Sequence[Source]:
        return [
            Source(self._ranges, self._range_keys),
            Source(self._addresses, self._address_keys),
        ]

    def _range_keys(self, change: Change[ServiceCIDR]) -> Iterable[str]:
        """A range that comes or goes changes what others may do."""
        if change.old is not None and change.new is not None:
            return (change.key,)
        found = networks_of(change.any)
        overlapping = [
            item.metadata.name
            for item in self._ranges.items()
            if any(_overlap(a, b) for a in networks_of(item) for b in found)
        ]
        return {change.key, *overlapping}

    def _address_keys(self, change: Change[IPAddress]) -> Iterable[str]:
        if change.old is not None and change.new is not None:
            return ()
        address = change.any.metadata.name
        return [
            item.metadata.name
            for item in self._ranges.items()
            if item.metadata.deletion_timestamp and holds(item, address)
        ]

    async def reconcile(self, key: str) -> Result:
        item = self._ranges.get(key)
        if item is None:
            return Result()
        try:
            if item.metadata.deletion_timestamp:
                return await self._let_go(item)
            return await self._make_ready(item)
        except ApiError as error:
            if is_reason(error, "NotFound"):
                return Result("it is gone")
            raise

    async def _make_ready(self, item: ServiceCIDR) -> Result:
        why = ""
        if FINALIZER not in item.metadata.finalizers:
            body = {"metadata": {"finalizers": [FINALIZER]}}
            await self._client.patch(ServiceCIDR, item.metadata.name, body, kind="strategic")
            why = "protected and ready"
        if await self._set_ready(item, "True", "", _READY):
            why = "protected and ready"
        return Result(why)

    async def _let_go(self, item: ServiceCIDR) -> Result:
        if FINALIZER not in item.metadata.finalizers:
            return Result()
        managed = [
            a.metadata.name
            for a in self._addresses.items()
            if a.metadata.labels.get(MANAGED_BY) == MANAGER
        ]
        blocking = needs(item, self._ranges.items(), managed)
        if blocking is not None:
            await self._set_ready(item, "False", "Terminating", _IN_USE)
            return Result(f"address {blocking} lies in no other range")
        assert item.metadata.deletion_timestamp, "only what is going is let go"
        since = self._clock.now() - parse_time(item.metadata.deletion_timestamp)
        left = GRACE_S - since.total_seconds()
        if left > 0:
            return Result("waiting for addresses on their way", requeue_after_s=left)
        body = {"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}}
        await self._client.patch(ServiceCIDR, item.metadata.name, body, kind="strategic")
        return Result("no address needs it")

    async def _set_ready(self, item: ServiceCIDR, status: str, reason: str, message: str) -> bool:
        """Write the condition if it says something else; others' conditions stay."""
        for known in item.status.conditions:
            if known.type == "Ready" and (known.status, known.reason) == (status, reason):
                return False
        condition: dict[str, Any] = {
            "type": "Ready",
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": render_time(self._clock.now()),
        }
        await self._client.patch(
            ServiceCIDR,
            item.metadata.name,
            {"status": {"conditions": [condition]}},
            kind="strategic",
            subresource="status",
        )
        return True


def _overlap(left: Network, right: Network) -> bool:
    return left.version == right.version and left.overlaps(right)
