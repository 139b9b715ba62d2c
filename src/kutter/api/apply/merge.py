"""Trees joined and trees cut: a configuration merged onto an object, fields taken out of one."""

from __future__ import annotations

from typing import Any

from kutter.api.apply.sets import FieldSet, is_member
from kutter.api.apply.shapes import Shape

_NOTHING = object()
_MAPPINGS = ("struct", "map", "deduced")


def merge(live: Any, config: Any, shape: Shape) -> Any:
    """``config`` onto ``live``: leaves are replaced, maps and associative lists joined.

    Items of lists come in the order of the configuration, those only the object has stay where
    they were between their neighbours. Raises ElementError for items without their keys.
    """
    merged = _merge(live, config, shape)
    return {} if merged is _NOTHING else merged


def _merge(left: Any, right: Any, shape: Shape) -> Any:
    if right is _NOTHING:
        return left
    if left is _NOTHING:
        return right
    form = shape.form
    if form == "leaf":
        return right
    if form in _MAPPINGS and _is(left, dict) and _is(right, dict):
        return _merge_mappings(left, right, shape)
    if form in ("set", "keyed") and _is(left, list) and _is(right, list):
        return _merge_lists(left, right, shape)
    return right


def _is(value: Any, container: type) -> bool:
    return type(value) is container or value is None or value is _NOTHING


def _merge_mappings(left: Any, right: Any, shape: Shape) -> Any:
    ours = left if type(left) is dict else {}
    theirs = right if type(right) is dict else {}
    if not ours and not theirs:
        return right
    out: dict[str, Any] = {}
    for key, value in ours.items():
        given = theirs.get(key, _NOTHING)
        below = shape.field(key) if given is not _NOTHING else None
        if below is None:
            out[key] = value
        else:
            out[key] = given if below.form == "leaf" else _merge(value, given, below)
    for key, value in theirs.items():
        if key not in ours:
            out[key] = value
    return out


def _merge_lists(left: Any, right: Any, shape: Shape) -> Any:
    ours = left if type(left) is list else []
    theirs = right if type(right) is list else []
    if not ours and not theirs:
        return right
    left_names = [shape.element(item) for item in ours]
    right_names = [shape.element(item) for item in theirs]
    held: dict[str, Any] = {}
    for name, item in zip(left_names, ours, strict=True):
        # Doubled items are not merged but replaced.
        held[name] = _NOTHING if name in held else item
    given = dict(zip(right_names, theirs, strict=True))
    shared = iter([name for name in right_names if name in held])
    next_shared = next(shared, None)
    done: set[str] = set()
    out: list[Any] = []
    at_left = at_right = 0

    def take(name: str) -> None:
        done.add(name)
        out.append(_merge(held.get(name, _NOTHING), given[name], shape.item))

    while at_left < len(ours) or at_right < len(theirs):
        if at_left < len(ours) and at_right < len(theirs):
            name = left_names[at_left]
            if name == right_names[at_right]:
                take(name)
                at_left += 1
                at_right += 1
                next_shared = next(shared, None)
                continue
            if name in given and next_shared is not None and next_shared != name:
                # Shared, but the configuration has it later or had it before.
                at_left += 1
                continue
        if at_left < len(ours):
            name = left_names[at_left]
            if name not in given:
                out.append(ours[at_left])
                at_left += 1
                continue
            if name in done:
                at_left += 1
        if at_right < len(theirs):
            name = right_names[at_right]
            take(name)
            at_right += 1
            if next_shared == name:
                next_shared = next(shared, None)
    return out


def remove(value: Any, fields: FieldSet, shape: Shape) -> Any:
    """``value`` without the members of ``fields``. What is left empty becomes null."""
    if type(value) is dict and shape.form in _MAPPINGS:
        out: dict[str, Any] = {}
        for key, item in value.items():
            cut = fields.get("f:" + key)
            if cut is None:
                out[key] = item
            elif not is_member(cut):
                below = shape.field(key)
                out[key] = item if below is None else remove(item, cut, below)
        return out or None
    if type(value) is list and shape.form in ("set", "keyed"):
        items: list[Any] = []
        for item in value:
            cut = fields.get(shape.element(item))
            if cut is None:
                items.append(item)
            elif not is_member(cut):
                items.append(remove(item, cut, shape.item))
        return items or None
    # Atomic values cannot lose a part.
    return None if type(value) in (dict, list) else value
