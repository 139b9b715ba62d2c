"""Services: defaults, addresses and ports, and what follows from a change of type.

Addresses and node ports are taken in ``begin_create`` and ``begin_update``, right before the
write, from ranges shared by all requests (:mod:`kutter.apiserver.kinds.service_ranges`); a write
that does not happen gives them back. Upstream: ``pkg/registry/core/service/storage``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kutter.api.errors import FieldError, internal, invalid, invalid_object
from kutter.api.resources import Resource
from kutter.apiserver.kinds.allocation import TAKEN_PORT, AllocationError
from kutter.apiserver.kinds.service_families import settle_families
from kutter.apiserver.kinds.service_ranges import (
    Attempt,
    ServiceRanges,
    addresses_of,
    node_ports_of,
    owner_of,
)
from kutter.apiserver.kinds.standard import Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import Finish, StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.services import (
    is_externally_accessible,
    is_headless,
    needs_health_check,
    service_warnings,
    validate_load_balancer_status,
    validate_service,
    validate_service_change,
)


class ServiceKind(Standard):
    allow_create_on_update: ClassVar[bool] = True
    return_deleted_object: ClassVar[bool] = True
    name_check: ClassVar[text.Check] = text.dns_label
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
        if spec.get("type") == "ExternalName":
            spec.pop("internalTrafficPolicy", None)

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_update(context, new, old)
        after, before = spec_of(new), old.get("spec") or {}
        _follow_primary(after, before)
        _drop_by_type(after, before)
        _keep_allocated(after, before)
        if after.get("type") == "ExternalName":
            after.pop("internalTrafficPolicy", None)

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        # Upstream allocates first: an error here is the only one told.
        spec = spec_of(tree)
        errors = settle_families(spec, None, self.ranges.families) or _taken_twice(spec)
        return errors or super().validate_create(context, tree)

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        spec = spec_of(new)
        errors = settle_families(spec, old.get("spec") or {}, self.ranges.families)
        return errors or super().validate_update(context, new, old)

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        return service_warnings(new)

    def check(self, tree: Tree) -> list[FieldError]:
        return validate_service(tree)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return validate_service_change(new, old)

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        kind = (new.get("spec") or {}).get("type") or ""
        balancer = (new.get("status") or {}).get("loadBalancer") or {}
        return validate_load_balancer_status(balancer, kind, "status.loadBalancer")

    async def begin_create(self, context: StrategyContext, tree: Tree) -> Finish | None:
        return await self._allocate(context, tree, None)

    async def begin_update(self, context: StrategyContext, new: Tree, old: Tree) -> Finish | None:
        return await self._allocate(context, new, old)

    def after_delete(self, context: StrategyContext, tree: Tree) -> None:
        self.ranges.release_all(tree)

    async def end_delete(self, context: StrategyContext, tree: Tree) -> None:
        for address in addresses_of(tree):
            await self.ranges.store.remove(address, owner_of(tree))

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        spec = tree.get("spec") or {}
        return {
            "spec.clusterIP": spec.get("clusterIP") or "",
            "spec.type": spec.get("type") or "",
        }

    async def _allocate(self, context: StrategyContext, tree: Tree, old: Tree | None) -> Finish:
        self.ranges.follow(context.reader)
        attempt = Attempt(self.ranges, owner_of(tree), dry=context.dry_run)
        try:
            if errors := await self._take(tree, attempt):
                name = (tree.get("metadata") or {}).get("name") or ""
                raise invalid_object("Service", name, errors)
        except BaseException as error:
            # Nothing is taken for a service that is not stored.
            await attempt.finish(False if isinstance(error, Exception) else None)
            raise
        if context.dry_run:
            # Nothing is stored, so nothing stays taken.
            await attempt.finish(False)
            return _keep_nothing
        return attempt.finish if old is None else self._finish_update(attempt, old, tree)

    def _finish_update(self, attempt: Attempt, old: Tree, new: Tree) -> Finish:
        async def finish(stored: bool | None) -> None:
            await attempt.finish(stored)
            if not stored:
                return
            gone = addresses_of(old) - addresses_of(new)
            ports = node_ports_of(old) - node_ports_of(new)
            self.ranges.release(attempt.owner, gone, ports)
            for address in gone:
                await self.ranges.store.remove(address, attempt.owner)

        return finish

    async def _take(self, tree: Tree, attempt: Attempt) -> list[FieldError]:
        spec = tree["spec"]
        if spec["type"] != "ExternalName" and not is_headless(spec):
            errors = await self._take_addresses(spec, attempt)
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

    async def _take_addresses(self, spec: Tree, attempt: Attempt) -> list[FieldError]:
        wanted: list[str] = list(spec.get("clusterIPs") or ())
        taken: list[str] = []
        for i, family in enumerate(spec["ipFamilies"]):
            address = wanted[i] if i < len(wanted) else ""
            try:
                taken.append(await attempt.address(family, address))
            except AllocationError as error:
                if address:
                    detail = f"failed to allocate IP {address}: {error}"
                    return [invalid("spec.clusterIPs", wanted, detail)]
                raise internal(f"failed to allocate a serviceIP: {error}") from error
        spec["clusterIP"], spec["clusterIPs"] = taken[0], taken
        return []


async def _keep_nothing(stored: bool | None) -> None:
    """The end of a dry run."""


def _taken_twice(spec: Tree) -> list[FieldError]:
    """A node port that several ports want: the second does not get it."""
    if spec.get("type") not in ("NodePort", "LoadBalancer"):
        return []
    taken: dict[int, int] = {}
    for i, port in enumerate(spec.get("ports") or ()):
        wanted, number = port.get("nodePort"), port.get("port") or 0
        if not wanted or taken.get(number) == wanted:
            continue
        if wanted in taken.values():
            return [invalid(f"spec.ports[{i}].nodePort", wanted, TAKEN_PORT)]
        taken.setdefault(number, wanted)
    return []


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
