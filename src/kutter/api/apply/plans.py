"""What is always the same about the elements of lists that look alike, worked out once.

Between the walks that say what is owned (:mod:`kutter.api.apply.walk`, new objects;
:mod:`kutter.api.apply.named`, configurations) and a list. Laws: a plan depends on nothing but what
elements are told apart by; what is kept is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kutter.api.apply.sets import LEAF, SELF, FieldSet, ordered
from kutter.api.apply.shapes import Shape

PLAN_LIMIT = 256
PLAN_ITEMS_LIMIT = 64

Visit = Callable[[Any], FieldSet | None]
"""From a value to its fields; None for nothing in it, LEAF for a value without parts."""


def visit_elements(
    shape: Shape, item_visit: Visit | None, *, own: bool, empty: FieldSet | None
) -> Visit:
    """The walk over a list of keyed elements or a set.

    ``item_visit``: over an element, None where it is a leaf. ``own``: the list is a member itself.
    ``empty``: of a list without elements.
    """
    element = shape.element
    # What the elements depend on → the answer with leaves, and where items go in it.
    plans: dict[Any, tuple[FieldSet, list[tuple[int, str]]]] = {}
    signature = _signature_of(shape)

    def plan(known: Any, value: list[Any]) -> tuple[FieldSet, list[tuple[int, str]]]:
        names = [element(item) for item in value]
        base: FieldSet = {SELF: LEAF} if own else {}
        base.update(ordered(dict.fromkeys(names, LEAF)))
        # An element given twice is owned as a whole.
        once = [(i, name) for i, name in enumerate(names) if names.count(name) == 1]
        if len(plans) >= PLAN_LIMIT:
            plans.clear()
        made = (base, once if item_visit is not None else [])
        if known is not None and len(names) <= PLAN_ITEMS_LIMIT:
            plans[known] = made
        return made

    def visit(value: Any) -> FieldSet | None:
        if type(value) is not list:
            return LEAF
        if not value:
            return empty
        known = signature(value)
        base, inner = plans.get(known) or plan(known, value)
        if not inner:
            return base
        assert item_visit is not None
        out = base.copy()
        for index, name in inner:
            found = item_visit(value[index])
            if found:
                out[name] = found
        return out

    return visit


_ABSENT = object()


def _signature_of(shape: Shape) -> Callable[[list[Any]], Any]:
    """What the elements of a list depend on, hashable; None when it cannot be told."""
    if shape.form == "set":
        return lambda value: tuple(value) if all(type(item) is str for item in value) else None
    keys = shape.keys

    def of_keys(value: list[Any]) -> Any:
        try:
            if len(keys) == 1:
                (key,) = keys
                return tuple([item.get(key, _ABSENT) for item in value])
            return tuple([item.get(key, _ABSENT) for key in keys for item in value])
        except AttributeError:
            return None

    def signature(value: list[Any]) -> Any:
        known = of_keys(value)
        try:
            hash(known)
        except TypeError:
            return None
        # 1, 1.0 and True are one key of a dict, and different elements.
        return known if known is None else (known, tuple(map(type, known)))

    return signature
