"""Strategic merge patch: a merge patch that knows lists by their items' keys.

The schema tells which lists merge and by which key. Directives: ``$patch`` (replace, delete),
``$deleteFromPrimitiveList/<field>``, ``$setElementOrder/<field>``, ``$retainKeys``. Where the
schema knows nothing of a field, objects merge and lists are replaced.
Upstream: contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from kutter.api.patch.errors import PatchError, copy_tree, depth_guarded, go_text
from kutter.api.schema.node import Node

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_FROM = "$deleteFromPrimitiveList/"
SET_ORDER = "$setElementOrder/"

_BAD_RETAIN = "invalid patch format of retainKeys"
_BAD_ORDER = "invalid patch format of setElementOrder list"
_GO_NAMES = {str: "string", int: "int64", bool: "bool", dict: "map[string]interface {}"}
_BAD_DELETE = "invalid patch format of primitive list"

Tree = dict[str, Any]


@depth_guarded
def apply_strategic_patch(node: Node | None, target: Tree, patch: Tree) -> Tree:
    """``target`` with ``patch`` merged in by the schema ``node``. Raises PatchError."""
    return _merge_object(target, patch, node)


def merges(field: Node | None) -> bool:
    """Whether a list field merges its items."""
    return field is not None and field.type == "list" and "merge" in field.patch_strategies


def _merge_object(target: Tree, patch: Tree, node: Node | None) -> Tree:
    directive = patch.get(DIRECTIVE)
    if DIRECTIVE in patch:
        if directive == "replace":
            return {key: copy_tree(v) for key, v in patch.items() if key != DIRECTIVE}
        if directive == "delete":
            return {}
        raise PatchError(f"unknown patch type: {directive} in map: {go_text(patch)}", 500)
    merged = _retained(target, patch)
    done = _apply_orders(merged, patch, node)
    for key, change in patch.items():
        if key in done or key == RETAIN_KEYS or key.startswith(SET_ORDER):
            continue
        if key.startswith("$deleteFromPrimitiveList"):
            _delete_from(merged, key, change)
        elif change is None:
            merged.pop(key, None)
        else:
            field = node.child(key) if node is not None else None
            _merge_field(merged, key, change, field)
    return merged


def _merge_field(merged: Tree, key: str, change: Any, field: Node | None) -> None:
    present = merged.get(key)
    if type(present) is dict and type(change) is dict:
        if field is not None and "replace" in field.patch_strategies:
            merged[key] = copy_tree(change)
        else:
            merged[key] = _merge_object(present, change, field)
    elif type(present) is list and type(change) is list and field is not None and merges(field):
        merged[key] = _merge_list(present, change, field)
    elif type(change) is list and not merges(field):
        merged[key] = copy_tree(change)
    elif type(change) is dict and DIRECTIVE in change:
        merged.pop(key, None)
    else:
        merged[key] = _bare(change)


def _retained(target: Tree, patch: Tree) -> Tree:
    if RETAIN_KEYS not in patch:
        return dict(target)
    keys = patch[RETAIN_KEYS]
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise PatchError(_BAD_RETAIN, 400)
    kept = set(keys)
    for key, change in patch.items():
        if change is not None and key not in kept and not key.startswith("$"):
            raise PatchError(_BAD_RETAIN, 400)
    return {key: value for key, value in target.items() if key in kept}


def _bare(value: Any) -> Any:
    """A copy of something new without nulls, directives and what they mark for deletion."""
    if type(value) is dict:
        return {
            key: _bare(item)
            for key, item in value.items()
            if item is not None
            and not key.startswith((RETAIN_KEYS, DELETE_FROM, SET_ORDER))
            and not (type(item) is dict and DIRECTIVE in item)
        }
    if type(value) is list:
        return [_bare(item) for item in value if not (type(item) is dict and DIRECTIVE in item)]
    return value


def _delete_from(merged: Tree, key: str, items: Any) -> None:
    prefix, slash, name = key.partition("/")
    if not slash or prefix + slash != DELETE_FROM:
        raise PatchError(_BAD_DELETE, 400)
    present = merged.get(name)
    if items is None:
        merged.pop(name, None)
    elif type(present) is list and type(items) is list:
        gone = {item_identity(item, "") for item in items}
        merged[name] = [item for item in present if item_identity(item, "") not in gone]


def _apply_orders(merged: Tree, patch: Tree, node: Node | None) -> set[str]:
    """Merge the lists whose order the patch sets; their keys in the patch are then done with."""
    done: set[str] = set()
    for directive, order in patch.items():
        if not directive.startswith("$setElementOrder"):
            continue
        prefix, slash, key = directive.partition("/")
        if not slash or prefix + slash != SET_ORDER:
            raise PatchError(_BAD_ORDER, 400)
        if type(order) is not list:
            name = _GO_NAMES.get(type(order), type(order).__name__)
            raise PatchError(f"expected a []interface {{}}, but received a {name}", 500)
        field = node.child(key) if node is not None else None
        present, change = merged.get(key), patch.get(key)
        for found in (present, change):
            if found is not None and type(found) is not list:
                raise PatchError(
                    f"expected a []interface {{}}, but received a {type(found).__name__}", 500
                )
        if field is None:
            raise PatchError(
                f"unable to find api field in struct {node.name if node else ''} "
                f'for the json field "{key}"',
                500,
            )
        if change is None and key in patch:
            continue  # null: the list goes
        _check_order(change or [], order, field)
        if present is None and change is None:
            continue
        if present is None:
            together = _bare(change)
        elif change is None:
            together = present
        elif merges(field):
            together = _merge_list(present, change, field)
        else:
            together = copy_tree(change)
        merged[key] = _in_order(together, order, present or [], field.merge_key)
        done.add(key)
    return done


def _check_order(change: list[Any], order: list[Any], field: Node) -> None:
    """Items of the patch must come in the order's order."""
    if not change or not order:
        return
    places = iter([item_identity(item, field.merge_key) for item in order])
    for item in change:
        if type(item) is dict and DIRECTIVE in item:
            continue
        wanted = item_identity(item, field.merge_key)
        if not any(place == wanted for place in places):
            raise PatchError(
                f"The order in patch list:\n{go_text(change)}\n doesn't match $setElementOrder "
                f"list:\n{go_text(order)}\n",
                500,
            )


def _merge_list(present: list[Any], change: list[Any], field: Node) -> list[Any]:
    if not present and not change:
        return present
    key = field.merge_key
    if holds_objects(present, change):
        if not key:
            raise PatchError(f"cannot merge lists without merge key for {field.go_type()}", 500)
        return _merge_objects(present, change, field)
    together = list(present)
    known = {item_identity(item, "") for item in present}
    for item in change:
        identity = item_identity(item, "")
        if identity not in known:
            known.add(identity)
            together.append(item)
    return _in_order(together, change, present, "")


def _merge_objects(present: list[Any], change: list[Any], field: Node) -> list[Any]:
    key = field.merge_key
    merged: dict[Hashable, Any] = {}
    for position, item in enumerate(present):
        # Items without their key (or with a doubled one) stay, under a name of their own.
        found = item_identity(item, key) if key in item else ("", position)
        merged[("", position) if found in merged else found] = item
    replace = False
    plain: list[Any] = []
    for item in change:
        if DIRECTIVE not in item:
            plain.append(item)
            continue
        match item[DIRECTIVE]:
            case "delete":
                merged.pop(item_identity(item, key), None)
            case "replace":
                replace = True
            case "merge":
                raise PatchError("merging lists cannot yet be specified in the patch", 500)
            case other:
                raise PatchError(f"unknown patch type: {other} in map: {go_text(item)}", 500)
    if replace:
        return [_bare(item) for item in plain]
    for item in plain:
        identity = item_identity(item, key)
        known = merged.get(identity)
        if known is None:
            merged[identity] = _bare(item)
        else:
            merged[identity] = _merge_object(known, item, field.items)
    return _in_order(list(merged.values()), plain, present, key)


def holds_objects(*lists: list[Any]) -> bool:
    """Whether the items are objects; all must be alike."""
    kinds = {type(item) for items in lists for item in items}
    if list in kinds:
        raise PatchError("lists of lists are not supported", 422)
    if len(kinds) > 1:
        raise PatchError(f"list element types are not identical: {go_text(list(lists))}", 500)
    return dict in kinds


def item_identity(item: Any, key: str) -> Hashable:
    """What tells an item from the others: its merge key's value, or a scalar itself."""
    if key:
        if type(item) is not dict:
            raise PatchError(
                "expected a map[string]interface {}, but received a " + type(item).__name__, 500
            )
        if key not in item:
            raise PatchError(
                f"map: {go_text(item)} does not contain declared merge key: {key}", 500
            )
        item = item[key]
    if type(item) in (dict, list):
        raise PatchError(f"{go_text(item)} cannot be a merge key's value", 500)
    return type(item) is bool, item


def _in_order(items: list[Any], order: list[Any], live: list[Any], key: str) -> list[Any]:
    """Named items in the order's order, the others in the live order, put between as they were.

    The order given is kept; an item nobody named goes before the first named one that follows it
    in the live list. Known difference: when one patch deletes and adds items of a list, upstream
    sometimes places the others by a half-changed live list (its slices share memory).
    """
    places: dict[Hashable, int] = {}
    for position, item in enumerate(order):
        places.setdefault(item_identity(item, key), position)
    was: dict[Hashable, int] = {}
    for position, item in enumerate(live):
        if not key or key in item:
            was.setdefault(item_identity(item, key), position)

    def identity(item: Any) -> Hashable:
        return item_identity(item, key) if not key or key in item else id(item)

    named = sorted(
        (item for item in items if identity(item) in places), key=lambda i: places[identity(i)]
    )
    others = [item for item in items if identity(item) not in places]
    others.sort(key=lambda i: was.get(identity(i), len(live)))
    result: list[Any] = []
    at = 0
    for item in named:
        place = was.get(identity(item))
        while place is not None and at < len(others):
            before = was.get(identity(others[at]))
            if before is None or before > place:
                break
            result.append(others[at])
            at += 1
        result.append(item)
    return result + others[at:]
