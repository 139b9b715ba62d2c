"""Lists: Kubernetes' ``isSorted``, ``sum``, ``min``, ``max``, ``indexOf``; the extension's
``sort``, ``distinct``, ``flatten``, ``slice``.

Upstream: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-list-library and
https://pkg.go.dev/github.com/google/cel-go/ext#Lists
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

from kutter.api.cel import operators as ops
from kutter.api.cel.declarations import Cost, Estimate, Library, Overload
from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.estimates import MOST, CallEstimate, Range, Sized
from kutter.api.cel.library.costs import (
    LIST_BASE,
    TEXT,
    actual_size,
    by_traversal,
    estimate_new_list,
    estimate_traversal,
    list_output,
)
from kutter.api.cel.macros import MacroError, bind, standard_map
from kutter.api.cel.syntax import (
    Call,
    Comprehension,
    CreateList,
    Expression,
    Ident,
    Select,
)
from kutter.api.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    param,
)
from kutter.api.cel.values import Duration, UInt, equal, is_list, type_of

_COMPARABLE = (
    ("int", INT),
    ("uint", UINT),
    ("double", DOUBLE),
    ("bool", BOOL),
    ("duration", DURATION),
    ("timestamp", TIMESTAMP),
    ("string", STRING),
    ("bytes", BYTES),
)
_A = param("A")
_LIST = list_of(_A)
# Long enough for anything sensible; the cost of a longer one would not fit a budget anyway.
_RANGE_LIMIT = 1_000_000


def _is_sorted(items: Any) -> bool:
    previous, first = None, True
    for item in items:
        if not first and ops.greater(previous, item):
            return False
        previous, first = item, False
    return True


def _sum(zero: Any) -> Callable[[Any], Any]:
    def total(items: Any) -> Any:
        found = zero
        for item in items:
            found = ops.add(found, item)
        return found

    return total


def _extreme(name: str, better: Callable[[Any, Any], bool]) -> Callable[[Any], Any]:
    def find(items: Any) -> Any:
        if not len(items):
            raise EvaluationError(f"{name} called on empty list")
        found = items[0]
        for item in items:
            if better(item, found):
                found = item
        return found

    return find


def _index_of(items: Any, wanted: Any) -> int:
    return next((i for i, item in enumerate(items) if equal(item, wanted)), -1)


def _last_index_of(items: Any, wanted: Any) -> int:
    found = -1
    for index, item in enumerate(items):
        if equal(item, wanted):
            found = index
    return found


def _search(id: str, result: Type, code: Callable[..., Any], *params: Type) -> Overload:
    return Overload(
        id, params, result, code, member=True, cost=by_traversal, estimate=estimate_traversal
    )


_SUMMABLE = (("int", INT, 0), ("uint", UINT, UInt(0)), ("double", DOUBLE, 0.0))
LISTS = Library(
    "kubernetes.lists",
    functions={
        "isSorted": tuple(
            _search(f"list_{name}_is_sorted_bool", BOOL, _is_sorted, list_of(kind))
            for name, kind in _COMPARABLE
        ),
        "sum": tuple(
            _search(f"list_{name}_sum_{name}", kind, _sum(zero), list_of(kind))
            for name, kind, zero in (*_SUMMABLE, ("duration", DURATION, Duration(0)))
        ),
        "max": tuple(
            _search(f"list_{name}_max_{name}", kind, _extreme("max", ops.greater), list_of(kind))
            for name, kind in _COMPARABLE
        ),
        "min": tuple(
            _search(f"list_{name}_min_{name}", kind, _extreme("min", ops.less), list_of(kind))
            for name, kind in _COMPARABLE
        ),
        "indexOf": (_search("list_a_index_of_int", INT, _index_of, _LIST, _A),),
        "lastIndexOf": (_search("list_a_last_index_of_int", INT, _last_index_of, _LIST, _A),),
    },
)


# -- the extension -------------------------------------------------------------


def _slice(items: Any, start: int, end: int) -> list[Any]:
    if start < 0 or end < 0:
        text = f"cannot slice({start}, {end}), negative indexes not supported"
        raise EvaluationError(text)
    if start > end:
        raise EvaluationError(
            f"cannot slice({start}, {end}), start index must be less than or equal to end index"
        )
    if end > len(items):
        raise EvaluationError(f"cannot slice({start}, {end}), list is length {len(items)}")
    return [items[index] for index in range(start, end)]


def _flatten(items: Any, depth: int = 1) -> list[Any]:
    if depth < 0:
        raise EvaluationError("level must be non-negative")
    flat: list[Any] = []
    for item in items:
        if is_list(item) and depth > 0:
            flat.extend(_flatten(item, depth - 1))
        else:
            flat.append(item)
    return flat


def _distinct(items: Any) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if not any(equal(item, known) for known in found):
            found.append(item)
    return found


def _order(one: Any, other: Any) -> int:
    if type_of(one) != type_of(other):
        raise EvaluationError("list elements must have the same type")
    return -1 if ops.less(one, other) else int(ops.greater(one, other))


_key = cmp_to_key(_order)


def _sort(items: Any) -> list[Any]:
    return sorted(items, key=_key)


def _sort_by(items: Any, keys: Any) -> list[Any]:
    if len(items) != len(keys):
        raise EvaluationError("@sortByAssociatedKeys() expected a list of the same size as keys")
    places = sorted(range(len(items)), key=lambda place: _key(keys[place]))
    return [items[place] for place in places]


def _range(count: int) -> list[int]:
    if count > _RANGE_LIMIT:
        raise EvaluationError(f"lists.range({count}) is too long")
    return list(range(count))


def _written(argument: Sized, default: int) -> int:
    value = argument.literal
    return value if type(value) is int and value >= 0 else default


def _estimate_slice(target: Sized | None, arguments: list[Sized]) -> CallEstimate | None:
    if target is None:
        return None
    size = target.size()
    count = _written(arguments[1], size.most) - _written(arguments[0], 0)
    count = max(count, 0)
    return estimate_new_list(1, Range(count, count))


def _estimate_range(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
    count = _written(arguments[0], MOST)
    return estimate_new_list(1, Range(count, count))


def _estimate_copy(target: Sized | None, arguments: list[Sized]) -> CallEstimate | None:
    return None if target is None else estimate_new_list(1, target.size())


def _estimate_flatten(target: Sized | None, arguments: list[Sized]) -> CallEstimate | None:
    if target is None:
        return None
    depth = _written(arguments[0], MOST) if arguments else 1
    return estimate_new_list(float(depth), target.size())


def _estimate_square(kind: Type | None, *, keys: bool = False) -> Estimate:
    factor = 2 + TEXT if kind in (STRING, BYTES) else 2.0

    def estimate(target: Sized | None, arguments: list[Sized]) -> CallEstimate | None:
        compared = arguments[0] if keys else target
        if compared is None:
            return None
        size = compared.size()
        return estimate_new_list(factor, size.by(size))

    return estimate


def _by_square(place: int) -> Cost:
    def cost(result: Any, *arguments: Any) -> int:
        items = arguments[place]
        size = actual_size(items)
        factor = 2 + TEXT if size and type(items[0]) in (str, bytes) else 2
        return int(size * size * factor) + 1 + LIST_BASE

    return cost


def _by_depth(result: Any, items: Any, depth: int = 1) -> int:
    return actual_size(items) * depth + 1 + LIST_BASE


def _member(
    id: str, params: tuple[Type, ...], code: Callable[..., Any], cost: Cost, estimate: Estimate
) -> Overload:
    return Overload(id, params, params[0], code, member=True, cost=cost, estimate=estimate)


_INPUT = "@__sortBy_input__"


def _expand_sort_by(
    offset: int, target: Expression | None, arguments: list[Expression]
) -> Expression:
    """``list.sortBy(x, key)``: keys of all items, then the items by them."""
    if not isinstance(target, CreateList | Select | Ident | Comprehension | Call):
        text = (
            "sortBy can only be applied to a list, identifier, comprehension, call or select "
            "expression"
        )
        raise MacroError(offset, text)
    keys = standard_map(offset, Ident(offset, _INPUT), arguments)
    body = Call(offset, "@sortByAssociatedKeys", [keys], Ident(offset, _INPUT))
    return bind(offset, _INPUT, target, body)


LIST_EXTENSION = Library(
    "lists",
    functions={
        "slice": (_member("list_slice", (_LIST, INT, INT), _slice, list_output, _estimate_slice),),
        "flatten": (
            Overload(
                "list_flatten",
                (list_of(_LIST),),
                _LIST,
                _flatten,
                member=True,
                cost=_by_depth,
                estimate=_estimate_flatten,
            ),
            _member(
                "list_flatten_int", (list_of(DYN), INT), _flatten, _by_depth, _estimate_flatten
            ),
        ),
        "sort": tuple(
            _member(
                f"list_{name}_sort",
                (list_of(kind),),
                _sort,
                _by_square(0),
                _estimate_square(kind),
            )
            for name, kind in _COMPARABLE
        ),
        "@sortByAssociatedKeys": tuple(
            _member(
                f"list_{name}_sortByAssociatedKeys",
                (_LIST, list_of(kind)),
                _sort_by,
                _by_square(1),
                _estimate_square(kind, keys=True),
            )
            for name, kind in _COMPARABLE
        ),
        "lists.range": (
            Overload(
                "lists_range",
                (INT,),
                list_of(INT),
                _range,
                cost=list_output,
                estimate=_estimate_range,
            ),
        ),
        "reverse": (
            _member(
                "list_reverse",
                (_LIST,),
                lambda items: list(items)[::-1],
                list_output,
                _estimate_copy,
            ),
        ),
        "distinct": (
            _member("list_distinct", (_LIST,), _distinct, _by_square(0), _estimate_square(None)),
        ),
    },
    macros={("sortBy", 2, True): _expand_sort_by},
)
