"""From trees to sets: the fields an object gained, what two states differ in, what is wrong.

:func:`new_fields` runs on every create, so it is compiled: for each shape and each order of keys
seen, a plan says which part of the answer is always the same (scalars, atomic values) and which
fields have to be looked into.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kutter.api.apply.elements import ElementError
from kutter.api.apply.plans import PLAN_ITEMS_LIMIT, PLAN_LIMIT, Visit, visit_elements
from kutter.api.apply.sets import LEAF, SELF, FieldSet, ordered, union, without_trees
from kutter.api.apply.shapes import Shape

Tree = dict[str, Any]

# Never owned by anybody.
ROOT_UNOWNED = frozenset({"apiVersion", "kind"})
METADATA_UNOWNED = frozenset(
    {
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    }
)
_ROOT_APART = ROOT_UNOWNED | {"metadata"}
_NO_KEYS: frozenset[str] = frozenset()
UNOWNED: FieldSet = {
    "f:apiVersion": LEAF,
    "f:kind": LEAF,
    "f:metadata": {SELF: LEAF, **{f"f:{name}": LEAF for name in sorted(METADATA_UNOWNED)}},
}


class Changes(NamedTuple):
    """What one state lacks, has otherwise, and has more than another."""

    removed: FieldSet
    modified: FieldSet
    added: FieldSet

    def __bool__(self) -> bool:
        return bool(self.removed or self.modified or self.added)

    def without(self, ignored: FieldSet) -> Changes:
        if not ignored:
            return self
        return Changes(
            without_trees(self.removed, ignored),
            without_trees(self.modified, ignored),
            without_trees(self.added, ignored),
        )


# -- what is new ----------------------------------------------------------------


def new_fields(tree: Tree, shape: Shape) -> FieldSet:
    """Every field of an object that was not there before, but what nobody owns."""
    visit = shape.compiled.get("root")
    if visit is None:
        visit = shape.compiled["root"] = _new_mapping(shape, present=True, skip=ROOT_UNOWNED)
    found: FieldSet = visit(tree) or {}
    return found


def _new(shape: Shape, *, present: bool, skip: frozenset[str] = frozenset()) -> Visit | None:
    """The walk over a value that is new, None where it is owned as a whole. ``present``: its
    empty form was there already.
    """
    if shape.form == "leaf":
        return None
    variant = (present, skip)
    visit: Visit | None = shape.compiled.get(variant)
    if visit is None:
        # Recursive types: who needs it meanwhile finds the one being made.
        made: list[Visit] = []

        def late(value: Any) -> FieldSet | None:
            return made[0](value)

        shape.compiled[variant] = late
        if shape.form in ("set", "keyed"):
            visit = _new_list(shape, present=present)
        elif shape.form == "deduced":
            visit = _new_deduced(shape, present=present)
        else:
            visit = _new_mapping(shape, present=present, skip=skip)
        made.append(visit)
        shape.compiled[variant] = visit
    return visit


def _new_deduced(shape: Shape, *, present: bool) -> Visit:
    mapping = _new_mapping(shape, present=present, skip=frozenset())
    return lambda value: mapping(value) if type(value) is dict else LEAF


def _new_mapping(shape: Shape, *, present: bool, skip: frozenset[str]) -> Visit:
    plans: dict[tuple[str, ...], tuple[FieldSet, list[tuple[str, str, Visit]]]] = {}
    root = skip is ROOT_UNOWNED

    def plan(keys: tuple[str, ...]) -> tuple[FieldSet, list[tuple[str, str, Visit]]]:
        base: FieldSet = {} if present else {SELF: LEAF}
        inner: list[tuple[str, str, Visit]] = []
        for key in sorted(keys):
            if key in skip:
                continue
            name = "f:" + key
            base[name] = LEAF
            below = shape.field(key)
            if below is None:
                continue
            if root and key == "metadata":
                visit: Visit | None = _new(below, present=True, skip=METADATA_UNOWNED)
            else:
                visit = _new(below, present=present and shape.embeds(key, below))
            if visit is not None:
                inner.append((key, name, visit))
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
            return None if present else LEAF
        keys = tuple(value)
        base, inner = plans.get(keys) or plan(keys)
        if not inner:
            return base or None
        out = base.copy()
        for key, name, below in inner:
            found = below(value[key])
            if found is None:
                del out[name]
            else:
                out[name] = found
        return out or None

    return visit


def _new_list(shape: Shape, *, present: bool) -> Visit:
    visit = _new(shape.item, present=False)
    return visit_elements(shape, visit, own=not present, empty=None if present else LEAF)


# -- what differs ---------------------------------------------------------------


def compare(old: Tree, new: Tree, shape: Shape) -> Changes:
    """What differs between two states of one object, but what nobody owns.

    Raises ElementError for list items without their keys.
    """
    out = _Collector()
    out.compare_mappings(old, new, shape, (), _ROOT_APART)
    before, after = old.get("metadata"), new.get("metadata")
    below = shape.field("metadata")
    if below is not None:
        before = before if isinstance(before, dict) else {}
        after = after if isinstance(after, dict) else {}
        if below.form in ("struct", "map", "deduced"):
            out.compare_mappings(before, after, below, ("f:metadata",), METADATA_UNOWNED)
        elif _owned(before) != _owned(after):
            out.compare(before, after, below, ("f:metadata",))
    return out.changes()


def _owned(metadata: Tree) -> Tree:
    return {key: value for key, value in metadata.items() if key not in METADATA_UNOWNED}


class _Collector:
    """Sets being built; parts found whole are hung in by path."""

    def __init__(self) -> None:
        self._removed: FieldSet = {}
        self._modified: FieldSet = {}
        self._added: FieldSet = {}
        # The nodes made here; what is hung in below them is ordered already.
        self._own = [self._removed, self._modified, self._added]

    def changes(self) -> Changes:
        for node in self._own:
            if len(node) > 1:
                items = ordered(node)
                node.clear()
                node.update(items)
        return Changes(self._removed, self._modified, self._added)

    def _insert(self, root: FieldSet, path: tuple[str, ...], found: FieldSet) -> None:
        node = root
        for name in path[:-1]:
            below = node.get(name)
            if below is None:
                below = node[name] = {}
                self._own.append(below)
            node = below
        held = node.get(path[-1])
        if held is None:
            node[path[-1]] = found
        else:
            node[path[-1]] = union({path[-1]: held}, {path[-1]: found})[path[-1]]

    def compare(self, old: Any, new: Any, shape: Shape, path: tuple[str, ...]) -> None:
        """Two values that differ."""
        form = shape.form
        if form != "leaf" and type(old) is type(new):
            if type(new) is dict and form in ("struct", "map", "deduced"):
                self.compare_mappings(old, new, shape, path)
                return
            if type(new) is list and form in ("set", "keyed"):
                self._compare_lists(old, new, shape, path)
                return
        if form != "leaf" and (old is None or new is None):
            # Null and empty are alike for what is owned by its parts.
            if new is None:
                self._whole(self._removed, old, shape, path, present=True)
            else:
                self._whole(self._added, new, shape, path, present=True)
            return
        self._insert(self._modified, path, LEAF)

    def compare_mappings(
        self,
        old: Tree,
        new: Tree,
        shape: Shape,
        path: tuple[str, ...],
        skip: frozenset[str] = _NO_KEYS,
    ) -> None:
        for key, value in new.items():
            if key in skip:
                continue
            if key in old:
                before = old[key]
                if before is value or (before == value and type(before) is type(value)):
                    continue
                below = shape.field(key)
                if below is not None:
                    self.compare(before, value, below, (*path, "f:" + key))
            else:
                self._whole_field(self._added, key, value, shape, path)
        for key, value in old.items():
            if key not in new and key not in skip:
                self._whole_field(self._removed, key, value, shape, path)

    def _whole_field(
        self, target: FieldSet, key: str, value: Any, shape: Shape, path: tuple[str, ...]
    ) -> None:
        below = shape.field(key)
        if below is not None:
            present = shape.embeds(key, below)
            self._whole(target, value, below, (*path, "f:" + key), present=present)

    def _whole(
        self, target: FieldSet, value: Any, shape: Shape, path: tuple[str, ...], *, present: bool
    ) -> None:
        visit = _new(shape, present=present)
        found = LEAF if visit is None else visit(value)
        if found is not None:
            self._insert(target, path, found)

    def _compare_lists(
        self, old: list[Any], new: list[Any], shape: Shape, path: tuple[str, ...]
    ) -> None:
        before, after = _by_element(old, shape), _by_element(new, shape)
        item = shape.item
        for name in [*before, *(name for name in after if name not in before)]:
            olds, news = before.get(name, []), after.get(name, [])
            here = (*path, name)
            if len(olds) <= 1 and len(news) <= 1:
                if not olds:
                    self._whole(self._added, news[0], item, here, present=False)
                elif not news:
                    self._whole(self._removed, olds[0], item, here, present=False)
                elif olds[0] != news[0]:
                    self.compare(olds[0], news[0], item, here)
            elif len(olds) > 1 and len(news) > 1:
                if olds != news:
                    self._insert(self._modified, here, LEAF)
            elif len(olds) > 1:
                # Doubled before: owned as a whole until now.
                if news:
                    self._whole(self._added, news[0], item, here, present=False)
                self._insert(self._removed, here, LEAF)
            else:
                if olds:
                    self._whole(self._removed, olds[0], item, here, present=False)
                self._insert(self._added, here, LEAF)


def _by_element(items: list[Any], shape: Shape) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in items:
        found.setdefault(shape.element(item), []).append(item)
    return found


# -- what is wrong --------------------------------------------------------------


def faults(value: Any, shape: Shape, path: str = "") -> list[str]:
    """What keeps a configuration from being applied, in upstream's words."""
    if value is None:
        return []
    node = shape.node
    form = shape.form
    if form == "deduced":
        return []
    found: list[str] = []
    if node is not None and node.type in ("object", "map"):
        if type(value) is not dict:
            return [_at(path, f"expected map, got &{{{_plain(value)}}}")]
        for key, item in value.items():
            below = shape.field(key)
            if below is None:
                found.append(_at(f"{path}.{key}", "field not declared in schema"))
                break
            if type(item) is not str or not below.is_text:
                found += faults(item, below, f"{path}.{key}")
        return found
    if node is not None and node.type == "list":
        if type(value) is not list:
            return [_at(path, f"expected list, got &{{{_plain(value)}}}")]
        return _list_faults(value, shape, path)
    expected = _scalar_fault(value, node.type if node is not None else "any")
    return [_at(path, expected)] if expected else []


def _list_faults(value: list[Any], shape: Shape, path: str) -> list[str]:
    from kutter.api.apply.elements import shown

    found: list[str] = []
    seen: set[str] = set()
    for index, item in enumerate(value):
        step = f"[{index}]"
        if shape.form in ("set", "keyed"):
            try:
                name = shape.element(item)
            except ElementError as error:
                return [*found, _at(path, f"element {index}: {error}")]
            step = shown(name)
            if name in seen:
                found.append(_at(path, f"duplicate entries for key {step}"))
            seen.add(name)
        found += faults(item, shape.item, path + step)
    return found


_NUMBERS = frozenset({"int32", "int64", "double"})


def _scalar_fault(value: Any, kind: str) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in _NUMBERS:
        return "" if is_number else f"expected numeric (int or float), got {_go_type(value)}"
    if kind in ("string", "byte"):
        if isinstance(value, str):
            return ""
        return f"expected string, got &value.valueUnstructured{{Value:{_plain(value)}}}"
    if kind == "boolean":
        return "" if isinstance(value, bool) else f"expected boolean, got &{{{_plain(value)}}}"
    if isinstance(value, dict | list):
        return f"expected any scalar, got &{{{_plain(value)}}}"
    return ""


def _at(path: str, message: str) -> str:
    return f"{path}: {message}" if path else message


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, dict):
        return "map[string]interface {}"
    return "[]interface {}" if isinstance(value, list) else "string"


def _plain(value: Any) -> str:
    """A value as Go prints it with %v."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{k}:{_plain(value[k])}' for k in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(_plain(item) for item in value)}]"
    return "<nil>" if value is None else str(value)
