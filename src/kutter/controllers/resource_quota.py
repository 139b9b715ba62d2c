"""Keeps the status of resource quotas true: what is allowed, what is used.

Owns: ``status`` of ResourceQuota, together with admission, which adds to ``used`` what it lets
pass. Reads: quotas, pods, services and claims, and the metadata of whatever else a quota counts.
Invariants: a recount never misses an object that was admitted before it. For that it asks first,
by a dry run at the quota's version, whether admission has reservations on their way (409: come
back), then lists, then writes at the very version it asked about. A recount takes a twentieth
of the time at most. Every change of ``used`` by others is looked over a little later, which also
finds what a crash between reserving and storing left behind.
Upstream: kubernetes.io/docs/concepts/policy/resource-quotas
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import orjson

from kutter.api.catalog import Catalog
from kutter.api.errors import ApiError, is_reason
from kutter.api.quantity import Quantity
from kutter.api.quota.amounts import Amounts, add, count_of, only, read_amounts, write_amounts
from kutter.api.quota.measures import Measure, measure_of, resources_of, scopes_of, total_charge
from kutter.api.quota.pods import charged_until
from kutter.api.resources import Resource
from kutter.api.types.base import convert
from kutter.api.types.core_v1 import (
    PersistentVolumeClaim,
    Pod,
    ResourceQuota,
    ScopedResourceSelectorRequirement,
    Service,
)
from kutter.api.types.meta_v1 import KubeObject
from kutter.base.clock import Clock
from kutter.client.client import Client, Tree
from kutter.machinery.controller import Change, Result, Source
from kutter.machinery.informer import Informer, InformerFactory, key_of, split_key
from kutter.machinery.metadata import metadata_view

RESYNC_S = 300.0
# What others wrote is looked over after this long.
VERIFY_S = 10.0
AGAIN_S = 0.05
# A recount may take one part in this many of the time.
SHARE = 20

Scopes = Sequence[ScopedResourceSelectorRequirement]


@dataclass(slots=True)
class _Due:
    """What is known of one quota. Times are monotonic seconds; ``version``: as we wrote it."""

    recount_at: float
    not_before: float = 0.0
    version: str = ""


class ResourceQuotaController:
    name = "resourcequota"

    def __init__(
        self, client: Client, informers: InformerFactory, catalog: Catalog, clock: Clock
    ) -> None:
        self._client = client
        self._informers = informers
        self._catalog = catalog
        self._clock = clock
        self._quotas = informers.informer(ResourceQuota)
        self._pods = informers.informer(Pod)
        self._services = informers.informer(Service)
        self._claims = informers.informer(PersistentVolumeClaim)
        self._due: dict[str, _Due] = {}
        # Informers of what is only counted, by group resource; those of custom kinds end.
        self._counted: dict[str, Informer[Any]] = {}
        self._enqueue: Callable[[str], None] | None = None
        # What :meth:`_known` answered for which state of the catalog.
        self._countable: tuple[int, dict[str, Resource]] = (-1, {})

    def sources(self) -> Sequence[Source]:
        return [
            Source(self._quotas, self._quota_keys),
            Source(self._pods, lambda c: self._keys_if(c, "pods", _pod_changed)),
            Source(self._services, lambda c: self._keys_if(c, "services", _spec_changed)),
            Source(
                self._claims, lambda c: self._keys_if(c, "persistentvolumeclaims", _claim_changed)
            ),
        ]

    def follow(self, enqueue: Callable[[str], None]) -> None:
        """Custom kinds come and go."""
        self._enqueue = enqueue
        self._catalog.listeners.append(self._meet)

    # -- what makes a recount due --------------------------------------------------

    def _quota_keys(self, change: Change[ResourceQuota]) -> Iterable[str]:
        key, new, old = change.key, change.new, change.old
        if new is None:
            self._due.pop(key, None)
            return ()
        now = self._clock.monotonic()
        due = self._due.setdefault(key, _Due(now))
        self._watch_counted(new)
        if old is None or old.spec != new.spec or new.status.hard != new.spec.hard:
            due.recount_at = now
        elif new.status != old.status and new.metadata.resource_version != due.version:
            due.recount_at = min(due.recount_at, now + VERIFY_S)
        return (key,)

    def _keys_if(
        self, change: Change[Any], group_resource: str, changed: Callable[[Any, Any], bool]
    ) -> Iterable[str]:
        """Quotas that a change may have made untrue. What is added has passed admission."""
        if change.old is None or not len(self._quotas):
            return ()
        if change.new is not None and not changed(change.old, change.new):
            return ()
        return self._mark(change.any.metadata.namespace, group_resource)

    def _mark(self, namespace: str, group_resource: str) -> list[str]:
        names = measure_of(group_resource).names
        keys = [key_of(q) for q in self._quotas.items(namespace) if names(q.spec.hard)]
        now = self._clock.monotonic()
        for key in keys:
            self._due.setdefault(key, _Due(now)).recount_at = now
        return keys

    def _watch_counted(self, quota: ResourceQuota) -> None:
        """Hear of deletions of what the quota counts."""
        known = self._known()
        for name in resources_of(quota.spec.hard, known):
            if measure_of(name).view is None and name not in self._counted:
                informer = self._informers.open(metadata_view(known[name]))
                self._counted[name] = informer
                informer.on_event(partial(self._take, name))

    def _take(self, group_resource: str, change: Change[Any]) -> None:
        for key in self._keys_if(change, group_resource, _never):
            self._add(key)

    def _add(self, key: str) -> None:
        assert self._enqueue is not None, "nothing comes before follow"
        self._enqueue(key)

    def _meet(self) -> None:
        """Kinds have come or gone: quotas that count them have to be looked at again."""
        known = self._known()
        for name, informer in list(self._counted.items()):
            resource = known.get(name)
            if resource is None or resource.version != informer.view.resource.version:
                del self._counted[name]
                self._informers.close(informer)
        now = self._clock.monotonic()
        for quota in self._quotas.items():
            if any(name.startswith("count/") and "." in name for name in quota.spec.hard):
                self._watch_counted(quota)
                self._due.setdefault(key_of(quota), _Due(now)).recount_at = now
                self._add(key_of(quota))

    def _known(self) -> dict[str, Resource]:
        """Everything that can be counted, each in its preferred version."""
        generation, found = self._countable
        if generation != self._catalog.generation:
            found = {}
            for resource in self._catalog:
                if resource.namespaced and {"create", "list", "watch"} <= set(resource.verbs):
                    found.setdefault(resource.group_resource, resource)
            self._countable = (self._catalog.generation, found)
        return found

    # -- recounting ----------------------------------------------------------------

    async def reconcile(self, key: str) -> Result:
        due = self._due.get(key)
        if due is None:
            return Result()
        began = self._clock.monotonic()
        at = max(due.recount_at, due.not_before)
        if at > began:
            return Result(requeue_after_s=at - began)
        due.recount_at = began + RESYNC_S
        try:
            why, next_s = await self._recount(key, due)
        except ApiError as error:
            due.recount_at = self._clock.monotonic()
            if is_reason(error, "Conflict"):
                return Result(f"it changed meanwhile: {error.message}", requeue_after_s=AGAIN_S)
            raise
        ended = self._clock.monotonic()
        due.not_before = ended + (ended - began) * SHARE
        due.recount_at = min(due.recount_at, ended + next_s)
        return Result(why, requeue_after_s=max(due.recount_at - ended, AGAIN_S))

    async def _recount(self, key: str, due: _Due) -> tuple[str, float]:
        """Raises Conflict when it may have missed something."""
        tree = await self._read(key)
        if tree is None:
            self._due.pop(key, None)
            return "it is gone", RESYNC_S
        quota = convert(ResourceQuota, tree)
        if quota.status.used:
            await self._ask(tree)
        used, next_s = await self._count(quota)
        hard = read_amounts(quota.spec.hard)
        known = only(read_amounts(quota.status.used), hard)
        used = only({**known, **used}, hard)
        if quota.status.hard == quota.spec.hard and read_amounts(quota.status.used) == used:
            return "its status is true", next_s
        tree["status"] = {"hard": write_amounts(hard), "used": write_amounts(used)}
        written = await self._client.update(ResourceQuota, tree, subresource="status")
        due.version = written["metadata"]["resourceVersion"]
        if quota.status.hard != quota.spec.hard:
            # What was on its way while the quota did not limit it yet reserved nothing.
            next_s = min(next_s, VERIFY_S)
        return "counted anew", next_s

    async def _read(self, key: str) -> Tree | None:
        """The quota of this very moment. By a list: upstream's role may list, not get."""
        namespace, name = split_key(key)
        selector = f"metadata.name={name}"
        listed = await self._client.list_tree(ResourceQuota, namespace, field_selector=selector)
        return next(
            (
                {**item, "kind": "ResourceQuota", "apiVersion": "v1"}
                for item in listed.get("items") or ()
            ),
            None,
        )

    async def _ask(self, tree: Tree) -> None:
        """Raises Conflict while something this version of the quota reserved is not stored."""
        meta = tree["metadata"]
        body = {**tree, "status": {**tree.get("status", {}), "used": {}}}
        path = ResourceQuota.resource.path(meta["namespace"], meta["name"], "status")
        await self._client.request("PUT", path, body=body, query=[("dryRun", "All")])

    async def _count(self, quota: ResourceQuota) -> tuple[Amounts, float]:
        """What is used, and in how many seconds that may change by itself."""
        selector = quota.spec.scope_selector
        scopes = scopes_of(
            quota.spec.scopes, selector.match_expressions if selector is not None else ()
        )
        namespace, now = quota.metadata.namespace, self._clock.now()
        known = self._known()
        total: Amounts = {}
        next_s = RESYNC_S
        for group_resource in resources_of(quota.spec.hard, known):
            measure = measure_of(group_resource)
            names = measure.names(quota.spec.hard)
            total = add({name: Quantity(0) for name in names}, total)
            if measure.view is None:
                if not scopes:
                    total = add(
                        total, await self._count_objects(known[group_resource], namespace, measure)
                    )
                continue
            found = await self._client.list(measure.view, namespace)
            total = add(total, total_charge(measure, found.items, scopes, now))
            if measure.view is Pod:
                next_s = min(next_s, _seconds_to_change(found.items, now))
        return only(total, quota.spec.hard), next_s

    async def _count_objects(self, resource: Resource, namespace: str, measure: Measure) -> Amounts:
        """How many there are; the server counts, nothing is decoded."""
        answer = await self._client.request("GET", resource.path(namespace), query=[("limit", "1")])
        listed = orjson.loads(answer.body)
        rest = listed["metadata"].get("remainingItemCount", 0)
        number = len(listed.get("items") or ()) + rest
        return dict.fromkeys(measure.charge(None, self._clock.now()), count_of(number))


def _seconds_to_change(pods: Iterable[KubeObject], now: datetime) -> float:
    """When the first pod that is long overdue for deletion stops to be charged."""
    ends = [end for pod in pods if isinstance(pod, Pod) and (end := charged_until(pod)) is not None]
    waits = [(end - now).total_seconds() for end in ends if end >= now]
    return min(waits) + 1.0 if waits else RESYNC_S


def _never(old: Any, new: Any) -> bool:
    """What is only counted is worth one as long as it is there."""
    return False


def _pod_changed(old: Pod, new: Pod) -> bool:
    """Whether what it costs, or its scopes, may have changed other than by its creation."""
    ended = new.status.phase in ("Succeeded", "Failed")
    return (
        (ended and old.status.phase != new.status.phase)
        or old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
        or old.spec.active_deadline_seconds != new.spec.active_deadline_seconds
        or old.spec.containers != new.spec.containers
        or _given(old) != _given(new)
    )


def _given(pod: Pod) -> list[Any]:
    """What containers were given: a resize that is through may cost less."""
    return [(s.allocated_resources, s.resources) for s in pod.status.container_statuses]


def _spec_changed(old: Service, new: Service) -> bool:
    return old.spec != new.spec


def _claim_changed(old: PersistentVolumeClaim, new: PersistentVolumeClaim) -> bool:
    return (
        old.spec != new.spec
        or old.status.allocated_resources != new.status.allocated_resources
        or old.status.current_volume_attributes_class_name
        != new.status.current_volume_attributes_class_name
        or old.status.modify_volume_status != new.status.modify_volume_status
    )
