"""Sets of fields, kept in the very form FieldsV1 has on the wire.

A set is a dict from element text to the set below it. An empty dict is a member without members
below; one with members below is a member itself iff it holds ``"."``. The root is never a member,
so an empty root is the empty set. Laws: no function changes what it is given; results share
parts with the arguments; results are ordered as upstream orders them wherever the arguments are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kutter.api.apply.elements import ElementError, order, parse_element

FieldSet = dict[str, Any]
Path = tuple[str, ...]

LEAF: FieldSet = {}
SELF = "."
_DEPTH_LIMIT = 200


def is_member(node: FieldSet) -> bool:
    """Whether a set below the root is a member itself."""
    return not node or SELF in node


def ordered(node: FieldSet) -> FieldSet:
    """``node``'s own elements in order."""
    if len(node) < 2:
        return node
    try:
        # Fields alone, which is nearly always, sort as their texts do, and before all others.
        keys = sorted(node)
        if keys[-1][0] not in ".f":
            keys.sort(key=order)
    except ValueError:
        keys = sorted(node)
    return {key: node[key] for key in keys}


def union(first: FieldSet, second: FieldSet) -> FieldSet:
    """Members of either."""
    if not first or first is second:
        return second
    return _union(first, second) if second else first


def _union(first: FieldSet, second: FieldSet) -> FieldSet:
    if first is second:
        return first
    if not first:
        return second if is_member(second) else {SELF: LEAF, **second}
    if not second:
        return first if SELF in first else {SELF: LEAF, **first}
    out = dict(first)
    grown = False
    for key, below in second.items():
        held = first.get(key)
        if held is None:
            out[key] = below
            grown = True
        elif key != SELF:
            out[key] = _union(held, below)
    return ordered(out) if grown else out


def intersection(first: FieldSet, second: FieldSet) -> FieldSet:
    """Members of both."""
    out: FieldSet = {}
    for key, below in first.items():
        other = second.get(key)
        if other is not None:
            both = _intersection(below, other)
            if both is not None:
                out[key] = both
    return out


def _intersection(first: FieldSet, second: FieldSet) -> FieldSet | None:
    if not first:
        return LEAF if is_member(second) else None
    if not second:
        return LEAF if SELF in first else None
    return _normal(intersection(first, second))


def _normal(node: FieldSet) -> FieldSet | None:
    """A node below the root in its one form; None when it holds nothing."""
    if not node:
        return None
    return LEAF if len(node) == 1 and SELF in node else node


def difference(first: FieldSet, second: FieldSet) -> FieldSet:
    """Members of the first and not of the second; members below a removed one stay."""
    if not second or not first:
        return first
    if first is second:
        return {}
    out: FieldSet | None = None
    for key, other in second.items():
        below = first.get(key)
        if below is None:
            continue
        rest = _difference(below, other)
        if rest is not below:
            if out is None:
                out = dict(first)
            if rest is None:
                del out[key]
            else:
                out[key] = rest
    return first if out is None else out


def _difference(first: FieldSet, second: FieldSet) -> FieldSet | None:
    if first is second:
        return None
    if not first:
        return None if is_member(second) else first
    if not second:
        if SELF not in first:
            return first
        return {key: below for key, below in first.items() if key != SELF}
    rest = difference(first, second)
    return first if rest is first else _normal(rest)


def without_trees(first: FieldSet, second: FieldSet) -> FieldSet:
    """Members of the first that neither are in the second nor below one of its members."""
    if first.keys().isdisjoint(second):
        return first
    out: FieldSet = {}
    for key, below in first.items():
        other = second.get(key)
        if other is None:
            out[key] = below
        elif not is_member(other):
            if not below:
                out[key] = below
            else:
                rest = _normal(without_trees(below, other))
                if rest is not None:
                    out[key] = rest
    return out


def contains(first: FieldSet, second: FieldSet) -> bool:
    """Whether all members of the second are members of the first."""
    for key, below in second.items():
        held = first.get(key)
        if held is None or not (held is below or _contains(held, below)):
            return False
    return True


def _contains(first: FieldSet, second: FieldSet) -> bool:
    if not second:
        return is_member(first)
    if not first:
        return len(second) == 1 and SELF in second
    return contains(first, second)


def has(root: FieldSet, path: Path) -> bool:
    """Whether the field at ``path`` is a member."""
    node: FieldSet | None = root
    for element in path:
        assert node is not None
        node = node.get(element)
        if node is None:
            return False
    return bool(path) and node is not None and is_member(node)


def paths(root: FieldSet, prefix: Path = ()) -> Iterator[Path]:
    """Every member, of each level first the members and then what is below."""
    for key, below in root.items():
        if key != SELF and is_member(below):
            yield (*prefix, key)
    for key, below in root.items():
        if key != SELF and below:
            yield from paths(below, (*prefix, key))


def from_paths(members: Iterator[Path] | list[Path] | set[Path]) -> FieldSet:
    """The set of some paths."""
    root: FieldSet = {}
    for path in members:
        one: FieldSet = LEAF
        for element in reversed(path):
            one = {element: one}
        root = union(root, one)
    return root


def parse_set(tree: Any, depth: int = 0) -> FieldSet:
    """FieldsV1 as somebody sent it, in its one form. Raises ElementError."""
    if not isinstance(tree, dict):
        raise ElementError("fields are not an object")
    if depth > _DEPTH_LIMIT:
        raise ElementError("exceeded max depth")
    out: FieldSet = {}
    for key, below in tree.items():
        if key == SELF:
            if depth:
                out[SELF] = LEAF
            continue
        element = parse_element(key)
        if not element:
            continue
        node = parse_set(below, depth + 1)
        held = out.get(element)
        out[element] = node if held is None else _union(held, node)
    if len(out) == 1 and SELF in out:
        return LEAF
    return ordered(out)
