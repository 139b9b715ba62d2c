"""What operators do to values, over all types they are defined for.

A pair of types an operator has no meaning for is "no such overload". Integers that do not fit 64
bits are errors, never wrapped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from kutter.api.cel.errors import EvaluationError, no_overload
from kutter.api.cel.values import (
    INT_MAX,
    INT_MIN,
    NONE,
    Duration,
    Keyed,
    ListValue,
    MapValue,
    OptionalValue,
    Timestamp,
    UInt,
    checked_duration,
    checked_int,
    checked_timestamp,
    checked_uint,
    equal,
    find_key,
    is_list,
    is_map,
    type_of,
)

_MISSING = object()
# Longer lists are put together without a copy: joining costs 1, however long they are.
_COPIED = 32
_NUMBERS = frozenset((int, float, UInt))
_ORDERED = frozenset((int, float, UInt, str, bytes, bool))
# Whom upstream's library asks before it says that nobody can: those with the operation, and those
# that take any call. Others are refused with the operation's name.
_RECEIVERS = frozenset((str, Duration, Timestamp))
_ADDED = _NUMBERS | _RECEIVERS | {bytes, list}
_SUBTRACTED = _NUMBERS | _RECEIVERS
_MULTIPLIED = _NUMBERS | _RECEIVERS
_REDUCED = frozenset((int, UInt)) | _RECEIVERS
_COMPARED = _ORDERED | _RECEIVERS
_NEGATED = frozenset((int, float, bool)) | _RECEIVERS


def _unfit(value: Any, asked: frozenset[type], function: str) -> EvaluationError:
    known = type(value) in asked or (list in asked and isinstance(value, ListValue))
    return no_overload("" if known else function)


_ASKED = {
    "_+_": _ADDED,
    "_-_": _SUBTRACTED,
    "_*_": _MULTIPLIED,
    "_/_": _MULTIPLIED,
    "_%_": _REDUCED,
    "_<_": _COMPARED,
    "_<=_": _COMPARED,
    "_>_": _COMPARED,
    "_>=_": _COMPARED,
    "-_": _NEGATED,
    "!_": _NEGATED,
}
_CONVERSIONS = frozenset(
    ("bool", "bytes", "double", "duration", "int", "string", "timestamp", "uint")
)


def refusal(function: str, arguments: list[Any]) -> EvaluationError:
    """Why none of a function's overloads takes these values."""
    asked = _ASKED.get(function)
    if asked is not None:
        return _unfit(arguments[0], asked, function)
    if function in _CONVERSIONS:
        return no_overload(f"{function}({type_of(arguments[0]).name})")
    return no_overload()


def _compare(one: Any, other: Any, function: str) -> int | None:
    """Negative, zero or positive; None where NaN makes it no answer."""
    kind, kind2 = type(one), type(other)
    if kind is not kind2 and kind in _NUMBERS and kind2 in _NUMBERS:
        if kind is float or kind2 is float:
            one, other = float(one), float(other)
        kind = kind2
    if kind is kind2 and kind in _ORDERED:
        return -1 if one < other else 1 if one > other else 0 if one == other else None
    if kind is kind2 and kind in (Timestamp, Duration):
        return int((one.nanos > other.nanos) - (one.nanos < other.nanos))
    raise _unfit(one, _COMPARED, function)


def less(one: Any, other: Any) -> bool:
    found = _compare(one, other, "_<_")
    return found is not None and found < 0


def less_equal(one: Any, other: Any) -> bool:
    found = _compare(one, other, "_<=_")
    return found is not None and found <= 0


def greater(one: Any, other: Any) -> bool:
    found = _compare(one, other, "_>_")
    return found is not None and found > 0


def greater_equal(one: Any, other: Any) -> bool:
    found = _compare(one, other, "_>=_")
    return found is not None and found >= 0


def unequal(one: Any, other: Any) -> bool:
    return not equal(one, other)


class Joined(ListValue):
    """Two lists one after the other, without a copy."""

    __slots__ = ("_one", "_other", "_size", "_split")

    def __init__(self, one: Any, other: Any) -> None:
        self._one, self._other = one, other
        self._split = len(one)
        self._size = self._split + len(other)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> Any:
        split = self._split
        return self._one[index] if index < split else self._other[index - split]

    def __iter__(self) -> Iterator[Any]:
        yield from self._one
        yield from self._other


def add(one: Any, other: Any) -> Any:
    kind, kind2 = type(one), type(other)
    if kind is kind2:
        if kind is int:
            return checked_int(one + other)
        if kind in (str, float, bytes):
            return one + other
        if kind is list and len(one) + len(other) <= _COPIED:
            return one + other
        if kind is UInt:
            return checked_uint(int(one) + int(other))
        if kind is Duration:
            return checked_duration(one.nanos + other.nanos)
    if is_list(one) and is_list(other):
        special = getattr(one, "plus", None)
        return special(other) if special is not None else Joined(one, other)
    if {kind, kind2} == {Timestamp, Duration}:
        return checked_timestamp(one.nanos + other.nanos)
    special = getattr(one, "plus", None)
    if special is not None and is_map(other):
        return special(other)
    raise _unfit(one, _ADDED, "_+_")


def subtract(one: Any, other: Any) -> Any:
    kind, kind2 = type(one), type(other)
    if kind is kind2:
        if kind is int:
            return checked_int(one - other)
        if kind is float:
            return one - other
        if kind is UInt:
            return checked_uint(int(one) - int(other))
        if kind in (Duration, Timestamp):
            return checked_duration(one.nanos - other.nanos)
    if kind is Timestamp and kind2 is Duration:
        return checked_timestamp(one.nanos - other.nanos)
    raise _unfit(one, _SUBTRACTED, "_-_")


def multiply(one: Any, other: Any) -> Any:
    kind = type(one)
    if kind is type(other):
        if kind is int:
            return checked_int(one * other)
        if kind is float:
            return one * other
        if kind is UInt:
            return checked_uint(int(one) * int(other))
    raise _unfit(one, _MULTIPLIED, "_*_")


def divide(one: Any, other: Any) -> Any:
    kind = type(one)
    if kind is type(other):
        if kind is float:
            return _divide_floats(one, other)
        if kind in (int, UInt):
            if other == 0:
                raise EvaluationError("division by zero")
            found = abs(one) // abs(other)
            if kind is UInt:
                return UInt(found)
            return checked_int(found if (one < 0) is (other < 0) else -found)
    raise _unfit(one, _MULTIPLIED, "_/_")


def _divide_floats(one: float, other: float) -> float:
    if other != 0:
        return one / other
    if one == 0 or math.isnan(one):
        return math.nan
    return math.copysign(math.inf, one) * math.copysign(1, other)


def modulo(one: Any, other: Any) -> Any:
    kind = type(one)
    if kind is type(other) and kind in (int, UInt):
        if other == 0:
            raise EvaluationError("modulus by zero")
        if kind is UInt:
            return UInt(int(one) % int(other))
        if one == INT_MIN and other == -1:
            raise EvaluationError("integer overflow")
        found = abs(one) % abs(other)
        return -found if one < 0 else found
    raise _unfit(one, _REDUCED, "_%_")


def negate(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        return checked_int(-value)
    if kind is float:
        return -value
    if kind is Duration:
        return checked_duration(-value.nanos)
    raise _unfit(value, _NEGATED, "-_")


def invert(value: Any) -> bool:
    if type(value) is not bool:
        raise _unfit(value, _NEGATED, "!_")
    return not value


def contained(item: Any, container: Any) -> bool:
    """``item in container``."""
    if type(container) is list or isinstance(container, ListValue):
        if type(item) is str and type(container) is list:
            return item in container
        return any(equal(item, found) for found in container)
    if type(container) is dict or isinstance(container, MapValue):
        return find_key(container, item, _MISSING) is not _MISSING
    raise no_overload()


def size(value: Any) -> int:
    kind = type(value)
    if kind in (str, list, dict, bytes) or isinstance(value, ListValue | MapValue):
        return len(value)
    raise no_overload()


def shown_key(key: Any) -> str:
    """A key as messages name it."""
    if type(key) is bool:
        return "true" if key else "false"
    return str(key)


def no_such_key(key: Any) -> EvaluationError:
    return EvaluationError(f"no such key: {shown_key(key)}")


def index(container: Any, key: Any) -> Any:
    """``container[key]``."""
    if type(container) is list or isinstance(container, ListValue):
        place = _place(key)
        if 0 <= place < len(container):
            return container[place]
        raise EvaluationError(f"index out of bounds: {place}")
    if type(container) is dict or isinstance(container, MapValue):
        found = find_key(container, key, _MISSING)
        if found is _MISSING:
            raise no_such_key(key)
        return found
    if isinstance(container, OptionalValue):
        return index_optional(container, key)
    # What holds nothing has no such key.
    raise no_such_key(key)


def _place(key: Any) -> int:
    if type(key) in (int, UInt):
        return int(key)
    if type(key) is float:
        if key.is_integer() and INT_MIN <= key <= INT_MAX:
            return int(key)
        raise EvaluationError(f"unsupported index value: {key}")
    raise EvaluationError(f"unsupported index type '{_named(key)}' in list")


def _named(value: Any) -> str:
    return type_of(value).name


def index_optional(container: Any, key: Any) -> OptionalValue:
    """``container[?key]``."""
    if isinstance(container, OptionalValue):
        if not container.present:
            return NONE
        container = container.value
    if is_list(container):
        place = _place(key)
        return OptionalValue(container[place]) if 0 <= place < len(container) else NONE
    if is_map(container):
        found = find_key(container, key, _MISSING)
        return NONE if found is _MISSING else OptionalValue(found)
    raise no_such_key(key)


def select(value: Any, field: str) -> Any:
    """``value.field`` where nothing is known of the value beforehand."""
    kind = type(value)
    if kind is dict:
        found = value.get(field, _MISSING)
    elif isinstance(value, MapValue):
        found = value.find(field, _MISSING)
    elif kind is OptionalValue:
        return select_optional(value, field)
    elif is_list(value):
        return index(value, field)
    else:
        found = _MISSING
    if found is _MISSING:
        raise no_such_key(field)
    return found


def select_optional(value: Any, field: str) -> OptionalValue:
    if type(value) is OptionalValue:
        if not value.present:
            return NONE
        value = value.value
    if not (is_map(value) or is_list(value)):
        raise no_such_key(field)
    found = _look(value, field)
    return NONE if found is _MISSING else OptionalValue(found)


def has_field(value: Any, field: str) -> bool:
    """``has(value.field)``."""
    if type(value) is OptionalValue:
        if not value.present:
            return False
        value = value.value
    return _look(value, field) is not _MISSING


def _look(value: Any, field: str) -> Any:
    if type(value) is dict:
        return value.get(field, _MISSING)
    if isinstance(value, MapValue):
        return value.find(field, _MISSING)
    if is_list(value):
        return index(value, field)
    return _MISSING


def insert(target: Any, key: Any, value: Any) -> Keyed:
    """A map with one more entry; a key that is there already is an error."""
    made = Keyed()
    for known in target:
        made.add(known, find_key(target, known, None))
    if not made.add(key, value):
        raise EvaluationError(f"insert failed: key {shown_key(key)} already exists")
    return made
