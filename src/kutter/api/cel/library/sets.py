"""Lists as sets: ``sets.contains``, ``sets.equivalent``, ``sets.intersects``.

Upstream: https://pkg.go.dev/github.com/google/cel-go/ext#Sets
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kutter.api.cel.declarations import Cost, Estimate, Library, Overload
from kutter.api.cel.estimates import CallEstimate, Range, Sized
from kutter.api.cel.library.costs import actual_size
from kutter.api.cel.types import BOOL, list_of, param
from kutter.api.cel.values import equal


def _has(items: Any, wanted: Any) -> bool:
    return any(equal(item, wanted) for item in items)


def _contains(items: Any, others: Any) -> bool:
    return all(_has(items, other) for other in others)


def _equivalent(items: Any, others: Any) -> bool:
    return _contains(items, others) and _contains(others, items)


def _intersects(items: Any, others: Any) -> bool:
    return any(_has(items, other) for other in others)


def _cost(factor: int) -> Cost:
    return lambda _, one, other: 1 + actual_size(one) * actual_size(other) * factor


def _estimate(factor: int) -> Estimate:
    def estimate(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
        one, other = arguments
        return CallEstimate(one.size().by(other.size()).times(factor).plus(Range(1, 1)))

    return estimate


_LIST = list_of(param("T"))


def _function(name: str, code: Callable[..., bool], factor: int) -> tuple[Overload, ...]:
    id = f"list_sets_{name}_list"
    return (
        Overload(id, (_LIST, _LIST), BOOL, code, cost=_cost(factor), estimate=_estimate(factor)),
    )


SETS = Library(
    "sets",
    functions={
        "sets.contains": _function("contains", _contains, 1),
        "sets.equivalent": _function("equivalent", _equivalent, 2),
        "sets.intersects": _function("intersects", _intersects, 1),
    },
)
