"""What calls cost, at run time and at most: the shapes most functions share.

Numbers are upstream's: reading a text costs a tenth per code point, matching a pattern a quarter
per code point of it for each of those.
"""

from __future__ import annotations

import math
from typing import Any

from kutter.api.cel.declarations import Cost, Estimate
from kutter.api.cel.estimates import CallEstimate, Range, Sized
from kutter.api.cel.values import ListValue, MapValue, OptionalValue, find_key, is_list, is_map

TEXT = 0.1
PATTERN = 0.25
LIST_BASE, MAP_BASE, OBJECT_BASE = 10, 30, 40


def actual_size(value: Any) -> int:
    kind = type(value)
    if kind in (str, list, dict, bytes) or isinstance(value, ListValue | MapValue):
        return len(value)
    if kind is OptionalValue and value.present:
        return actual_size(value.value)
    size = getattr(value, "size", None)
    return size if type(size) is int else 1


def _factor(size: int, factor: float) -> int:
    return math.ceil(size * factor)


# -- run time: (result, argument…) → cost --------------------------------------


def by_target(result: Any, target: Any, *_: Any) -> int:
    size = len(target) if type(target) is str else actual_size(target)
    return math.ceil(size * TEXT)


def by_target_twice(result: Any, target: Any, *_: Any) -> int:
    return _factor(actual_size(target), 2 * TEXT)


def by_result_twice(result: Any, *_: Any) -> int:
    return _factor(actual_size(result), 2 * TEXT)


def by_list(result: Any, item: Any, container: Any) -> int:
    return actual_size(container)


def by_smaller(result: Any, one: Any, other: Any) -> int:
    return _factor(min(actual_size(one), actual_size(other)), TEXT)


def by_sum(result: Any, one: Any, other: Any) -> int:
    return _factor(actual_size(one) + actual_size(other), TEXT)


def by_contains(result: Any, text: str, part: str) -> int:
    return math.ceil(len(text) * TEXT) * math.ceil(len(part) * TEXT)


def by_regex(result: Any, text: Any, pattern: Any, *_: Any) -> int:
    return _factor(1 + actual_size(text), TEXT) * _factor(actual_size(pattern), PATTERN)


def traversal(value: Any) -> int:
    """What looking at everything in a value costs."""
    kind = type(value)
    if kind is str:
        return int(len(value.encode("utf-8", "surrogatepass")) * TEXT)
    if kind is bytes:
        return int(len(value) * TEXT)
    if is_list(value):
        return sum(map(traversal, value))
    if is_map(value):
        return sum(traversal(key) + traversal(find_key(value, key, None)) for key in value)
    return 1


def by_traversal(result: Any, target: Any, *_: Any) -> int:
    return traversal(target)


def fixed(cost: int) -> Cost:
    return lambda *_: cost


def list_output(result: Any, *_: Any) -> int:
    """A new list as long as the result."""
    return 1 + LIST_BASE + actual_size(result)


# -- before: (target, arguments) → range of costs ------------------------------


def _argument(target: Sized | None, arguments: list[Sized]) -> Sized:
    return target if target is not None else arguments[0]


def estimate_argument(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
    """Reading the first argument that is no target."""
    return CallEstimate(arguments[0].size().times(TEXT))


def estimate_target(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
    """Reading the target, which the result is no longer than."""
    size = _argument(target, arguments).size()
    return CallEstimate(size.times(TEXT), size)


def estimate_parsing(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
    return CallEstimate(_argument(target, arguments).size().times(TEXT))


def estimate_parsing_twice(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
    return CallEstimate(_argument(target, arguments).size().times(2 * TEXT))


def estimate_encoding(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
    size = arguments[0].size()
    return CallEstimate(size.times(TEXT), Range(size.least, size.most * 4))


def estimate_decoding(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
    size = arguments[0].size()
    return CallEstimate(size.times(TEXT), Range(size.least // 4, size.most))


def estimate_list(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
    return CallEstimate(arguments[1].size())


def estimate_sum(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
    size = arguments[0].size().plus(arguments[1].size())
    return CallEstimate(size.times(TEXT), size)


# Types whose values compare in one step.
_SMALL = frozenset(
    (
        "net.IP",
        "net.CIDR",
        "kubernetes.Quantity",
        "kubernetes.Semver",
        *(
            f"kubernetes.authorization.{name}"
            for name in ("Authorizer", "PathCheck", "GroupCheck", "ResourceCheck", "Decision")
        ),
    )
)


def estimate_smaller(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
    one, other = arguments
    if one.type == other.type and one.type.kind == "opaque" and one.type.name in _SMALL:
        return CallEstimate(Range(1, 1))
    most = min(one.size().most, other.size().most)
    return CallEstimate(Range(1 if most else 0, most).times(TEXT))


_ONE = Range(1, 1)


def estimate_regex(target: Sized | None, arguments: list[Sized]) -> CallEstimate | None:
    if target is None:
        return None
    text = target.size().plus(_ONE).times(TEXT)
    return CallEstimate(text.by(arguments[0].size().times(PATTERN)))


def estimate_find(target: Sized | None, arguments: list[Sized]) -> CallEstimate | None:
    found = estimate_regex(target, arguments)
    if found is None or target is None:
        return None
    return CallEstimate(found.cost, Range(0, target.size().most))


def estimate_contains(target: Sized | None, arguments: list[Sized]) -> CallEstimate | None:
    if target is None:
        return None
    return CallEstimate(target.size().times(TEXT).by(arguments[0].size().times(TEXT)))


def estimate_traversal(target: Sized | None, arguments: list[Sized]) -> CallEstimate | None:
    """Comparing each item of a list once, or reading a text."""
    if target is None:
        return None
    items = target.items()
    if items is None:
        return CallEstimate(target.size().times(TEXT))
    each = _ONE
    if items.type.kind in ("string", "bytes"):
        each = each.plus(items.size().times(TEXT))
    return CallEstimate(target.size().by(each))


def estimate_fixed(cost: int) -> Estimate:
    found = CallEstimate(Range(cost, cost))
    return lambda *_: found


def estimate_new_list(factor: float, size: Range) -> CallEstimate:
    base = 1 + LIST_BASE
    return CallEstimate(size.times(factor).plus(Range(base, base)), size)
