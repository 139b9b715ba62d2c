"""Deletion: at once, or begun and ended by whoever holds the object."""

from __future__ import annotations

from kutter.api.errors import MODIFIED
from kutter.apiserver.cache import Entry, make_tail
from kutter.apiserver.deletion import check_preconditions, plan_delete
from kutter.apiserver.ports import Tree
from kutter.apiserver.storage.stored import UPDATE_ATTEMPTS, StoredResource, attach, same
from kutter.apiserver.writing import DeleteOptions, WriteContext
from kutter.store.interface import WriteConflictError


class Deletion(StoredResource):
    """The end of objects."""

    async def delete(
        self, context: WriteContext, namespace: str, name: str, options: DeleteOptions
    ) -> tuple[Entry, bool]:
        """Delete or begin to; the object's last state, and whether it is gone."""
        for _ in range(UPDATE_ATTEMPTS):
            entry = await self.read(namespace, name)
            try:
                return await self._delete_once(context, entry, options)
            except WriteConflictError as error:
                await self._catch_up(entry, error)
        raise self._conflict(name, MODIFIED)

    async def _delete_once(
        self, context: WriteContext, entry: Entry, options: DeleteOptions
    ) -> tuple[Entry, bool]:
        strategy = self.strategy
        old, owners = entry.bare_tree, entry.owners
        check_preconditions(self.resource, old, options)
        place = (entry.namespace, entry.name)
        if not context.admitted:
            request = self._request(context, "DELETE", place, new=None, old=old)
            await self._admission.mutate(request)
            await self._admission.validate(request)
        look = self._look(context)
        strategy.check_delete(look, old)
        # Only what begins a deletion in a way of its own writes below metadata.
        beside = entry.bare_tree if self._begins_delete else old
        new = {**beside, "metadata": {**beside["metadata"]}}
        outcome = plan_delete(strategy, new, options, context.now)
        if outcome == "pending":
            return entry, False
        if outcome == "update":
            strategy.begin_delete(look, new)
            if same(new, old):
                return entry, False
            attach(new, owners)
            if context.dry_run:
                return self._entry(entry.namespace, entry.name, new, entry.revision), False
            return await self._put(entry, new, owners), False
        if context.dry_run:
            return entry, True
        changed = not same(new, old)
        marked = changed and outcome == "update-then-delete"
        attach(new, owners)
        # Whoever watches is told of the zero grace period, then of the end, as upstream; nobody
        # can act in between.
        last = self._encode(new) if marked else None
        key = self._key(entry.namespace, entry.name)
        gone = await self.store.delete(key, expected=entry.revision, last=last)
        if gone is None:
            raise self.not_found(entry.name)
        strategy.after_delete(look, new)
        if self._ends_delete:
            await strategy.end_delete(look, new)
        return self._last_state(entry, new, gone[1], last, changed=changed), True

    def _last_state(
        self, entry: Entry, new: Tree, revision: int, last: bytes | None, *, changed: bool
    ) -> Entry:
        """What was deleted, by what has been encoded of it already."""
        if self.converter is not None or (changed and last is None):
            return self._entry(entry.namespace, entry.name, new, revision)
        if last is None:
            return entry.moved(revision)
        tail = make_tail(last, self._head, revision)
        return Entry(self._head, tail, entry.namespace, entry.name, revision)
