"""The fields a configuration names: leaves, items of lists, keys of maps; no structs.

Runs several times for each apply, so it is compiled as :func:`kutter.api.apply.walk.new_fields`
is: for each shape and each order of keys seen, a plan says what is always the same and which
fields have to be looked into.
"""

from __future__ import annotations

from typing import Any

from kutter.api.apply.plans import PLAN_ITEMS_LIMIT, PLAN_LIMIT, Visit, visit_elements
from kutter.api.apply.sets import LEAF, SELF, FieldSet
from kutter.api.apply.shapes import Shape
from kutter.api.apply.walk import Tree


def fields_of(tree: Tree, shape: Shape, *, structs: bool = False) -> FieldSet:
    """The fields ``tree`` names. Raises ElementError for list items without their keys.

    ``structs``: as :func:`with_structs`.
    """
    visit = _compiled(shape, own=False, structs=structs)
    return (visit(tree) if visit is not None else None) or {}


def with_structs(fields: FieldSet, shape: Shape | None) -> FieldSet:
    """``fields`` with every declared field that has members below a member itself."""
    if not fields:
        return fields
    out: FieldSet = {}
    for key, below in fields.items():
        if not below or key == SELF:
            out[key] = below
            continue
        inner: Shape | None = None
        declared = False
        if shape is not None:
            if key[0] == "f" and shape.form in ("struct", "map", "deduced"):
                inner = shape.field(key[2:])
                declared = shape.declares(key[2:])
            elif key[0] == "k" and shape.form == "keyed":
                inner = shape.item
        full = with_structs(below, inner)
        out[key] = {SELF: LEAF, **full} if declared and SELF not in full else full
    return out


def _compiled(shape: Shape, *, own: bool, structs: bool) -> Visit | None:
    """The walk over a value, None where it is a leaf. ``own``: the value is a member itself."""
    if shape.form == "leaf":
        return None
    variant = ("named", own, structs)
    visit: Visit | None = shape.compiled.get(variant)
    if visit is None:
        # Recursive types: who needs it meanwhile finds the one being made.
        made: list[Visit] = []

        def late(value: Any) -> FieldSet | None:
            return made[0](value)

        shape.compiled[variant] = late
        if shape.form in ("set", "keyed"):
            visit = _list(shape, own=own, structs=structs)
        else:
            visit = _mapping(shape, own=own, structs=structs)
        made.append(visit)
        shape.compiled[variant] = visit
    return visit


def _mapping(shape: Shape, *, own: bool, structs: bool) -> Visit:
    plans: dict[tuple[str, ...], tuple[FieldSet, list[tuple[str, str, Visit, bool]]]] = {}

    def plan(keys: tuple[str, ...]) -> tuple[FieldSet, list[tuple[str, str, Visit, bool]]]:
        base: FieldSet = {SELF: LEAF} if own else {}
        inner: list[tuple[str, str, Visit, bool]] = []
        for key in sorted(keys):
            below = shape.field(key)
            if below is None:
                continue
            name = "f:" + key
            base[name] = LEAF
            declared = shape.declares(key)
            visit = _compiled(below, own=structs or not declared, structs=structs)
            if visit is not None:
                inner.append((key, name, visit, declared))
        if len(plans) >= PLAN_LIMIT:
            plans.clear()
        made = (base, inner)
        if len(keys) <= PLAN_ITEMS_LIMIT:
            plans[keys] = made
        return made

    def visit(value: Any) -> FieldSet | None:
        if type(value) is not dict:
            return LEAF
        if not value:
            return None
        keys = tuple(value)
        base, inner = plans.get(keys) or plan(keys)
        out = base
        if inner:
            out = base.copy()
            for key, name, below, declared in inner:
                item = value[key]
                found = below(item)
                if found:
                    out[name] = found
                elif found is None and declared and item != {}:
                    del out[name]
        return out if len(out) > own else None

    return visit


def _list(shape: Shape, *, own: bool, structs: bool) -> Visit:
    visit = _compiled(shape.item, own=True, structs=structs)
    return visit_elements(shape, visit, own=own, empty=None)
