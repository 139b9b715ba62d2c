"""Objects of one resource in the store: the semantics of create, update and delete.

Between the verbs and the store. Writes are compare-and-write at the revision read. Upstream's
counterpart is the generic registry store (``apiserver/pkg/registry/generic/registry/store.go``);
order of steps and texts follow it.
"""

from __future__ import annotations

from kutter.apiserver.cache import Entry
from kutter.apiserver.ports import Tree
from kutter.apiserver.storage.assignment import Assignment
from kutter.apiserver.storage.deletion import Deletion
from kutter.apiserver.storage.stored import attach
from kutter.store.interface import WriteConflictError


class ObjectStorage(Assignment, Deletion):
    """One stored resource."""

    async def replace(self, entry: Entry, tree: Tree) -> bool:
        """Write what the server itself makes of an object, past admission and strategy.

        ``tree`` is ``entry.bare_tree``, changed; owners stay. False when that lost a race, as
        soon as the cache holds what it lost against.
        """
        owners = entry.owners
        attach(tree, owners)
        try:
            await self._put(entry, tree, owners)
        except WriteConflictError as error:
            await self._catch_up(entry, error)
            return False
        return True
