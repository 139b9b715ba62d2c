"""How much an expression may cost at most, told from sizes the schema allows.

Follows cel-go's estimator step by step, since Kubernetes refuses definitions by its numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from kutter.api.cel.macros import ACCUMULATOR
from kutter.api.cel.syntax import (
    Call,
    Comprehension,
    CreateList,
    CreateMap,
    CreateObject,
    Expression,
    Ident,
    Literal,
    Select,
)
from kutter.api.cel.types import Type

MOST = (1 << 64) - 1
_SCALARS = frozenset(("bool", "double", "duration", "int", "timestamp", "type", "uint"))
_LIST_BASE, _MAP_BASE, _OBJECT_BASE = 10, 30, 40


class Range:
    """From least to most, of a size or a cost; arithmetic stops at 64 bits."""

    __slots__ = ("least", "most")

    def __init__(self, least: int, most: int) -> None:
        self.least = min(least, MOST)
        self.most = min(most, MOST)

    def __repr__(self) -> str:
        return f"Range({self.least}, {self.most})"

    def plus(self, other: Range) -> Range:
        return Range(self.least + other.least, self.most + other.most)

    def by(self, other: Range) -> Range:
        return Range(self.least * other.least, self.most * other.most)

    def times(self, factor: float) -> Range:
        return Range(_times(self.least, factor), _times(self.most, factor))

    def union(self, other: Range) -> Range:
        return Range(min(self.least, other.least), max(self.most, other.most))


def _times(number: int, factor: float) -> int:
    if number and factor > 0 and number > MOST / factor:
        return MOST
    return math.ceil(float(number) * factor)


UNKNOWN = Range(0, MOST)
_ZERO, _ONE = Range(0, 0), Range(1, 1)


class CallEstimate:
    """A call's own cost, and how long its result is."""

    __slots__ = ("cost", "size")

    def __init__(self, cost: Range, size: Range | None = None) -> None:
        self.cost = cost
        self.size = size


class _Entries:
    """Sizes of what is in a list or map."""

    __slots__ = ("key", "kind", "value")

    def __init__(self, kind: str, key: Range, value: Range) -> None:
        self.kind, self.key, self.value = kind, key, value


def _join(one: _Entries | None, other: _Entries | None) -> _Entries | None:
    if one is None or other is None:
        return None
    return _Entries(one.kind, one.key.union(other.key), one.value.union(other.value))


class Sized:
    """An argument as an estimate sees it."""

    __slots__ = ("_estimator", "_known", "node", "path", "type")

    def __init__(
        self,
        estimator: _Estimator,
        node: Expression | None,
        type: Type,
        path: tuple[str, ...],
        known: Range | None,
    ) -> None:
        self._estimator, self._known = estimator, known
        self.node, self.type, self.path = node, type, path

    def size(self) -> Range:
        if self._known is not None:
            return self._known
        return self._estimator.declared(self.path) or UNKNOWN

    @property
    def literal(self) -> Any:
        """The value written there, None if it is not known before."""
        return self.node.value if isinstance(self.node, Literal) else None

    def items(self) -> Sized | None:
        """The items of a list; None for what is no list."""
        if not self.type.params:
            return None
        path = (*self.path, "@items") if self.path else ()
        return Sized(self._estimator, None, self.type.params[0], path, None)


class _Local:
    __slots__ = ("entries", "path", "size")

    def __init__(self, path: tuple[str, ...], size: Range | None, entries: _Entries | None) -> None:
        self.path, self.size, self.entries = path, size, entries


def estimate(expression: Expression, variables: Mapping[str, Type]) -> Range:
    """The cost of a checked expression; sizes come from the types of ``variables``."""
    return _Estimator(variables).cost(expression)


class _Estimator:
    def __init__(self, variables: Mapping[str, Type]) -> None:
        self._variables = variables
        self._paths: dict[int, tuple[str, ...]] = {}
        self._sizes: dict[int, Range] = {}
        self._entries: dict[int, _Entries] = {}
        self._locals: dict[str, list[_Local]] = {}

    # -- sizes -----------------------------------------------------------------

    def declared(self, path: tuple[str, ...]) -> Range | None:
        """The size the type of a variable's part gives it."""
        if not path:
            return None
        node = self._variables.get(path[0])
        for name in path[1:]:
            if node is None:
                return None
            if name in ("@items", "@values"):
                node = node.params[-1] if node.params else None
            elif name == "@keys":
                node = node.params[0] if node.params else None
            else:
                field = node.field(name)
                node = field.type if field is not None else None
        if node is None or node.max_size is None:
            return None
        return Range(0, node.max_size)

    def _local(self, name: str) -> _Local | None:
        stack = self._locals.get(name)
        return stack[-1] if stack else None

    def _path(self, node: Expression) -> tuple[str, ...]:
        if isinstance(node, Ident):
            found = self._local(node.name)
            if found is not None:
                return found.path
        return self._paths.get(id(node), ())

    def _size(self, node: Expression) -> Range | None:
        known = self._sizes.get(id(node)) or _written_size(node)
        if known is not None:
            return known
        declared = self.declared(self._path(node))
        if declared is not None:
            self._sizes[id(node)] = declared
            return declared
        if _is_scalar(node.type):
            return _ONE
        if isinstance(node, Ident):
            local = self._local(node.name)
            if local is not None:
                return local.size
        return None

    def _entry(self, node: Expression) -> _Entries | None:
        found = self._entries.get(id(node))
        if found is None and isinstance(node, Ident):
            local = self._local(node.name)
            if local is not None:
                return local.entries
        return found

    def _set(self, node: Expression, size: Range | None, entries: _Entries | None = None) -> None:
        if size is not None:
            self._sizes[id(node)] = size
        if entries is not None:
            self._entries[id(node)] = entries

    def _sized(self, node: Expression) -> Sized:
        path = self._path(node)
        if path and path[0] == ACCUMULATOR:
            path = ()
        return Sized(self, node, node.type, path, self._size(node))

    # -- costs -----------------------------------------------------------------

    def cost(self, node: Expression) -> Range:
        match node:
            case Literal():
                return _ZERO
            case Ident():
                local = self._local(node.name)
                self._paths[id(node)] = local.path if local is not None else (node.name,)
                return _ONE
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case CreateList():
                return self._list(node)
            case CreateMap():
                return self._map(node)
            case CreateObject():
                parts = [self.cost(value) for _, _, value, _ in node.entries]
                return _total(parts).plus(Range(_OBJECT_BASE, _OBJECT_BASE))
            case Comprehension():
                return self._bind(node) if node.macro == "bind" else self._fold(node)
        raise AssertionError(f"no such node: {node}")

    def _select(self, node: Select) -> Range:
        if node.resolved is not None:
            self._paths[id(node)] = (node.resolved.name,)
            return _ONE
        cost = self.cost(node.operand)
        if node.test:
            # A presence test is free in Kubernetes.
            return cost
        if node.optional:
            return cost.plus(_ONE)
        if node.operand.type.kind in ("map", "object", "param"):
            cost = cost.plus(_ONE)
        self._paths[id(node)] = (*self._path(node.operand), node.field)
        return cost

    def _list(self, node: CreateList) -> Range:
        costs, item = [], Range(MOST if node.elements else 0, 0)
        for element in node.elements:
            costs.append(self.cost(element))
            item = item.union(self._size(element) or UNKNOWN)
        self._set(node, None, _Entries("list", _ONE, item))
        return _total(costs).plus(Range(_LIST_BASE, _LIST_BASE))

    def _map(self, node: CreateMap) -> Range:
        costs = []
        keys = values = Range(MOST if node.entries else 0, 0)
        for key, value, _ in node.entries:
            costs += [self.cost(key), self.cost(value)]
            keys = keys.union(self._size(key) or UNKNOWN)
            values = values.union(self._size(value) or UNKNOWN)
        self._set(node, None, _Entries("map", keys, values))
        return _total(costs).plus(Range(_MAP_BASE, _MAP_BASE))

    def _call(self, node: Call) -> Range:
        if node.function == "dyn":
            inner = node.arguments[0]
            cost = self.cost(inner)
            self._set(node, self._size(inner), self._entry(inner))
            return cost.plus(_ONE)
        costs = [self.cost(argument) for argument in node.arguments]
        arguments = [self._sized(argument) for argument in node.arguments]
        total, target = _ZERO, None
        if node.target is not None:
            total = self.cost(node.target)
            target = self._sized(node.target)
        own, size = Range(MOST, 0), None
        for overload in node.overloads:
            special = _SPECIAL.get(overload.id)
            if special is not None:
                found = special(self, node, arguments, costs)
            else:
                asked = overload.estimate(target, arguments) if overload.estimate else None
                asked = asked or CallEstimate(_ONE)
                found = CallEstimate(asked.cost.plus(_total(costs)), asked.size)
            own = own.union(found.cost)
            if found.size is not None:
                size = found.size if size is None else size.union(found.size)
            if overload.id in ("index_list", "index_map"):
                entry = self._entry(node.arguments[0])
                size = entry.value if entry is not None else None
                step = "@items" if overload.id == "index_list" else "@values"
                self._paths[id(node)] = (*self._path(node.arguments[0]), step)
            if size is None:
                size = self._size(node)
        self._set(node, size)
        return total.plus(own)

    def logical(self, node: Call, arguments: list[Sized], costs: list[Range]) -> CallEstimate:
        return CallEstimate(Range(costs[0].least, costs[0].plus(costs[1]).most))

    def conditional(self, node: Call, arguments: list[Sized], costs: list[Range]) -> CallEstimate:
        yes, no = node.arguments[1:]
        size = (self._size(yes) or UNKNOWN).union(self._size(no) or UNKNOWN)
        self._set(node, None, _join(self._entry(yes), self._entry(no)))
        return CallEstimate(costs[0].plus(costs[1].union(costs[2])), size)

    def add(self, node: Call, arguments: list[Sized], costs: list[Range]) -> CallEstimate:
        one, other = node.arguments
        size = (self._size(one) or UNKNOWN).plus(self._size(other) or UNKNOWN)
        self._set(node, None, _join(self._entry(one), self._entry(other)))
        own = _ONE if node.type.kind == "list" else size.times(0.1)
        return CallEstimate(own.plus(_total(costs)), size)

    # -- folds -----------------------------------------------------------------

    def _push(self, name: str, local: _Local) -> None:
        self._locals.setdefault(name, []).append(local)

    def _pop(self, *names: str) -> None:
        for name in names:
            if name:
                self._locals[name].pop()

    def _push_steps(self, node: Comprehension) -> None:
        entries, path = self._entry(node.range), self._path(node.range)
        kind = entries.kind if entries is not None else node.range.type.kind
        is_list = kind == "list"
        key = entries.key if entries is not None else None
        value = entries.value if entries is not None else None
        if node.variable2:
            step = "@indices" if is_list else "@keys"
            self._push(node.variable, _Local((*path, step), key, None))
            step = "@items" if is_list else "@values"
            self._push(node.variable2, _Local((*path, step), value, None))
        else:
            step = "@items" if is_list else "@keys"
            self._push(node.variable, _Local((*path, step), value if is_list else key, None))

    def _push_accumulator(self, node: Comprehension) -> None:
        initial = node.initial
        local = _Local(self._path(initial), self._size(initial), self._entry(initial))
        self._push(node.accumulator, local)

    def _fold(self, node: Comprehension) -> Range:
        total = self.cost(node.range).plus(self.cost(node.initial))
        self._push_accumulator(node)
        self._push_steps(node)
        each = self.cost(node.condition)
        each = self.cost(node.step).plus(each)
        self._pop(node.variable, node.variable2)
        total = total.plus(self.cost(node.result))
        self._pop(node.accumulator)
        count = self._size(node.range) or UNKNOWN
        if isinstance(node.initial, Literal):
            self._set(node, self._size(node.initial))
        elif isinstance(node.initial, CreateList | CreateMap):
            self._set(node, count, self._entry(node.step))
        return total.plus(count.by(each))

    def _bind(self, node: Comprehension) -> Range:
        total = self.cost(node.range).plus(self.cost(node.initial))
        self._push_accumulator(node)
        total = total.plus(self.cost(node.result))
        self._pop(node.accumulator)
        self._set(node, self._size(node.result), self._entry(node.result))
        return total


_Special = Callable[[_Estimator, Call, list[Sized], list[Range]], CallEstimate]
_SPECIAL: dict[str, _Special] = {
    "logical_and": _Estimator.logical,
    "logical_or": _Estimator.logical,
    "conditional": _Estimator.conditional,
    "add_string": _Estimator.add,
    "add_bytes": _Estimator.add,
    "add_list": _Estimator.add,
}


def _total(costs: list[Range]) -> Range:
    total = _ZERO
    for cost in costs:
        total = total.plus(cost)
    return total


def _written_size(node: Expression) -> Range | None:
    """What the text itself tells."""
    if isinstance(node, Literal):
        value = node.value
        size = len(value) if isinstance(value, str | bytes) else 1
        return Range(size, size)
    if isinstance(node, CreateList):
        size = len(node.elements)
        return Range(size, size)
    if isinstance(node, CreateMap):
        size = len(node.entries)
        return Range(size, size)
    return None


def _is_scalar(type: Type) -> bool:
    if type.kind == "opaque" and type.name == "optional_type":
        return _is_scalar(type.params[0])
    return type.kind in _SCALARS
