"""How each resource is measured against quotas.

Most resources are only counted; pods, services and claims also cost what they ask for. A
:class:`Measure` answers for one resource; :func:`measure_of` finds it. Whoever counts stored
objects and whoever admits new ones use the same measures, so they cannot disagree. Upstream:
https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from kutter.api.quota import claims, pods
from kutter.api.quota.amounts import ONE, Amounts, add, count_of
from kutter.api.types.core_v1 import (
    PersistentVolumeClaim,
    Pod,
    ScopedResourceSelectorRequirement,
    Service,
)
from kutter.api.types.meta_v1 import KubeObject
from kutter.api.types.resource_v1 import ResourceClaim

# Counted under a name of their own from before ``count/`` was there.
_SHORT_NAMES = frozenset({"configmaps", "resourcequotas", "replicationcontrollers", "secrets"})
# Events are never limited: they tell of what a quota refuses.
IGNORED = frozenset({"events", "events.events.k8s.io"})
_SERVICES = ("count/services", "services", "services.nodeports", "services.loadbalancers")

NameFilter = Callable[[Iterable[str]], list[str]]
InScope = Callable[[Any, ScopedResourceSelectorRequirement], bool]


def _in_no_scope(view: Any, wanted: ScopedResourceSelectorRequirement) -> bool:
    return False


def _nothing_missing(view: Any, names: Collection[str]) -> str:
    return ""


class Measure(msgspec.Struct, frozen=True):
    """What one resource costs.

    ``view`` is what ``usage``, ``in_scope`` and ``missing`` look at; without one the objects are
    only counted. ``names`` picks the quota names the resource counts against. ``missing`` says
    what a quota on some names obliges the object to state; "" when it does.
    """

    group_resource: str
    names: NameFilter
    view: type[KubeObject] | None = None
    usage: Callable[[Any, datetime], Amounts] | None = None
    in_scope: InScope = _in_no_scope
    missing: Callable[[Any, Collection[str]], str] = _nothing_missing
    updates: tuple[str, ...] | None = None
    """Subresources ("" the object itself) whose updates can cost more; None: none can."""

    def charge(self, view: Any, now: datetime) -> Amounts:
        """What one object costs, by quota name."""
        if self.usage is not None:
            return self.usage(view, now)
        return dict.fromkeys(_count_names(self.group_resource), ONE)

    def matches(self, view: Any, scopes: Iterable[ScopedResourceSelectorRequirement]) -> bool:
        """Whether an object is in all of the scopes."""
        return all(self.in_scope(view, wanted) for wanted in scopes)


def _count_names(group_resource: str) -> tuple[str, ...]:
    if group_resource in _SHORT_NAMES:
        return (f"count/{group_resource}", group_resource)
    return (f"count/{group_resource}",)


def _service_names(names: Iterable[str]) -> list[str]:
    return [name for name in names if name in _SERVICES]


def _service_usage(service: Service, now: datetime) -> Amounts:
    spec = service.spec
    ports = 0
    if spec.type == "NodePort" or (
        spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is not False
    ):
        # Ports are not allocated yet when this is asked: count the intent.
        ports = len(spec.ports)
    elif spec.type == "LoadBalancer":
        ports = sum(1 for port in spec.ports if port.node_port)
    balancers = 1 if spec.type == "LoadBalancer" else 0
    return {
        "count/services": ONE,
        "services": ONE,
        "services.nodeports": count_of(ports),
        "services.loadbalancers": count_of(balancers),
    }


_MEASURED = {
    measure.group_resource: measure
    for measure in (
        Measure(
            "pods",
            pods.names_of,
            Pod,
            pods.pod_usage,
            pods.pod_in_scope,
            pods.missing_names,
            updates=("resize",),
        ),
        Measure("services", _service_names, Service, _service_usage, updates=("",)),
        Measure(
            "persistentvolumeclaims",
            claims.claim_names,
            PersistentVolumeClaim,
            claims.claim_usage,
            claims.claim_in_scope,
            updates=("", "status"),
        ),
        Measure(
            "resourceclaims.resource.k8s.io",
            claims.device_names,
            ResourceClaim,
            claims.device_usage,
            updates=("",),
        ),
    )
}


@lru_cache(maxsize=1024)
def measure_of(group_resource: str) -> Measure:
    """How a resource (``pods``, ``foos.example.com``) is measured."""
    found = _MEASURED.get(group_resource)
    if found is not None:
        return found
    own = frozenset(_count_names(group_resource))
    return Measure(group_resource, lambda names: [name for name in names if name in own])


def resources_of(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Which of the ``known`` resources have to be looked at for quotas on ``names``."""
    listed = list(names)
    candidates = [name.removeprefix("count/") for name in listed]
    wanted = {name for name in (*_MEASURED, *candidates) if name in known and name not in IGNORED}
    return sorted(name for name in wanted if measure_of(name).names(listed))


def scopes_of(
    scopes: Iterable[str], selector: Iterable[ScopedResourceSelectorRequirement]
) -> tuple[ScopedResourceSelectorRequirement, ...]:
    """Both ways a quota names its scopes, as one."""
    return (
        *(ScopedResourceSelectorRequirement(scope_name=s, operator="Exists") for s in scopes),
        *selector,
    )


def total_charge(
    measure: Measure,
    views: Iterable[Any],
    scopes: Collection[ScopedResourceSelectorRequirement],
    now: datetime,
) -> Amounts:
    """What stored objects cost together, those out of scope left out."""
    total: Amounts = {}
    for view in views:
        if measure.matches(view, scopes):
            total = add(total, measure.charge(view, now))
    return total
