"""Keeps ServiceCIDR ``kubernetes``, and IPAddress objects and services of one mind.

Owns: ServiceCIDR ``kubernetes``; IPAddress objects managed by the allocator. Reads: services.
Invariants: every address of a service has its IPAddress; an IPAddress whose service is gone, or
was never stored because the server died in between, is removed. Upstream: the default ServiceCIDR
and the repair controllers of its API server,
https://kubernetes.io/docs/concepts/services-networking/service/#ip-address-objects
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from kutter.api.errors import ApiError
from kutter.apiserver.bootstrap import SYSTEM_USER
from kutter.apiserver.kinds.service_ranges import (
    IP_ADDRESSES,
    SERVICE_CIDRS,
    ServiceRanges,
    addresses_of,
    owner_of,
    parent_of,
)
from kutter.apiserver.ports import Change, Tree
from kutter.apiserver.server import ApiServer
from kutter.apiserver.stored_addresses import MANAGED_BY, MANAGER, StoredAddresses
from kutter.apiserver.writing import WriteContext
from kutter.base.clock import parse_time
from kutter.base.log import get_logger

DEFAULT_NAME = "kubernetes"
EVERY_S = 180.0
# An IPAddress is stored before its service: give that one time to come.
GRACE_S = 60.0

_log = get_logger("service-addresses")


class Repair(msgspec.Struct, frozen=True):
    """``missing``: addresses of services without an object; ``orphans``: objects without a
    service. Both as (address, owner).
    """

    missing: tuple[tuple[str, str], ...] = ()
    orphans: tuple[tuple[str, str], ...] = ()


def plan_repair(services: Iterable[Tree], addresses: Iterable[Tree], *, before: datetime) -> Repair:
    """What has to be done. Objects made after ``before`` are left alone. Pure."""
    wanted = {a: owner_of(service) for service in services for a in addresses_of(service)}
    orphans: list[tuple[str, str]] = []
    there: set[str] = set()
    for tree in addresses:
        metadata = tree["metadata"]
        address, owner = metadata["name"], parent_of(tree)
        if wanted.get(address) == owner:
            there.add(address)
            continue
        managed = (metadata.get("labels") or {}).get(MANAGED_BY) == MANAGER
        if managed and parse_time(metadata["creationTimestamp"]) <= before:
            orphans.append((address, owner))
        else:
            # Whose it is may yet turn out, or is for somebody else to say.
            there.add(address)
    missing = tuple(sorted((a, o) for a, o in wanted.items() if a not in there))
    return Repair(missing, tuple(sorted(orphans)))


class ServiceAddresses:
    """``start`` it once caches are filled and the default namespace is there, then ``run``."""

    def __init__(
        self, server: ApiServer, ranges: ServiceRanges, service_cidrs: tuple[str, ...]
    ) -> None:
        self._server = server
        self._ranges = ranges
        self._cidrs = service_cidrs
        self._addresses = StoredAddresses(
            server.storage_of("networking.k8s.io", "ipaddresses"), server.clock
        )
        self._wake = asyncio.Event()

    async def start(self) -> None:
        """Nothing is on its way yet: whatever is without its service was left by a crash."""
        self._ranges.store = self._addresses
        self._ranges.follow(self._server.caches)
        for resource in (SERVICE_CIDRS, IP_ADDRESSES):
            self._server.caches.on_change(resource, self._changed)
        await self._ensure_default()
        await self._repair(grace_s=0.0)

    def _changed(self, changes: list[Change]) -> None:
        if any(change.type == "DELETED" for change in changes):
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self._ensure_default()
            await self._repair(grace_s=GRACE_S)

    async def _ensure_default(self) -> None:
        found = self._server.caches.get(SERVICE_CIDRS, "", DEFAULT_NAME)
        if found is not None:
            stored = tuple((found.get("spec") or {}).get("cidrs") or ())
            if stored != self._cidrs:
                _log.warning(
                    "the default ServiceCIDR differs from the configured range",
                    stored=",".join(stored),
                    configured=",".join(self._cidrs),
                )
            return
        tree: Tree = {
            "kind": "ServiceCIDR",
            "apiVersion": "networking.k8s.io/v1",
            "metadata": {"name": DEFAULT_NAME},
            "spec": {"cidrs": list(self._cidrs)},
        }
        context = WriteContext(user=SYSTEM_USER, now=self._server.clock.now())
        storage = self._server.storage_of("networking.k8s.io", "servicecidrs")
        try:
            await storage.create(context, "", tree)
        except ApiError as error:
            # Another server of the same store was first.
            if error.reason != "AlreadyExists":
                raise

    async def _repair(self, *, grace_s: float) -> None:
        reader = self._server.caches
        before = self._server.clock.now() - timedelta(seconds=grace_s)
        plan = plan_repair(reader.list("services"), reader.list(IP_ADDRESSES), before=before)
        for address, owner in plan.orphans:
            if address not in self._ranges.pending:
                _log.info("address without a service removed", address=address, owner=owner)
                await self._addresses.remove(address, owner)
        for address, owner in plan.missing:
            family = "IPv6" if ":" in address else "IPv4"
            if not await self._addresses.create(address, family, owner):
                _log.warning(
                    "address of a service is somebody else's", address=address, service=owner
                )
