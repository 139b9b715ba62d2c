"""What apply computes: the patch that makes an object what its file says.

Three states meet: ``original``, what was applied last; ``modified``, what is to be applied;
``current``, what is there. Fields in ``modified`` win, fields that were in ``original`` and no
longer are in ``modified`` go, everything else is left to whoever set it. The patch is strategic
when the schema is known and a JSON merge patch when ``node`` is None. Unlike upstream's, it says
nothing about fields and orders that are already right, so an apply without effect is ``{}``.
Upstream: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from kutter.api.patch.errors import copy_tree, depth_guarded
from kutter.api.patch.json_patch import same
from kutter.api.patch.strategic import (
    DELETE_FROM,
    DIRECTIVE,
    RETAIN_KEYS,
    SET_ORDER,
    holds_objects,
    item_identity,
    merges,
)
from kutter.api.schema.node import Node

Tree = dict[str, Any]


class _Three(NamedTuple):
    """One field's three states."""

    original: Any
    want: Any
    have: Any


@depth_guarded
def plan_apply(node: Node | None, original: Tree, modified: Tree, current: Tree) -> Tree:
    """The patch from ``current``; ``{}`` when there is nothing to do.

    Raises PatchError for lists that cannot be merged (items without their merge key).
    """
    return _plan_object(original, modified, current, node, retain=False)


@depth_guarded
def plan_change(node: Node | None, before: Tree, after: Tree) -> Tree:
    """The patch that turns ``before`` into ``after``: for edits, without a last-applied state."""
    return _plan_object(before, after, before, node, retain=False)


def _plan_object(
    original: Tree, modified: Tree, current: Tree, node: Node | None, *, retain: bool
) -> Tree:
    patch: Tree = {}
    for key, want in modified.items():
        if key not in current:
            if want is not None:
                patch[key] = copy_tree(want)
            continue
        field = node.child(key) if node is not None else None
        _plan_field(patch, key, _Three(original.get(key), want, current[key]), field)
    for key in original:
        if key not in modified and key in current:
            patch[key] = None
    if retain:
        kept = sorted(key for key, want in modified.items() if want is not None)
        if kept and (patch or current.keys() - modified.keys()):
            patch[RETAIN_KEYS] = kept
    return patch


def _plan_field(patch: Tree, key: str, states: _Three, field: Node | None) -> None:
    original, want, have = states
    strategies = field.patch_strategies if field is not None else frozenset()
    if type(want) is dict and type(have) is dict and "replace" not in strategies:
        before = original if type(original) is dict else {}
        below = _plan_object(before, want, have, field, retain="retainKeys" in strategies)
        if below:
            patch[key] = below
    elif type(want) is list and type(have) is list and have and field and merges(field):
        items = original if type(original) is list else []
        _plan_list(patch, key, _Three(items, want, have), field)
    elif not same(want, have):
        patch[key] = copy_tree(want)


def _plan_list(patch: Tree, key: str, states: _Three, field: Node) -> None:
    original, want, have = states
    merge_key = field.merge_key if holds_objects(original, want, have) else ""
    wanted = {item_identity(item, merge_key): item for item in want}
    present = {item_identity(item, merge_key): item for item in have}
    before = {item_identity(item, merge_key): item for item in original}
    gone = [name for name in before if name not in wanted and name in present]
    if merge_key:
        retain = "retainKeys" in field.patch_strategies
        changes = []
        for name, item in wanted.items():
            if name not in present:
                changes.append(copy_tree(item))
                continue
            below = _plan_object(
                before.get(name, {}), item, present[name], field.items, retain=retain
            )
            if below:
                changes.append({**below, merge_key: item[merge_key]})
        deletions = [{DIRECTIVE: "delete", merge_key: before[name][merge_key]} for name in gone]
        order: list[Any] = [{merge_key: item[merge_key]} for item in want]
    else:
        changes = [item for name, item in wanted.items() if name not in present]
        deletions = []
        if gone:
            patch[f"{DELETE_FROM}{key}"] = [before[name] for name in gone]
        order = list(want)
    if changes or deletions:
        patch[key] = changes + deletions
    if changes or gone or not _ordered_alike(wanted, present):
        patch[f"{SET_ORDER}{key}"] = order


def _ordered_alike(wanted: dict[Hashable, Any], present: dict[Hashable, Any]) -> bool:
    return [name for name in present if name in wanted] == [n for n in wanted if n in present]
