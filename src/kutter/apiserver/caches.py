"""All read caches of one server, fed by one subscription to the store.

Between the store and :class:`ResourceCache`; also the :class:`kutter.apiserver.ports.Reader`
that authorization, admission and strategies read through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import cast

from kutter.api.resources import Resource
from kutter.apiserver.batch import Batch
from kutter.apiserver.cache import CacheEvent, Entry, Refine, ResourceCache
from kutter.apiserver.ports import Change, ChangeSink, Tree
from kutter.base.coarse_timers import CoarseTimers
from kutter.store.interface import Event, Record, Store, prefix_end

_ROOT = "/registry/"
# Decoded objects kept for whoever only looks.
_LOOKED_AT_MAX = 512
# Bookmarks of watches that are quiet are due together: an idle server wakes for all of them at
# once, and still no more than a twelfth of all watches of a busy one are told at a time.
BOOKMARK_GRAIN_S = 5.0
Events = list[Event]
Batches = list[tuple[Events, int]]
Waiters = list[tuple[int, asyncio.Future[None]]]


class Caches:
    """One cache per stored resource. ``start`` fills them; from then on they follow the store."""

    def __init__(self, store: Store, resources: Iterable[Resource]) -> None:
        self._store = store
        self._by_prefix: dict[str, ResourceCache] = {}
        self._by_group_resource: dict[str, ResourceCache] = {}
        self._pending: Batches | None = []
        self._waiters: Waiters = []
        # Events of caches that are being opened, by their prefix.
        self._opening: dict[str, Events] = {}
        # What is looked at again and again (namespaces, accounts), by its very state.
        self._looked_at: dict[Entry, Tree] = {}
        self.newest = 0
        self._batch = Batch()
        self.bookmark_timers = CoarseTimers(BOOKMARK_GRAIN_S)
        for resource in resources:
            self.add(resource)

    def add(self, resource: Resource) -> ResourceCache:
        """The cache of a stored resource; versions sharing a prefix share the cache."""
        prefix = resource.storage_prefix
        cache = self._by_prefix.get(prefix)
        if cache is None:
            cache = self._by_prefix[prefix] = ResourceCache(resource)
            cache.batch = self._batch
        self._by_group_resource.setdefault(resource.group_resource, cache)
        return cache

    async def start(self) -> None:
        """Load everything stored. Called once, before the first request."""
        self._store.subscribe(_ROOT, self._take)
        found = await self._store.range(_ROOT, prefix_end(_ROOT))
        for cache, records in groupby(found.records, lambda record: self._cache_of(record.key)):
            if cache is not None:
                cache.load(_as_list(records), found.revision)
        for cache in self._by_prefix.values():
            cache.history_floor = max(cache.history_floor, found.revision)
        self.newest = found.revision
        pending, self._pending = self._pending or [], None
        for events, revision in pending:
            self._take([e for e in events if e.revision > found.revision], revision)

    def stop(self) -> None:
        self._store.unsubscribe(self._take)

    async def open(self, resource: Resource, refine: Refine | None = None) -> ResourceCache:
        """A cache made while serving, filled from the store; replaces one of the same prefix.

        ``refine`` is applied to what was stored before (see :class:`ResourceCache`). Whoever
        follows the replaced cache has to follow this one; watches start anew from here.
        """
        prefix = resource.storage_prefix
        missed = self._opening[prefix] = []
        try:
            found = await self._store.range(f"{prefix}/", prefix_end(f"{prefix}/"))
        finally:
            del self._opening[prefix]
        cache = ResourceCache(resource, refine=refine)
        cache.load(found.records, found.revision)
        for event in missed:
            if event.revision > found.revision:
                cache.apply(event)
        cache.batch = self._batch
        self._by_prefix[prefix] = cache
        self._by_group_resource[resource.group_resource] = cache
        return cache

    def close(self, resource: Resource) -> None:
        """Forget the cache of a resource that is served no more."""
        self._by_prefix.pop(resource.storage_prefix, None)
        self._by_group_resource.pop(resource.group_resource, None)

    def _cache_of(self, key: str) -> ResourceCache | None:
        end = key.find("/", len(_ROOT))
        cache = self._by_prefix.get(key[:end])
        if cache is None:
            # services/specs, apiextensions.k8s.io/customresourcedefinitions
            cache = self._by_prefix.get(key[: key.find("/", end + 1)])
        return cache

    def _take(self, events: Events, revision: int) -> None:
        if self._pending is not None:
            self._pending.append((events, revision))
            return
        if len(events) > 1:
            self._batch.begin()
            try:
                self._apply(events)
            finally:
                self._batch.end()
        else:
            self._apply(events)
        self.newest = max(self.newest, revision)
        if self._waiters:
            self._wake()

    def _apply(self, events: Events) -> None:
        for event in events:
            # Before the listeners: whoever is told of a change sees its revision here.
            self.newest = event.revision
            cache = self._cache_of(event.key)
            if self._opening:
                self._keep(event)
            if cache is not None:
                cache.apply(event)

    def _keep(self, event: Event) -> None:
        for prefix, missed in self._opening.items():
            if event.key.startswith(f"{prefix}/"):
                missed.append(event)

    def _wake(self) -> None:
        waiting: Waiters = []
        for wanted, future in self._waiters:
            if wanted > self.newest:
                waiting.append((wanted, future))
            elif not future.done():
                future.set_result(None)
        self._waiters = waiting

    async def wait_revision(self, revision: int, timeout_s: float) -> bool:
        """Wait until the caches are at ``revision``; False when that took too long."""
        if self.newest >= revision:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, future))
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return False
        finally:
            self._waiters = [w for w in self._waiters if w[1] is not future]
        return True

    # -- ports.Reader ---------------------------------------------------------

    def cache(self, group_resource: str) -> ResourceCache:
        """The cache behind ``pods`` or ``roles.rbac.authorization.k8s.io``; KeyError if none."""
        return self._by_group_resource[group_resource]

    def get(self, group_resource: str, namespace: str, name: str) -> Tree | None:
        entry = self._by_group_resource[group_resource].get(namespace, name)
        return entry.tree if entry else None

    def look(self, group_resource: str, namespace: str, name: str) -> Tree | None:
        entry = self._by_group_resource[group_resource].get(namespace, name)
        if entry is None:
            return None
        tree = self._looked_at.get(entry)
        if tree is None:
            if len(self._looked_at) >= _LOOKED_AT_MAX:
                self._looked_at.clear()
            tree = self._looked_at[entry] = entry.tree
        return tree

    def exists(self, group_resource: str, namespace: str, name: str) -> bool:
        return self._by_group_resource[group_resource].get(namespace, name) is not None

    def labels(self, group_resource: str, namespace: str, name: str) -> Mapping[str, str] | None:
        entry = self._by_group_resource[group_resource].get(namespace, name)
        return None if entry is None else entry.labels

    def list(self, group_resource: str, namespace: str = "") -> Iterator[Tree]:
        for entry in self._by_group_resource[group_resource].entries(namespace):
            yield entry.tree

    def revision(self, group_resource: str) -> int:
        return self._by_group_resource[group_resource].revision

    def on_change(self, group_resource: str, sink: ChangeSink) -> None:
        self._by_group_resource[group_resource].listeners.append(_as_listener(sink))


def _as_list(records: Iterable[Record]) -> list[Record]:
    return [*records]


def _as_listener(sink: ChangeSink) -> Callable[[CacheEvent], None]:
    def listen(event: CacheEvent) -> None:
        sink([cast("Change", event)])  # it has all that a change has

    return listen
