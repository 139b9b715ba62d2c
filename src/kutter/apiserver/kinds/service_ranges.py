"""Who has which cluster address and node port, learned from what is stored.

Between the ranges (:mod:`kutter.apiserver.kinds.allocation`) and the service kind. Ranges are the
ServiceCIDR objects, or those of the configuration as long as there are none. Addresses are
taken by services and by IPAddress objects; the latter decide: an address is the service's once
its IPAddress is stored, which only one of several writers (or servers) achieves. Follows the
read cache, so what other writers store is held too, and gives back what a failed write took.
"""

from __future__ import annotations

import ipaddress
from typing import Protocol

from kutter.apiserver.kinds.allocation import (
    FULL,
    NO_RANGE,
    TAKEN_ADDRESS,
    AddressRange,
    AllocationError,
    Owners,
    PortRange,
)
from kutter.apiserver.ports import Change, Reader, Tree
from kutter.apiserver.validation import text

SERVICE_CIDRS = "servicecidrs.networking.k8s.io"
IP_ADDRESSES = "ipaddresses.networking.k8s.io"
# Owner of an address whose IPAddress belongs to no service we know.
_FOREIGN = "?"


class AddressStore(Protocol):
    """Where the IPAddress objects are."""

    async def create(self, address: str, family: str, owner: str) -> bool:
        """False when there is one already."""
        ...

    async def remove(self, address: str, owner: str) -> None:
        """Remove it if it is of that owner; gone already is fine."""
        ...


class MemoryAddresses:
    """Nothing is stored: the ranges alone decide."""

    async def create(self, address: str, family: str, owner: str) -> bool:
        return True

    async def remove(self, address: str, owner: str) -> None:
        return


class ServiceRanges:
    """The ranges of a cluster, and who has what: one value shared by all service requests."""

    def __init__(self, cidrs: tuple[str, ...], node_ports: str) -> None:
        self._owners: dict[str, Owners] = {"IPv4": {}, "IPv6": {}}
        self._configured = [self._make(cidr) for cidr in cidrs]
        # By the name of their ServiceCIDR.
        self._defined: dict[str, list[AddressRange]] = {}
        self.ports = PortRange(node_ports)
        self.store: AddressStore = MemoryAddresses()
        # Addresses whose services are on their way into the store.
        self.pending: set[str] = set()
        self._reader: Reader | None = None

    def _make(self, cidr: str) -> AddressRange:
        return AddressRange(cidr, self._owners["IPv6" if ":" in cidr else "IPv4"])

    @property
    def addresses(self) -> list[AddressRange]:
        """The ranges in use, by the name of their object."""
        if not self._defined:
            return self._configured
        return [found for name in sorted(self._defined) for found in self._defined[name]]

    @property
    def families(self) -> list[str]:
        return [r.family for r in self._configured]

    def follow(self, reader: Reader) -> None:
        """Learn what is stored, once, and from then on every change."""
        if self._reader is reader:
            return
        self._reader = reader
        reader.on_change(SERVICE_CIDRS, self._ranges_changed)
        for tree in reader.list(SERVICE_CIDRS):
            self._define(tree)
        reader.on_change(IP_ADDRESSES, self._addresses_changed)
        for tree in reader.list(IP_ADDRESSES):
            self.hold(tree["metadata"]["name"], parent_of(tree))
        reader.on_change("services", self._changed)
        for tree in reader.list("services"):
            self._hold(tree)

    def _ranges_changed(self, changes: list[Change]) -> None:
        for change in changes:
            if change.type == "DELETED":
                self._defined.pop(change.current.name, None)
            else:
                self._define(change.current.tree)

    def _define(self, tree: Tree) -> None:
        # Validation has seen them; what an older server let pass hands nothing out.
        cidrs = (tree.get("spec") or {}).get("cidrs") or ()
        ranges = [self._make(cidr) for cidr in cidrs if not text.cidr(cidr)]
        for found in ranges:
            found.ready = is_ready(tree)
        self._defined[tree["metadata"]["name"]] = ranges

    def _addresses_changed(self, changes: list[Change]) -> None:
        for change in changes:
            address = change.current.name
            if change.type != "DELETED":
                self.hold(address, parent_of(change.current.tree))
                continue
            owner = self.owner(address)
            if owner is not None and not self._uses(owner, address):
                self.release(owner, {address}, set())

    def _uses(self, owner: str, address: str) -> bool:
        """Whether a service has the address, or is about to."""
        namespace, _, name = owner.partition("/")
        assert self._reader is not None, "changes come from a reader"
        service = self._reader.get("services", namespace, name)
        return address in self.pending or (service is not None and address in addresses_of(service))

    def _changed(self, changes: list[Change]) -> None:
        for change in changes:
            if change.type == "DELETED":
                self.release_all(change.current.tree)
                continue
            tree = change.current.tree
            if change.previous is not None:
                self._release_missing(change.previous.tree, tree)
            self._hold(tree)

    def _hold(self, tree: Tree) -> None:
        owner = owner_of(tree)
        for address in addresses_of(tree):
            self.hold(address, owner)
        for port in node_ports_of(tree):
            self.ports.hold(port, owner)

    def _release_missing(self, before: Tree, after: Tree) -> None:
        owner = owner_of(before)
        self.release(
            owner,
            addresses_of(before) - addresses_of(after),
            node_ports_of(before) - node_ports_of(after),
        )

    def release_all(self, tree: Tree) -> None:
        self.release(owner_of(tree), addresses_of(tree), node_ports_of(tree))

    def release(self, owner: str, addresses: set[str], ports: set[int]) -> None:
        for address in addresses:
            owners, number = self._place(address)
            if owners.get(number) == owner:
                del owners[number]
        for port in ports:
            self.ports.release(port, owner)

    def hold(self, address: str, owner: str) -> None:
        """Note what is stored, whoever wrote it."""
        owners, number = self._place(address)
        owners.setdefault(number, owner)

    def owner(self, address: str) -> str | None:
        owners, number = self._place(address)
        return owners.get(number)

    def _place(self, address: str) -> tuple[Owners, int]:
        parsed = ipaddress.ip_address(address)
        return self._owners[f"IPv{parsed.version}"], int(parsed)

    def take(self, family: str, owner: str) -> str:
        """A free address of a range that is ready, held for ``owner``."""
        for found in self.addresses:
            if found.family == family and found.ready:
                try:
                    return found.take(owner)
                except AllocationError:
                    continue
        raise AllocationError(FULL)

    def take_exactly(self, address: str, owner: str) -> None:
        for found in self.addresses:
            if found.ready and address in found:
                found.take_exactly(address, owner)
                return
        raise AllocationError(NO_RANGE)


def is_ready(service_cidr: Tree) -> bool:
    """Whether addresses are handed out. Without a controller's word it is taken as ready."""
    if service_cidr["metadata"].get("deletionTimestamp"):
        return False
    conditions = (service_cidr.get("status") or {}).get("conditions") or ()
    return all(c.get("status") == "True" for c in conditions if c.get("type") == "Ready")


def parent_of(ip_address: Tree) -> str:
    """The owner an IPAddress names, in the form of :func:`owner_of`."""
    reference = (ip_address.get("spec") or {}).get("parentRef") or {}
    if reference.get("group") or reference.get("resource") != "services":
        return _FOREIGN
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}"


def owner_of(tree: Tree) -> str:
    metadata = tree.get("metadata") or {}
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"


def addresses_of(tree: Tree) -> set[str]:
    spec = tree.get("spec") or {}
    listed = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return {a for a in listed if a and a != "None"}


def node_ports_of(tree: Tree) -> set[int]:
    spec = tree.get("spec") or {}
    taken = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        taken.add(spec["healthCheckNodePort"])
    return taken


class Attempt:
    """What one write has taken so far, to be given back if it fails. ``dry``: nothing is
    stored.
    """

    def __init__(self, ranges: ServiceRanges, owner: str, *, dry: bool = False) -> None:
        self.ranges, self.owner = ranges, owner
        self._dry = dry
        self._addresses: set[str] = set()
        self._ports: set[int] = set()

    async def address(self, family: str, wanted: str) -> str:
        """The wanted address, or any. Raises AllocationError."""
        ranges = self.ranges
        if not wanted:
            while True:
                found = ranges.take(family, self.owner)
                if await self._keep(found, family):
                    return found
        # One it has already (a retried write) is not taken twice.
        fresh = ranges.owner(wanted) is None
        ranges.take_exactly(wanted, self.owner)
        if fresh and not await self._keep(wanted, family):
            raise AllocationError(TAKEN_ADDRESS)
        return wanted

    async def _keep(self, address: str, family: str) -> bool:
        """Store whose it is; False when somebody else did."""
        ranges = self.ranges
        self._addresses.add(address)
        ranges.pending.add(address)
        if self._dry or await ranges.store.create(address, family, self.owner):
            return True
        self._addresses.discard(address)
        ranges.pending.discard(address)
        ranges.release(self.owner, {address}, set())
        # Seen by us from now on, too: the next search passes it by.
        ranges.hold(address, _FOREIGN)
        return False

    def port(self, wanted: int) -> int:
        if wanted:
            fresh = self.ranges.ports.owner(wanted) is None
            self.ranges.ports.take_exactly(wanted, self.owner)
        else:
            fresh, wanted = True, self.ranges.ports.take(self.owner)
        if fresh:
            self._ports.add(wanted)
        return wanted

    async def finish(self, stored: bool | None) -> None:
        """None: nobody knows whether the service is stored. Then its address stays taken until
        the repair has looked.
        """
        ranges = self.ranges
        ranges.pending -= self._addresses
        if stored:
            return
        ranges.release(self.owner, self._addresses, self._ports)
        if stored is False and not self._dry:
            for address in self._addresses:
                await ranges.store.remove(address, self.owner)
