"""The IPAddress objects of the server's own storage, as services take them."""

from __future__ import annotations

from kutter.api.errors import ApiError
from kutter.apiserver.bootstrap import SYSTEM_USER
from kutter.apiserver.kinds.service_ranges import parent_of
from kutter.apiserver.ports import Tree
from kutter.apiserver.storage import ObjectStorage
from kutter.apiserver.writing import DeleteOptions, WriteContext
from kutter.base.clock import Clock

MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
FAMILY = "ipaddress.kubernetes.io/ip-family"
# Upstream's name for itself; the ServiceCIDR controller counts only what bears it.
MANAGER = "ipallocator.k8s.io"


class StoredAddresses:
    """An address belongs to whoever stores its IPAddress first."""

    def __init__(self, storage: ObjectStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    async def create(self, address: str, family: str, owner: str) -> bool:
        namespace, _, name = owner.partition("/")
        tree: Tree = {
            "kind": "IPAddress",
            "apiVersion": "networking.k8s.io/v1",
            "metadata": {"name": address, "labels": {FAMILY: family, MANAGED_BY: MANAGER}},
            "spec": {
                "parentRef": {
                    "resource": "services",
                    "namespace": namespace,
                    "name": name,
                }
            },
        }
        try:
            await self._storage.create(self._context(), "", tree)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            return self._is_of(address, owner)
        return True

    async def remove(self, address: str, owner: str) -> None:
        if not self._is_of(address, owner):
            return
        try:
            await self._storage.delete(self._context(), "", address, DeleteOptions())
        except ApiError as error:
            if error.reason != "NotFound":
                raise

    def _is_of(self, address: str, owner: str) -> bool:
        entry = self._storage.cache.get("", address)
        return entry is not None and parent_of(entry.bare_tree) == owner

    def _context(self) -> WriteContext:
        return WriteContext(user=SYSTEM_USER, now=self._clock.now())
