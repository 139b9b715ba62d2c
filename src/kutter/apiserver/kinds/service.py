"""Services: defaults, addresses and ports, and what follows from a change of type.

Addresses and node ports are taken in ``begin_create`` and ``begin_update``, right before the
write, from ranges shared by all requests (:mod:`kutter.apiserver.kinds.allocation`); a write that
does not happen gives them back. Upstream: ``pkg/registry/core/service/storage``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from kutter.api.errors import ApiError, FieldError, internal, invalid, invalid_object
from kutter.api.resources import Resource
from kutter.apiserver.kinds.allocation import AddressRange, AllocationError, PortRange
from kutter.apiserver.kinds.standard import Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import Finish, StrategyContext
from kutter.apiserver.ports import Change, Reader, Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.services import (
    is_externally_accessible,
    is_headless,
    needs_health_check,
    validate_load_balancer_status,
    validate_service,
    validate_service_change,
)


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
        for address in _addresses(tree):
            found = self.range_of(address)
            if found is not None:
                found.hold(address, owner)
        for port in _node_ports(tree):
            self.ports.hold(port, owner)

    def _release_missing(self, before: Tree, after: Tree) -> None:
        owner = owner_of(before)
        self.release(
            owner,
            _addresses(before) - _addresses(after),
            _node_ports(before) - _node_ports(after),
        )

    def release_all(self, tree: Tree) -> None:
        self.release(owner_of(tree), _addresses(tree), _node_ports(tree))

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


def _addresses(tree: Tree) -> set[str]:
    spec = tree.get("spec") or {}
    listed = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return {a for a in listed if a and a != "None"}


def _node_ports(tree: Tree) -> set[int]:
    spec = tree.get("spec") or {}
    taken = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        taken.add(spec["healthCheckNodePort"])
    return taken


class _Attempt:
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


class ServiceKind(Standard):
    return_deleted_object: ClassVar[bool] = True
    name_check: ClassVar[text.Check] = text.dns_label_1035
    field_labels: ClassVar[frozenset[str]] = frozenset({"spec.clusterIP", "spec.type"})

    def __init__(self, resource: Resource, ranges: ServiceRanges) -> None:
        super().__init__(resource)
        self.ranges = ranges

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        if not spec.get("sessionAffinity"):
            spec["sessionAffinity"] = "None"
        if spec["sessionAffinity"] == "None":
            spec.pop("sessionAffinityConfig", None)
        elif spec["sessionAffinity"] == "ClientIP":
            config = setdefault(spec, "sessionAffinityConfig", {})
            setdefault(setdefault(config, "clientIP", {}), "timeoutSeconds", 10800)
        if not spec.get("type"):
            spec["type"] = "ClusterIP"
        for port in spec.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"
            if not port.get("targetPort"):
                port["targetPort"] = port.get("port") or 0
        if is_externally_accessible(spec) and not spec.get("externalTrafficPolicy"):
            spec["externalTrafficPolicy"] = "Cluster"
        if spec["type"] in ("ClusterIP", "NodePort", "LoadBalancer"):
            setdefault(spec, "internalTrafficPolicy", "Cluster")
        if spec["type"] == "LoadBalancer":
            setdefault(spec, "allocateLoadBalancerNodePorts", True)
        balancer = (tree.get("status") or {}).get("loadBalancer") or {}
        for entry in balancer.get("ingress") or ():
            if entry.get("ip"):
                setdefault(entry, "ipMode", "VIP")

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {"loadBalancer": {}}
        spec = spec_of(tree)
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_update(context, new, old)
        after, before = spec_of(new), old.get("spec") or {}
        _follow_primary(after, before)
        _drop_by_type(after, before)
        _keep_allocated(after, before)

    def check(self, tree: Tree) -> list[FieldError]:
        return validate_service(tree)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return validate_service_change(new, old)

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        kind = (new.get("spec") or {}).get("type") or ""
        balancer = (new.get("status") or {}).get("loadBalancer") or {}
        return validate_load_balancer_status(balancer, kind, "status.loadBalancer")

    async def begin_create(self, context: StrategyContext, tree: Tree) -> Finish | None:
        return self._allocate(context, tree, None)

    async def begin_update(self, context: StrategyContext, new: Tree, old: Tree) -> Finish | None:
        return self._allocate(context, new, old)

    def after_delete(self, context: StrategyContext, tree: Tree) -> None:
        self.ranges.release_all(tree)

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        spec = tree.get("spec") or {}
        return {
            "spec.clusterIP": spec.get("clusterIP") or "",
            "spec.type": spec.get("type") or "",
        }

    def _allocate(self, context: StrategyContext, tree: Tree, old: Tree | None) -> Finish:
        self.ranges.follow(context.reader)
        attempt = _Attempt(self.ranges, owner_of(tree))
        try:
            if (errors := self._families(tree)) or (errors := self._take(tree, attempt)):
                name = (tree.get("metadata") or {}).get("name") or ""
                raise invalid_object("Service", name, errors)
        except ApiError:
            attempt.finish(False)
            raise
        if context.dry_run:
            # Nothing is stored, so nothing stays taken.
            attempt.finish(False)
            return _keep_nothing
        if old is None:
            return attempt.finish
        return self._finish_update(attempt, old, tree)

    def _finish_update(self, attempt: _Attempt, old: Tree, new: Tree) -> Callable[[bool], None]:
        def finish(stored: bool) -> None:
            if stored:
                self.ranges.release(
                    attempt.owner,
                    _addresses(old) - _addresses(new),
                    _node_ports(old) - _node_ports(new),
                )
            else:
                attempt.finish(False)

        return finish

    def _families(self, tree: Tree) -> list[FieldError]:
        """Settle ``ipFamilies`` and ``ipFamilyPolicy``."""
        spec = spec_of(tree)
        if spec.get("type") == "ExternalName":
            return []
        errors: list[FieldError] = []
        known = self.ranges.families
        families: list[str] = list(spec.get("ipFamilies") or ())
        for i, address in enumerate(spec.get("clusterIPs") or ()):
            if address == "None":
                continue
            family = "IPv6" if ":" in address else "IPv4"
            if family not in known:
                errors.append(
                    invalid(
                        f"spec.clusterIPs[{i}]",
                        spec["clusterIPs"],
                        f"may not use {family} on a cluster which is not configured for it",
                    )
                )
            elif i >= len(families):
                families.append(family)
        policy = spec.get("ipFamilyPolicy")
        if policy is None and (len(spec.get("clusterIPs") or ()) == 2 or len(families) == 2):
            policy = "RequireDualStack"
        if is_headless(spec) and not spec.get("selector"):
            # Nobody here allocates for it: it may hold what its writer likes.
            policy = policy or "RequireDualStack"
            families = families or known[:1]
            if policy != "SingleStack" and len(families) == 1:
                families.append("IPv4" if families[0] == "IPv6" else "IPv6")
        else:
            for i, family in enumerate(families):
                if family not in known:
                    errors.append(
                        invalid(f"spec.ipFamilies[{i}]", family, "not configured on this cluster")
                    )
            if policy == "RequireDualStack" and len(known) < 2:
                errors.append(
                    invalid(
                        "spec.ipFamilyPolicy",
                        policy,
                        "this cluster is not configured for dual-stack services",
                    )
                )
            policy = policy or "SingleStack"
            families = families or known[:1]
            if policy != "SingleStack" and len(families) == 1 and len(known) == 2:
                families.append(known[1] if families[0] == known[0] else known[0])
        if not errors:
            spec["ipFamilies"], spec["ipFamilyPolicy"] = families, policy
        return errors

    def _take(self, tree: Tree, attempt: _Attempt) -> list[FieldError]:
        spec = tree["spec"]
        if spec["type"] != "ExternalName" and not is_headless(spec):
            errors = self._take_addresses(spec, attempt)
            if errors:
                return errors
        for i, port in enumerate(spec.get("ports") or ()):
            wanted = port.get("nodePort") or 0
            if not wanted and not _allocates_node_ports(spec):
                continue
            if wanted and spec["type"] not in ("NodePort", "LoadBalancer"):
                continue
            wanted = wanted or _same_number(spec["ports"], port)
            path = f"spec.ports[{i}].nodePort"
            try:
                port["nodePort"] = attempt.port(wanted)
            except AllocationError as error:
                if wanted:
                    return [invalid(path, wanted, str(error))]
                raise internal(f"failed to allocate a nodePort: {error}") from error
        if needs_health_check(spec):
            wanted = spec.get("healthCheckNodePort") or 0
            try:
                spec["healthCheckNodePort"] = attempt.port(wanted)
            except AllocationError as error:
                detail = f"failed to allocate requested HealthCheck NodePort {wanted}: {error}"
                raise internal(detail) from error
        return []

    def _take_addresses(self, spec: Tree, attempt: _Attempt) -> list[FieldError]:
        wanted: list[str] = list(spec.get("clusterIPs") or ())
        taken: list[str] = []
        for i, family in enumerate(spec["ipFamilies"]):
            address = wanted[i] if i < len(wanted) else ""
            try:
                taken.append(attempt.address(family, address))
            except AllocationError as error:
                if address:
                    detail = f"failed to allocate IP {address}: {error}"
                    return [invalid("spec.clusterIPs", wanted, detail)]
                raise internal(f"failed to allocate a serviceIP: {error}") from error
        spec["clusterIP"], spec["clusterIPs"] = taken[0], taken
        return []


def _keep_nothing(stored: bool) -> None:
    """The end of a dry run."""


def _allocates_node_ports(spec: Tree) -> bool:
    if spec["type"] == "NodePort":
        return True
    return bool(
        spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
    )


def _same_number(ports: list[Tree], port: Tree) -> int:
    """DNS over TCP and UDP: one port number, one node port."""
    for other in ports:
        if (
            other is not port
            and other.get("port") == port.get("port")
            and other.get("protocol") != port.get("protocol")
            and other.get("nodePort")
        ):
            return int(other["nodePort"])
    return 0


def _follow_primary(after: Tree, before: Tree) -> None:
    """``clusterIP`` and ``clusterIPs`` say the same, whichever of them was changed."""
    new, old = after.get("clusterIP") or "", before.get("clusterIP") or ""
    listed, were = after.get("clusterIPs") or [], before.get("clusterIPs") or []
    if new != old and listed == were:
        if new:
            after["clusterIPs"] = [new, *listed[1:]]
        else:
            after.pop("clusterIPs", None)
    elif new == old and listed != were and listed:
        after["clusterIP"] = listed[0]


def _same(after: Tree, before: Tree, field: str) -> bool:
    return (after.get(field) or None) == (before.get(field) or None)


def _drop_by_type(after: Tree, before: Tree) -> None:
    """Fields a changed type has no use for go, if the writer left them as they were."""

    def drop(*fields: str) -> None:
        for field in fields:
            if _same(after, before, field):
                after.pop(field, None)

    kind, was = after.get("type"), before.get("type")
    if was != "ExternalName" == kind:
        drop("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
    used = was in ("NodePort", "LoadBalancer")
    uses = kind in ("NodePort", "LoadBalancer")
    if used and not uses:
        held = [p.get("nodePort") for p in before.get("ports") or ()]
        ports: list[dict[str, Any]] = after.get("ports") or []
        if [p.get("nodePort") for p in ports] == held:
            for port in ports:
                port.pop("nodePort", None)
    if needs_health_check(before) and not needs_health_check(after):
        drop("healthCheckNodePort")
    if was == "LoadBalancer" != kind:
        drop("allocateLoadBalancerNodePorts", "loadBalancerClass")
    if is_externally_accessible(before) and not is_externally_accessible(after):
        drop("externalTrafficPolicy")


def _keep_allocated(after: Tree, before: Tree) -> None:
    """What was allocated stays if an update does not name it."""
    if "ExternalName" not in (after.get("type"), before.get("type")):
        if not after.get("clusterIP") and before.get("clusterIP"):
            after["clusterIP"] = before["clusterIP"]
        same = after.get("clusterIP") == before.get("clusterIP")
        if same and before.get("clusterIPs") and not after.get("clusterIPs"):
            after["clusterIPs"] = list(before["clusterIPs"])
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if not after.get(field) and before.get(field):
                after[field] = before[field]
    balanced = ("NodePort", "LoadBalancer")
    if after.get("type") in balanced and before.get("type") in balanced:
        held = {p.get("name") or "": p.get("nodePort") for p in before.get("ports") or ()}
        chosen = {p.get("nodePort") for p in after.get("ports") or ()}
        for port in after.get("ports") or ():
            number = held.get(port.get("name") or "")
            if not port.get("nodePort") and number and number not in chosen:
                port["nodePort"] = number
    if needs_health_check(after) and needs_health_check(before):
        setdefault(after, "healthCheckNodePort", before.get("healthCheckNodePort"))
