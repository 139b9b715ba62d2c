"""The quotas of the server's own storage, as admission reserves in them."""

from __future__ import annotations

from collections.abc import Sequence

from kutter.apiserver.admission.resource_quota import StoredQuota
from kutter.apiserver.cache import Entry
from kutter.apiserver.ports import Tree
from kutter.apiserver.storage import ObjectStorage


class StoredQuotas:
    """Reads from the read cache, writes by compare-and-write, past admission itself."""

    def __init__(self, storage: ObjectStorage) -> None:
        self._storage = storage

    def quotas(self, namespace: str) -> Sequence[StoredQuota]:
        cache = self._storage.cache
        return cache.entries(namespace) if len(cache) else ()

    async def write(self, quota: StoredQuota, tree: Tree) -> bool:
        assert isinstance(quota, Entry)
        return await self._storage.replace(quota, tree)
