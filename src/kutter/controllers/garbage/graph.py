"""Who owns whom, over all kinds. Pure state; no I/O.

Laws: an entry exists while the object does; ``dependents`` lists exactly the entries that name
an owner's uid, also while that owner is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from kutter.api.resources import Resource
from kutter.api.types.meta_v1 import KubeObject, OwnerReference

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"


class Entry(msgspec.Struct):
    """What the collector must know of one object."""

    uid: str
    resource: Resource
    namespace: str
    name: str
    owners: tuple[OwnerReference, ...]
    deleting: bool
    finalizers: tuple[str, ...]

    @property
    def is_foreground_deleting(self) -> bool:
        return self.deleting and FOREGROUND in self.finalizers

    def blocks(self, owner_uid: str) -> bool:
        """Whether this object holds up the foreground deletion of its owner."""
        return any(o.uid == owner_uid and o.block_owner_deletion for o in self.owners)


@dataclass(slots=True)
class Graph:
    """Entries by uid, and dependents by owner's uid."""

    entries: dict[str, Entry] = field(default_factory=dict)
    _dependents: dict[str, set[str]] = field(default_factory=dict)

    def dependents(self, owner_uid: str) -> list[Entry]:
        return [self.entries[uid] for uid in self._dependents.get(owner_uid, ())]

    def put(self, resource: Resource, item: KubeObject) -> list[str]:
        """Take in an object; answers the uids to look at."""
        meta = item.metadata
        entry = Entry(
            meta.uid,
            resource,
            meta.namespace,
            meta.name,
            meta.owner_references,
            bool(meta.deletion_timestamp),
            tuple(f for f in meta.finalizers if f in (ORPHAN, FOREGROUND)),
        )
        known = self.entries.get(entry.uid)
        self.entries[entry.uid] = entry
        if not entry.owners and (known is None or not known.owners):
            return [entry.uid] if entry.deleting and entry.finalizers else []
        before = {o.uid for o in known.owners} if known else set()
        after = {o.uid for o in entry.owners}
        for uid in before - after:
            self._unlink(uid, entry.uid)
        for uid in after - before:
            self._dependents.setdefault(uid, set()).add(entry.uid)
        look: list[str] = []
        owners_changed = known is None or known.owners != entry.owners
        if (entry.owners and owners_changed) or (entry.deleting and entry.finalizers):
            look.append(entry.uid)
        if known is not None and owners_changed:
            look += self._waiting(before | after)
        return look

    def remove(self, uid: str) -> list[str]:
        """Forget an object; answers the uids to look at."""
        entry = self.entries.pop(uid, None)
        if entry is None:
            return []
        owners = {o.uid for o in entry.owners}
        for owner in owners:
            self._unlink(owner, uid)
        return [*self._dependents.get(uid, ()), *self._waiting(owners)]

    def _waiting(self, uids: Iterable[str]) -> list[str]:
        """Those of ``uids`` that wait for their dependents to go."""
        found = []
        for uid in uids:
            entry = self.entries.get(uid)
            if entry is not None and entry.deleting and entry.finalizers:
                found.append(uid)
        return found

    def _unlink(self, owner: str, dependent: str) -> None:
        members = self._dependents.get(owner)
        if members is not None:
            members.discard(dependent)
            if not members:
                del self._dependents[owner]
