"""What a write does to the owners, and what an apply does to the object.

Order-critical, as upstream: an apply merges, then removes what the applier had and no longer
names unless others own it, then looks for conflicts between live and merged object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kutter.api.apply.conflicts import Conflict
from kutter.api.apply.merge import merge, remove
from kutter.api.apply.named import fields_of, with_structs
from kutter.api.apply.owners import Owner, OwnerKey, Owners, cap_owners
from kutter.api.apply.sets import (
    FieldSet,
    contains,
    difference,
    intersection,
    ordered,
    paths,
    union,
    without_trees,
)
from kutter.api.apply.shapes import Shape, shape_of
from kutter.api.apply.walk import (
    UNOWNED,
    Changes,
    Tree,
    compare,
    new_fields,
)
from kutter.api.schema.node import Node


class View(NamedTuple):
    """A version of a kind: how its objects look and how they come from another version's."""

    node: Node | None
    to_version: Callable[[Tree], Tree]
    """From a tree of the version an :class:`Updater` works in; must not change it."""
    from_version: Callable[[Tree], Tree]


ViewOf = Callable[[str], View | None]
"""The view of an apiVersion; None when it is not served any more."""


class Applied(NamedTuple):
    """The merged object, None when nothing of it changes; its owners; and conflicts, in which
    case neither counts.
    """

    tree: Tree | None
    owners: Owners
    conflicts: list[Conflict]


class Updater:
    """Ownership of one kind as one version names it.

    ``ignored``: what writes at this place cannot change (``status`` on the object itself).
    """

    def __init__(
        self, api_version: str, node: Node | None, view_of: ViewOf, ignored: FieldSet
    ) -> None:
        self.api_version = api_version
        self.shape = shape_of(node)
        self._view_of = view_of
        self._ignored = ignored

    # -- writes ---------------------------------------------------------------

    def create(
        self, tree: Tree, owner: OwnerKey, now: str, *, known: tuple[str, Any] | None = None
    ) -> Owners:
        """The owners of an object nobody owned anything of.

        ``known``: a field of the root, and what to encode as the fields below it.
        """
        if known is None:
            fields = without_trees(new_fields(tree, self.shape), self._ignored)
        else:
            name, below = known
            rest = {key: value for key, value in tree.items() if key != name}
            fields = without_trees(new_fields(rest, self.shape), self._ignored)
            fields = ordered({**fields, f"f:{name}": below})
        return {owner: Owner(self.api_version, fields, now)} if fields else {}

    def update(self, owners: Owners, old: Tree, new: Tree, owner: OwnerKey, now: str) -> Owners:
        """The owners after ``owner`` has made ``new`` of ``old``."""
        changes = compare(old, new, self.shape).without(self._ignored)
        gained = union(changes.modified, changes.added)
        if changes:
            owners = self._take(owners, old, new, changes, owner if gained else None)
        if gained:
            owners[owner] = self._gain(owners.get(owner), changes.removed, gained, now)
        return cap_owners(owners)

    def _gain(self, held: Owner | None, removed: FieldSet, gained: FieldSet, now: str) -> Owner:
        """Who made the change, who may have had some of it: mostly all."""
        if held is None:
            return Owner(self.api_version, gained, now)
        fields = held.fields
        if removed and held.may_have_of(removed):
            fields = difference(fields, removed)
        if fields is held.fields and contains(fields, gained):
            return held.since(now)
        return Owner(self.api_version, union(fields, gained), now)

    def _take(
        self, owners: Owners, old: Tree, new: Tree, changes: Changes, taker: OwnerKey | None
    ) -> Owners:
        """The owners without what changed, but ``taker``."""
        left: Owners = {}
        by_version = {self.api_version: changes}
        for key, held in owners.items():
            if key == taker:
                left[key] = held
                continue
            seen = self._changes_in(held.api_version, old, new, by_version)
            if seen is None:
                continue
            if not any(held.may_have_of(changed) for changed in seen):
                left[key] = held
                continue
            fields = difference(held.fields, seen.modified)
            fields = difference(difference(fields, seen.added), seen.removed)
            if fields:
                same = fields is held.fields
                left[key] = held if same else Owner(held.api_version, fields, held.time)
        return left

    def _changes_in(
        self, version: str, old: Tree, new: Tree, known: dict[str, Changes]
    ) -> Changes | None:
        found = known.get(version)
        if found is None:
            view = self._view_of(version)
            if view is None:
                return None
            if not known[self.api_version]:
                found = known[self.api_version]
            else:
                before, after = view.to_version(old), view.to_version(new)
                found = compare(before, after, shape_of(view.node)).without(self._ignored)
            known[version] = found
        return found

    # -- apply ----------------------------------------------------------------

    def apply(
        self, owners: Owners, live: Tree, config: Tree, owner: OwnerKey, now: str, *, force: bool
    ) -> Applied:
        """``config`` onto ``live`` ({} when there is none). Raises ElementError for list items
        without their keys.
        """
        shape = self.shape
        merged: Tree = merge(live, config, shape)
        last = owners.get(owner)
        fields = without_trees(fields_of(config, shape), self._ignored)
        owners = dict(owners)
        owners[owner] = Owner(self.api_version, fields, last.time if last else "")
        if last is not None and last.fields and not self._names_all(fields, last, owners):
            merged = self._prune(merged, owners, last)
        changes = compare(live, merged, shape).without(self._ignored)
        if not force:
            conflicts = self._conflicts(owners, live, merged, changes, owner)
            if conflicts:
                return Applied(None, owners, conflicts)
        owners = self._take(owners, live, merged, changes, owner)
        own = difference(owners[owner].fields, UNOWNED)
        if own:
            owners[owner] = Owner(self.api_version, own, owners[owner].time)
        else:
            del owners[owner]
        if merged == live:
            return Applied(None, owners, [])
        if owner in owners:
            owners[owner] = owners[owner].since(now)
        return Applied(merged, owners, [])

    def _conflicts(
        self, owners: Owners, live: Tree, merged: Tree, changes: Changes, owner: OwnerKey
    ) -> list[Conflict]:
        found: list[Conflict] = []
        by_version = {self.api_version: changes}
        for key in sorted(owners):
            if key == owner:
                continue
            held = owners[key]
            seen = self._changes_in(held.api_version, live, merged, by_version)
            if seen is not None:
                taken = intersection(held.fields, union(seen.modified, seen.added))
                found += [Conflict(key, path) for path in paths(taken)]
        return found

    def _names_all(self, fields: FieldSet, last: Owner, owners: Owners) -> bool:
        """Whether an applier still names all it had, so that pruning could take nothing: what it
        had is put back with all that is above it, because it is owned. Where other versions have
        a say, their conversions might.
        """
        version = self.api_version
        return all(held.api_version == version for held in owners.values()) and (
            last.api_version == version and contains(fields, last.fields)
        )

    def _prune(self, merged: Tree, owners: Owners, last: Owner) -> Tree:
        """``merged`` without what an applier had ``last``, names no longer, and nobody owns."""
        shape = self._shape_in(last.api_version)
        if shape is None:
            return merged
        whole = self._convert(merged, self.api_version, last.api_version)
        had = with_structs(last.fields, shape)
        pruned = self._put_back_owned(whole, _remove(whole, had, shape), owners, last.api_version)
        if pruned is whole:
            return self._convert(whole, last.api_version, self.api_version)
        # What the applier did not have before is not its to remove.
        gone = difference(
            fields_of(whole, shape, structs=True), fields_of(pruned, shape, structs=True)
        )
        left = _remove(whole, intersection(gone, had), shape)
        return self._convert(left, last.api_version, self.api_version)

    def _put_back_owned(self, merged: Tree, pruned: Tree, owners: Owners, version: str) -> Tree:
        """``pruned`` with everything anybody owns, the applier's new configuration included."""
        by_version: dict[str, FieldSet] = {version: {}}
        for held in owners.values():
            known = by_version.get(held.api_version, {})
            by_version[held.api_version] = union(known, held.fields)
        # The version at hand comes first: a conversion may need what it puts back.
        at = version
        for theirs, owned in by_version.items():
            shape = self._shape_in(theirs)
            if shape is None:
                continue
            merged = self._convert(merged, at, theirs)
            pruned = _put_back(merged, self._convert(pruned, at, theirs), owned, shape)
            at = theirs
        return self._convert(pruned, at, version)

    def _shape_in(self, version: str) -> Shape | None:
        if version == self.api_version:
            return self.shape
        view = self._view_of(version)
        return None if view is None else shape_of(view.node)

    def _convert(self, tree: Tree, source: str, target: str) -> Tree:
        """A tree between two served versions."""
        if source == target:
            return tree
        if source != self.api_version:
            view = self._view_of(source)
            assert view is not None, source
            tree = view.from_version(tree)
        if target == self.api_version:
            return tree
        view = self._view_of(target)
        assert view is not None, target
        return view.to_version(tree)


def _put_back(merged: Tree, pruned: Tree, owned: FieldSet, shape: Shape) -> Tree:
    had = fields_of(merged, shape, structs=True)
    kept = union(fields_of(pruned, shape, structs=True), with_structs(owned, shape))
    return _remove(merged, difference(had, kept), shape)


def _remove(tree: Tree, fields: FieldSet, shape: Shape) -> Tree:
    left: Any = remove(tree, fields, shape) if fields else tree
    return left if left is not None else {}
