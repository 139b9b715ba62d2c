"""Namespaces that are being deleted: empty them in full, then let them go.

Owns: the ``kubernetes`` finalizer of namespaces. Reads: namespaces and everything in them.
Writes: deletions, the namespace's conditions, its finalize subresource.
Invariants: pods go first, and nothing else goes while one is left, because it may still need
what it mounts and whom it may ask; the finalizer goes only after a list of every kind has come
back empty.
Upstream: kubernetes.io/docs/concepts/overview/working-with-objects/namespaces
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from kutter.api.catalog import Catalog
from kutter.api.errors import ApiError, is_reason
from kutter.api.resources import Resource
from kutter.api.types.core_v1 import Namespace
from kutter.base.clock import Clock, parse_time, render_time
from kutter.client.client import Client
from kutter.machinery.controller import Result, Source, own_key
from kutter.machinery.informer import InformerFactory

FINALIZER = "kubernetes"
# How often to look again while only finalizers of others hold content back.
RECHECK_S = 2.0


@dataclass(slots=True)
class Remaining:
    """What one pass found: objects still there, their finalizers, errors, longest grace."""

    counts: dict[str, int] = field(default_factory=dict)
    finalizers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    grace_s: float = 0.0


def plan_conditions(
    found: Remaining, known: Sequence[dict[str, Any]], now: str
) -> list[dict[str, Any]]:
    """The namespace's deletion conditions after a pass. Pure."""
    counts = ", ".join(
        f"{name} has {count} resource instances" for name, count in sorted(found.counts.items())
    )
    holders = ", ".join(
        f"{name} in {count} resource instances" for name, count in sorted(found.finalizers.items())
    )
    wanted = [
        (
            "NamespaceDeletionDiscoveryFailure",
            False,
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            False,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            bool(found.failures),
            "ContentDeletionFailed" if found.failures else "ContentDeleted",
            "Failed to delete all resource types, "
            f"{len(found.failures)} remaining: {', '.join(found.failures)}"
            if found.failures
            else "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            bool(found.counts),
            "SomeResourcesRemain" if found.counts else "ContentRemoved",
            f"Some resources are remaining: {counts}"
            if found.counts
            else "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            bool(found.finalizers),
            "SomeFinalizersRemain" if found.finalizers else "ContentHasNoFinalizers",
            f"Some content in the namespace has finalizers remaining: {holders}"
            if found.finalizers
            else "All content-preserving finalizers finished",
        ),
    ]
    by_type = {c["type"]: c for c in known}
    conditions = [c for c in known if c["type"] not in {w[0] for w in wanted}]
    for kind, holds, reason, message in wanted:
        status = "True" if holds else "False"
        before = by_type.get(kind)
        same = before is not None and before["status"] == status
        since = (before or {}).get("lastTransitionTime") if same else ""
        conditions.append(
            {
                "type": kind,
                "status": status,
                "lastTransitionTime": since or now,
                "reason": reason,
                "message": message,
            }
        )
    return conditions


class NamespaceController:
    name = "namespace"

    def __init__(
        self, client: Client, informers: InformerFactory, catalog: Catalog, clock: Clock
    ) -> None:
        self._client = client
        self._catalog = catalog
        self._clock = clock
        self._namespaces = informers.informer(Namespace)

    def sources(self) -> Sequence[Source]:
        return [Source(self._namespaces, own_key)]

    async def reconcile(self, key: str) -> Result:
        item = self._namespaces.get(key)
        if item is None or not item.metadata.deletion_timestamp:
            return Result()
        if FINALIZER not in item.spec.finalizers:
            return Result("other finalizers hold it")
        found = Remaining()
        pods, *others = self._contents()
        await self._try_empty(pods, key, found)
        if not found.counts and not found.failures:
            for resource in others:
                await self._try_empty(resource, key, found)
        await self._write_conditions(item, found)
        if found.failures:
            raise ApiError(500, "", f"content is left: {'; '.join(found.failures)}")
        if found.counts:
            wait = max(found.grace_s, RECHECK_S if found.finalizers else 0.2)
            total = sum(found.counts.values())
            return Result(f"waiting for {total} objects to go", wait)
        await self._finalize(key)
        return Result("everything in it is gone, finalizer removed")

    def _contents(self) -> list[Resource]:
        """Every kind that lives in namespaces, pods first."""
        found: dict[str, Resource] = {}
        for resource in (*self._catalog, *self._catalog.elsewhere):
            if resource.namespaced and {"list", "delete"} <= set(resource.verbs):
                found.setdefault(resource.group_resource, resource)
        # Core and events.k8s.io events are the same objects.
        found.pop("events.events.k8s.io", None)
        return sorted(found.values(), key=lambda r: r.group_resource != "pods")

    async def _try_empty(self, resource: Resource, namespace: str, found: Remaining) -> None:
        try:
            await self._empty(resource, namespace, found)
        except ApiError as error:
            if not is_reason(error, "NotFound", "MethodNotAllowed"):
                found.failures.append(f"{resource.group_resource}: {error.message}")

    async def _empty(self, resource: Resource, namespace: str, found: Remaining) -> None:
        items = await self._list(resource, namespace)
        if not items:
            return
        if any("deletionTimestamp" not in item["metadata"] for item in items):
            await self._delete(resource, namespace, items)
            items = await self._list(resource, namespace)
        if not items:
            return
        # Upstream's form: the group follows a dot also where it is the empty core group.
        found.counts[f"{resource.plural}.{resource.group}"] = len(items)
        now = self._clock.now()
        for item in items:
            meta = item["metadata"]
            for finalizer in meta.get("finalizers") or ():
                found.finalizers[finalizer] = found.finalizers.get(finalizer, 0) + 1
            deadline = meta.get("deletionTimestamp")
            if deadline and meta.get("deletionGracePeriodSeconds"):
                left = (parse_time(deadline) - now).total_seconds()
                found.grace_s = max(found.grace_s, min(left, 5.0))

    async def _list(self, resource: Resource, namespace: str) -> list[dict[str, Any]]:
        answer = await self._client.request(
            "GET",
            resource.path(namespace),
            headers={
                "accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
                "application/json"
            },
        )
        items: list[dict[str, Any]] = orjson.loads(answer.body).get("items") or []
        return items

    async def _delete(
        self, resource: Resource, namespace: str, items: list[dict[str, Any]]
    ) -> None:
        if "deletecollection" in resource.verbs:
            await self._client.delete_collection(
                resource, namespace, propagation_policy="Background"
            )
            return
        for item in items:
            try:
                await self._client.delete(
                    resource,
                    item["metadata"]["name"],
                    namespace,
                    propagation_policy="Background",
                )
            except ApiError as error:
                if not is_reason(error, "NotFound"):
                    raise

    async def _write_conditions(self, item: Namespace, found: Remaining) -> None:
        known = [c.tree() for c in item.status.conditions]
        conditions = plan_conditions(found, known, render_time(self._clock.now()))
        if conditions == known:
            return
        try:
            await self._client.patch(
                Namespace,
                item.metadata.name,
                {"status": {"conditions": conditions}},
                subresource="status",
            )
        except ApiError as error:
            if not is_reason(error, "NotFound", "Conflict"):
                raise

    async def _finalize(self, name: str) -> None:
        try:
            tree = await self._client.get_tree(Namespace, name)
            spec = tree.setdefault("spec", {})
            spec["finalizers"] = [f for f in spec.get("finalizers") or () if f != FINALIZER]
            await self._client.update(Namespace, tree, subresource="finalize")
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise
