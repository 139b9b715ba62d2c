"""Who has which cluster address and node port, learned from the services themselves.

Between the ranges (:mod:`kutter.apiserver.kinds.allocation`) and the service kind: follows the
read cache, so what other writers store is held too, and gives back what a failed write took.
"""

from __future__ import annotations

from kutter.apiserver.kinds.allocation import AddressRange, AllocationError, PortRange
from kutter.apiserver.ports import Change, Reader, Tree


class ServiceRanges:
    """The ranges of a cluster, and who has what: one value shared by all service requests."""

    def __init__(self, cidrs: tuple[str, ...], node_ports: str) -> None:
        self.addresses = [AddressRange(cidr) for cidr in cidrs]
        self.ports = PortRange(node_ports)
        self._reader: Reader | None = None

    @property
    def families(self) -> list[str]:
        return [r.family for r in self.addresses]

    def follow(self, reader: Reader) -> None:
        """Learn what is stored, once, and from then on every change."""
        if self._reader is reader:
            return
        self._reader = reader
        reader.on_change("services", self._changed)
        for tree in reader.list("services"):
            self._hold(tree)

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
            found = self.range_of(address)
            if found is not None:
                found.hold(address, owner)
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
            found = self.range_of(address)
            if found is not None:
                found.release(address, owner)
        for port in ports:
            self.ports.release(port, owner)

    def range_of(self, address: str) -> AddressRange | None:
        family = "IPv6" if ":" in address else "IPv4"
        return self.range_for(family)

    def range_for(self, family: str) -> AddressRange | None:
        return next((r for r in self.addresses if r.family == family), None)


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
    """What one write has taken so far, to be given back if it fails."""

    def __init__(self, ranges: ServiceRanges, owner: str) -> None:
        self.ranges, self.owner = ranges, owner
        self._addresses: set[str] = set()
        self._ports: set[int] = set()

    def address(self, family: str, wanted: str) -> str:
        found = self.ranges.range_for(family)
        if found is None:
            raise AllocationError(f"no range for {family}")
        if wanted:
            # One it has already (a retried write) is not taken twice.
            fresh = found.owner(wanted) is None
            found.take_exactly(wanted, self.owner)
        else:
            fresh, wanted = True, found.take(self.owner)
        if fresh:
            self._addresses.add(wanted)
        return wanted

    def port(self, wanted: int) -> int:
        if wanted:
            fresh = self.ranges.ports.owner(wanted) is None
            self.ranges.ports.take_exactly(wanted, self.owner)
        else:
            fresh, wanted = True, self.ranges.ports.take(self.owner)
        if fresh:
            self._ports.add(wanted)
        return wanted

    def finish(self, stored: bool) -> None:
        if not stored:
            self.ranges.release(self.owner, self._addresses, self._ports)
