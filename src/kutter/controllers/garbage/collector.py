"""The garbage collector: deletes dependents, orphans them, or holds their owner back.

Owns: the finalizers ``orphan`` and ``foregroundDeletion``. Reads: metadata of every kind.
Writes: deletions, owner references, these two finalizers.
Invariants: an object is deleted only after each of its owners was read as absent (or as waiting
for its dependents) from the API server itself, by uid.
Upstream: kubernetes.io/docs/concepts/architecture/garbage-collection
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from kutter.api.catalog import Catalog
from kutter.api.errors import ApiError, is_reason
from kutter.api.resources import Resource
from kutter.api.types.base import decode
from kutter.api.types.meta_v1 import KubeObject, OwnerReference
from kutter.client.client import Client
from kutter.controllers.garbage.graph import FOREGROUND, ORPHAN, Entry, Graph
from kutter.machinery.controller import Change, Result, Source
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import Informer, InformerFactory
from kutter.machinery.metadata import metadata_view

ABSENT_LIMIT = 500


@dataclass(slots=True)
class _Owners:
    """The owners of one object, sorted by what they mean for it."""

    solid: list[OwnerReference] = field(default_factory=list)
    dangling: list[OwnerReference] = field(default_factory=list)
    waiting: list[OwnerReference] = field(default_factory=list)


class GarbageCollector:
    """To be made after the controllers that watch whole objects: it uses their informers."""

    name = "garbage-collector"

    def __init__(
        self,
        client: Client,
        informers: InformerFactory,
        catalog: Catalog,
        recorder: EventRecorder,
    ) -> None:
        self._client = client
        self._catalog = catalog
        self._recorder = recorder
        self._graph = Graph()
        self._absent: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._informers = informers
        self._known: dict[str, tuple[Resource, Informer[Any]]] = {
            resource.group_resource: (resource, informers.metadata(resource))
            for resource in collectable(catalog)
        }
        self._enqueue: Callable[[str], None] | None = None

    def sources(self) -> Sequence[Source]:
        return [Source(informer, self._keys) for _, informer in self._known.values()]

    def follow(self, enqueue: Callable[[str], None]) -> None:
        """Custom kinds come and go: have an informer for each while it is served."""
        self._enqueue = enqueue
        self._catalog.listeners.append(self._meet)
        self._meet()

    def _meet(self) -> None:
        served = {resource.group_resource: resource for resource in collectable(self._catalog)}
        for name, (known, informer) in list(self._known.items()):
            resource = served.get(name)
            if resource is None or (resource.version, resource.kind) != (known.version, known.kind):
                del self._known[name]
                self._part(informer, gone=resource is None)
        for name, resource in served.items():
            if name not in self._known:
                informer = self._informers.open(metadata_view(resource))
                self._known[name] = (resource, informer)
                informer.on_event(self._take)

    def _part(self, informer: Informer[Any], *, gone: bool) -> None:
        """Forget a kind; a definition goes after its objects, so what we still know is gone."""
        self._informers.close(informer)
        for item in informer.items():
            look = self._graph.remove(item.metadata.uid)
            if gone:
                self._note_absent(item.metadata.namespace, item.metadata.uid)
                self._queue(look)

    def _take(self, change: Change[Any]) -> None:
        self._queue(self._keys(change))

    def _queue(self, keys: Sequence[str]) -> None:
        assert self._enqueue is not None, "nothing comes before follow"
        for key in keys:
            self._enqueue(key)

    def _note_absent(self, namespace: str, uid: str) -> None:
        self._absent[namespace, uid] = None
        while len(self._absent) > ABSENT_LIMIT:
            self._absent.popitem(last=False)

    def _keys(self, change: Change[Any]) -> Sequence[str]:
        look: list[str] = []
        old, new = change.old, change.new
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            # Noted, for its kind may be served no more by the time its dependents are looked at.
            self._note_absent(old.metadata.namespace, old.metadata.uid)
            look += self._graph.remove(old.metadata.uid)
        if new is not None:
            look += self._graph.put(new.resource, new)
        return look

    async def reconcile(self, key: str) -> Result:
        entry = self._graph.entries.get(key)
        if entry is None:
            return Result()
        if entry.deleting and ORPHAN in entry.finalizers:
            return await self._orphan(entry)
        if entry.is_foreground_deleting:
            return await self._hold_back(entry)
        if entry.deleting or not entry.owners:
            return Result()
        owners = await self._sort_owners(entry)
        if owners.solid:
            gone = owners.dangling + owners.waiting
            if gone:
                await self._drop_owners(entry, gone)
                return Result(f"dropped {len(gone)} owners that are gone")
            return Result()
        dependents = self._graph.dependents(entry.uid)
        if owners.waiting and dependents:
            if any(d.is_foreground_deleting for d in dependents):
                # Perhaps a circle, in which everyone would wait for everyone.
                await self._unblock_owners(entry)
            await self._delete(entry, "Foreground")
            return Result("its owner waits for it, and it has dependents of its own")
        policy = "Background"
        if ORPHAN in entry.finalizers:
            policy = "Orphan"
        elif FOREGROUND in entry.finalizers:
            policy = "Foreground"
        await self._delete(entry, policy)
        return Result("all its owners are gone")

    async def _orphan(self, entry: Entry) -> Result:
        dependents = self._graph.dependents(entry.uid)
        for dependent in dependents:
            mine = [o for o in dependent.owners if o.uid == entry.uid]
            await self._drop_owners(dependent, mine)
        await self._drop_finalizer(entry, ORPHAN)
        return Result(f"orphaned {len(dependents)} dependents")

    async def _hold_back(self, entry: Entry) -> Result:
        """Foreground: dependents go first, then the owner."""
        dependents = self._graph.dependents(entry.uid)
        if not any(d.blocks(entry.uid) for d in dependents):
            await self._drop_finalizer(entry, FOREGROUND)
            return Result("no dependent holds it back any more")
        for dependent in dependents:
            if not dependent.deleting:
                await self.reconcile(dependent.uid)
        return Result(f"waiting for {len(dependents)} dependents to go")

    async def _sort_owners(self, entry: Entry) -> _Owners:
        sorted_owners = _Owners()
        for reference in entry.owners:
            known = self._graph.entries.get(reference.uid)
            if known is not None:
                waiting = known.is_foreground_deleting
                (sorted_owners.waiting if waiting else sorted_owners.solid).append(reference)
            elif await self._is_absent(entry, reference):
                sorted_owners.dangling.append(reference)
            else:
                sorted_owners.solid.append(reference)
        return sorted_owners

    async def _is_absent(self, entry: Entry, reference: OwnerReference) -> bool:
        """Ask the API server whether an owner we do not know exists."""
        if ("", reference.uid) in self._absent or (entry.namespace, reference.uid) in self._absent:
            return True
        group, _, version = reference.api_version.rpartition("/")
        resource = self._catalog.find_kind(group, version, reference.kind)
        if resource is None:
            # Not served (yet): nothing can be said, so nothing is deleted.
            return False
        if resource.namespaced and not entry.namespace:
            self._recorder.event(
                {
                    "kind": entry.resource.kind,
                    "apiVersion": entry.resource.api_version,
                    "name": entry.name,
                    "uid": entry.uid,
                },
                "Warning",
                "OwnerRefInvalidNamespace",
                f"ownerRef [{reference.api_version}/{reference.kind}, name: {reference.name},"
                f' uid: {reference.uid}] does not exist in namespace ""',
            )
            return False
        namespace = entry.namespace if resource.namespaced else ""
        try:
            answer = await self._client.request("GET", resource.path(namespace, reference.name))
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise
        else:
            found = decode(KubeObject, answer.body)
            if found.metadata.uid == reference.uid:
                return False
        self._note_absent(namespace, reference.uid)
        return True

    # Writing

    async def _delete(self, entry: Entry, policy: str) -> None:
        try:
            await self._client.delete(
                entry.resource,
                entry.name,
                entry.namespace,
                uid=entry.uid,
                propagation_policy=policy,
            )
        except ApiError as error:
            if not is_reason(error, "NotFound", "Conflict"):
                raise

    async def _drop_owners(self, entry: Entry, gone: Sequence[OwnerReference]) -> None:
        uids = {o.uid for o in gone}

        def change(meta: dict[str, Any]) -> bool:
            before = meta.get("ownerReferences") or []
            after = [o for o in before if o.get("uid") not in uids]
            meta["ownerReferences"] = after
            return len(after) != len(before)

        await self._change_metadata(entry, "ownerReferences", change)

    async def _unblock_owners(self, entry: Entry) -> None:
        def change(meta: dict[str, Any]) -> bool:
            references = meta.get("ownerReferences") or []
            blocking = [o for o in references if o.get("blockOwnerDeletion")]
            for reference in blocking:
                reference["blockOwnerDeletion"] = False
            return bool(blocking)

        await self._change_metadata(entry, "ownerReferences", change)

    async def _drop_finalizer(self, entry: Entry, finalizer: str) -> None:
        def change(meta: dict[str, Any]) -> bool:
            before = meta.get("finalizers") or []
            meta["finalizers"] = [f for f in before if f != finalizer]
            return finalizer in before

        await self._change_metadata(entry, "finalizers", change)

    async def _change_metadata(self, entry: Entry, field_name: str, change: Any) -> None:
        """Read, change one list of metadata and write it back against the version read."""
        for _ in range(5):
            try:
                answer = await self._client.request(
                    "GET", entry.resource.path(entry.namespace, entry.name)
                )
                meta = orjson.loads(answer.body)["metadata"]
                if meta["uid"] != entry.uid or not change(meta):
                    return
                body = {
                    "metadata": {
                        "uid": entry.uid,
                        "resourceVersion": meta["resourceVersion"],
                        field_name: meta[field_name],
                    }
                }
                await self._client.patch(entry.resource, entry.name, body, entry.namespace)
            except ApiError as error:
                if is_reason(error, "NotFound"):
                    return
                if is_reason(error, "Conflict"):
                    continue
                raise
            else:
                return
        raise ApiError(409, "Conflict", f"{entry.name} changes too often to be updated")


def collectable(catalog: Catalog) -> list[Resource]:
    """One resource of each stored kind that can be listed, watched and deleted."""
    found: dict[str, Resource] = {}
    for resource in catalog:
        if {"list", "watch", "delete"} <= set(resource.verbs) and resource.plural != "events":
            found.setdefault(resource.group_resource, resource)
    return list(found.values())
