"""Field ownership of writes: between the verbs, which know the request, and storage.

A write by a client carries a :class:`Claim` in its context; storage calls it with the old and
the new object, both in the stored version and defaulted, before admission changes anything. What
the server itself writes carries none and leaves the owners as they are.

Upstream: ``apiserver/pkg/endpoints/handlers/fieldmanager``.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from kutter.api.apply import (
    ManagedFieldsError,
    Owner,
    OwnerKey,
    Owners,
    Updater,
    View,
    is_reset,
    parse_owners,
    read_owners,
    write_owners,
)
from kutter.api.apply.elements import ElementError
from kutter.api.apply.sets import LEAF, FieldSet, Path, difference, from_paths, has
from kutter.apiserver.kinds.strategy import WHOLE_METADATA
from kutter.apiserver.known_specs import KnownSpec, SentSpec
from kutter.apiserver.ports import Tree
from kutter.base.clock import render_time
from kutter.base.memo import exact

if TYPE_CHECKING:
    from kutter.apiserver.context import Call
    from kutter.apiserver.served import Served

MANAGER_LIMIT_BYTES = 128
_STATUS: FieldSet = {"f:status": LEAF}
_SPEC: FieldSet = {"f:spec": LEAF}
_NONE: FieldSet = {}


def manager_of(call: Call) -> str:
    """The field manager the request names, else what its user agent starts with."""
    return call.query.get("fieldManager") or _from_agent(call.request.headers.get("user-agent", ""))


def _stamp(now: datetime) -> str:
    return _stamp_of(now.replace(microsecond=0))


@lru_cache(maxsize=8)
def _stamp_of(second: datetime) -> str:
    return render_time(second)


@lru_cache(maxsize=256)
def _from_agent(agent: str) -> str:
    size, kept = 0, []
    for character in agent.partition("/")[0]:
        if not character.isprintable():
            continue
        size += len(character.encode("utf-8", "replace"))
        if size > MANAGER_LIMIT_BYTES:
            break
        kept.append(character)
    return "".join(kept)


def updater_of(call: Call, subresource: str) -> Updater:
    """The rules of ownership at the place a call writes to; one per served version and place."""
    served = call.served
    updater = served.updaters.get(subresource)
    if updater is None:
        resource = served.resource
        node = served.schema.node if served.schema is not None else None
        ignored = _ignored(served, subresource)
        updater = Updater(resource.api_version, node, _views(call), ignored)
        served.updaters[subresource] = updater
    return updater


def _ignored(served: Served, subresource: str) -> FieldSet:
    resource = served.resource
    if subresource == "status":
        return _status_keeps(served.storage.strategy.status_keeps)
    if not subresource and "status" in resource.subresources:
        return _STATUS if served.storage.strategy.has_status else _NONE
    return _NONE


def _status_keeps(metadata: tuple[str, ...]) -> FieldSet:
    """What a write to /status cannot change: the specification and parts of the metadata."""
    if not metadata:
        return _SPEC
    below = LEAF if metadata == WHOLE_METADATA else {f"f:{field}": LEAF for field in metadata}
    return {"f:metadata": below, **_SPEC}


def _views(call: Call) -> Any:
    """Other versions of the same objects, by apiVersion."""
    server, own = call.server, call.served

    def view_of(api_version: str) -> View | None:
        group, _, version = api_version.rpartition("/")
        resource = server.catalog.find(group, version, own.resource.plural)
        if resource is None or resource.storage_prefix != own.resource.storage_prefix:
            return None
        other = server.served_for(resource)
        node = other.schema.node if other.schema is not None else None
        converter, mine = own.converter, own.resource.api_version
        if converter is None and other.converter is not None:
            # Ours is the stored version, which has nothing to convert; its sibling has.
            converter = other.converter
        if converter is not None:
            translate = converter.translate
            return View(
                node, lambda tree: translate(tree, api_version), lambda tree: translate(tree, mine)
            )
        return View(
            node,
            lambda tree: other.to_served(own.to_stored(_copy(tree))),
            lambda tree: own.to_served(other.to_stored(_copy(tree))),
        )

    return view_of


def _copy(tree: Tree) -> Tree:
    copied: Tree = orjson.loads(orjson.dumps(tree))
    return copied


def owns(owners: Owners, place: Path) -> bool:
    """Whether anybody is tracked for a field."""
    return any(has(owner.fields, place) for owner in owners.values())


def without_place(owners: Owners, place: Path) -> Owners:
    """Owners after a write through scale: who had written the field to the object itself, rather
    than applied it, has it no longer, even if its value stayed (as upstream).
    """
    left: Owners = {}
    for key, owner in owners.items():
        if key.operation == "Update" and not key.subresource and has(owner.fields, place):
            fields = difference(owner.fields, from_paths([place]))
            if fields:
                left[key] = Owner(owner.api_version, fields, owner.time)
        else:
            left[key] = owner
    return left


class Claim:
    """What one create, update or patch does to the owners of its object."""

    __slots__ = ("_key", "_now", "_place", "_served", "_spec", "_subresource", "_updater")

    def __init__(
        self,
        call: Call,
        subresource: str = "",
        place: Path | None = None,
        *,
        spec: SentSpec | None = None,
    ) -> None:
        """``place``: the one field that a write through scale can change. ``spec``: the new
        object's, if what is known of it may be used.
        """
        version = call.served.resource.api_version
        self._served = call.served
        self._updater = updater_of(call, subresource)
        self._key = OwnerKey.updater(manager_of(call), version, subresource)
        self._place = place
        self._now = _stamp(call.now) if place is None else ""
        self._spec = spec if not call.served.converts else None
        self._subresource = subresource

    def __call__(self, old: Tree | None, new: Tree, sent: Any, live: bytes) -> bytes:
        """The owners of ``new``, a stored tree as ``old``; ``sent`` by the client with it.

        An object that validation will refuse (items without their keys) changes no owners.
        """
        try:
            return self._owners(old, new, sent, live)
        except ElementError:
            return live

    def _owners(self, old: Tree | None, new: Tree, sent: Any, live: bytes) -> bytes:
        if self._subresource:
            sent = None
        if old is not None and sent is not None and is_reset(sent):
            return b""
        owners = self._before(sent, live)
        updater, now = self._updater, self._now
        if old is None:
            seen = self._seen(new)
            if not owners:
                spec = self._spec.known if self._spec is not None else None
                if spec is None:
                    return write_owners(updater.create(seen, self._key, now))
                return write_owners(self._created(seen, spec))
            return write_owners(updater.update(owners, {}, seen, self._key, now))
        if not owners:
            # As upstream: nobody was tracked so far, so nobody is from here on.
            return b""
        if self._place is not None and not owns(owners, self._place):
            return live
        after = updater.update(owners, self._seen(old), self._seen(new), self._key, now)
        if self._place is not None:
            after = without_place(after, self._place)
        return write_owners(after)

    def _created(self, new: Tree, spec: KnownSpec) -> Owners:
        """The owners of a new object whose specification is known."""
        updater, key, now = self._updater, self._key, self._now
        if not spec.owned:
            owners = updater.create(new, key, now)
            spec.owned = orjson.dumps(owners[key].fields["f:spec"])
            return owners
        return updater.create(new, key, now, known=("spec", orjson.Fragment(spec.owned)))

    def _before(self, sent: Any, live: bytes) -> Owners:
        """The owners before this write: those sent, if somebody meant to change them."""
        if sent and orjson.dumps(sent) != live:
            try:
                owners = parse_owners(sent)
            except ManagedFieldsError:
                owners = {}
            if owners:
                return owners
        return read_owners(live)

    def _seen(self, tree: Tree) -> Tree:
        """A stored tree as the version written in shows it."""
        if not self._served.converts:
            return tree
        return self._served.to_served(_copy(tree))


def adopt(old: Tree | None, new: Tree, sent: Any, live: bytes) -> bytes:
    """The claim of an apply, which has set the owners already."""
    return exact(orjson.dumps(sent)) if sent else b""


def same_but_times(old: bytes, new: bytes) -> bool:
    """Whether owners differ in nothing but their times: no reason to write."""
    if old == new:
        return True
    before, after = orjson.loads(old or b"[]"), orjson.loads(new or b"[]")
    for entry in (*before, *after):
        entry.pop("time", None)
    same: bool = before == after
    return same
