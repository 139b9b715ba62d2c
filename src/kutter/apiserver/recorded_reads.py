"""Reads that are remembered: whether a decision would see today what it saw then.

Between who decides about a write and the read cache. What was read is kept by the very states that
were there, so that asking again is a look for each and decodes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kutter.apiserver.cache import Entry, ResourceCache
from kutter.apiserver.caches import Caches
from kutter.apiserver.ports import ChangeSink, Tree

_Place = tuple[ResourceCache, str, str]


class RecordedReads:
    """A :class:`kutter.apiserver.ports.Reader` of one request's."""

    def __init__(self, caches: Caches) -> None:
        self._caches = caches
        self._entries: dict[_Place, Entry | None] = {}
        self._lists: dict[tuple[ResourceCache, str], list[Entry]] = {}
        self._revisions: dict[ResourceCache, int] = {}
        self._torn = False

    def unchanged(self) -> bool:
        """Whether everything that was read is as it was."""
        if self._torn:
            return False
        for (cache, namespace, name), entry in self._entries.items():
            if cache.get(namespace, name) is not entry:
                return False
        for cache, revision in self._revisions.items():
            if cache.revision != revision:
                return False
        for (cache, namespace), entries in self._lists.items():
            low, high = cache.bounds(namespace)
            if high - low != len(entries) or (entries and cache.slice(low, high) != entries):
                return False
        return True

    def _note(self, group_resource: str, namespace: str, name: str) -> None:
        cache = self._caches.cache(group_resource)
        place, entry = (cache, namespace, name), cache.get(namespace, name)
        # Two looks that saw different states cannot be seen again.
        if self._entries.setdefault(place, entry) is not entry:
            self._torn = True

    # -- ports.Reader ---------------------------------------------------------

    def get(self, group_resource: str, namespace: str, name: str) -> Tree | None:
        self._note(group_resource, namespace, name)
        return self._caches.get(group_resource, namespace, name)

    def look(self, group_resource: str, namespace: str, name: str) -> Tree | None:
        self._note(group_resource, namespace, name)
        return self._caches.look(group_resource, namespace, name)

    def exists(self, group_resource: str, namespace: str, name: str) -> bool:
        self._note(group_resource, namespace, name)
        return self._caches.exists(group_resource, namespace, name)

    def labels(self, group_resource: str, namespace: str, name: str) -> Mapping[str, str] | None:
        self._note(group_resource, namespace, name)
        return self._caches.labels(group_resource, namespace, name)

    def list(self, group_resource: str, namespace: str = "") -> Iterable[Tree]:
        cache = self._caches.cache(group_resource)
        entries = cache.entries(namespace)
        if self._lists.setdefault((cache, namespace), entries) != entries:
            self._torn = True
        return [entry.tree for entry in entries]

    def revision(self, group_resource: str) -> int:
        cache = self._caches.cache(group_resource)
        found = cache.revision
        if self._revisions.setdefault(cache, found) != found:
            self._torn = True
        return found

    def on_change(self, group_resource: str, sink: ChangeSink) -> None:
        raise AssertionError("a decision follows nothing")
