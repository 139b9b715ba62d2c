"""Values as expressions see them. Plain JSON values are themselves; here is what JSON lacks.

A list is a Python list or a :class:`ListValue`, a map is a dict with text keys or a
:class:`MapValue`; both are only ever read. ``bool`` is never taken for an ``int``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from kutter.api.cel.errors import EvaluationError, no_overload
from kutter.api.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    LIST,
    MAP,
    NULL,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    Type,
    optional_of,
)

INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1
UINT_MAX = (1 << 64) - 1
SECOND = 10**9
# Years 1 to 9999, in seconds since 1970.
TIME_MIN_S, TIME_MAX_S = -62135596800, 253402300799
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UInt(int):
    """An unsigned integer."""

    __slots__ = ()


class Timestamp:
    """A point in time: nanoseconds since 1970, UTC."""

    __slots__ = ("nanos",)

    def __init__(self, nanos: int) -> None:
        self.nanos = nanos

    def __eq__(self, other: object) -> bool:
        return type(other) is Timestamp and self.nanos == other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def moment(self) -> datetime:
        """As a datetime, whole microseconds."""
        return _EPOCH + timedelta(seconds=self.nanos // SECOND, microseconds=self.micros)

    @property
    def micros(self) -> int:
        return self.nanos % SECOND // 1000

    def __str__(self) -> str:
        text = self.moment().strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
        return f"{text}{_fraction(self.nanos % SECOND)}Z"


class Duration:
    """A span of time in nanoseconds."""

    __slots__ = ("nanos",)

    def __init__(self, nanos: int) -> None:
        self.nanos = nanos

    def __eq__(self, other: object) -> bool:
        return type(other) is Duration and self.nanos == other.nanos

    def __hash__(self) -> int:
        return hash(("duration", self.nanos))

    def __str__(self) -> str:
        whole, part = divmod(abs(self.nanos), SECOND)
        return f"{'-' if self.nanos < 0 else ''}{whole}{_fraction(part)}s"


def _fraction(nanos: int) -> str:
    return f".{nanos:09d}".rstrip("0") if nanos else ""


def checked_int(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise EvaluationError("integer overflow")


def checked_uint(value: int) -> UInt:
    if 0 <= value <= UINT_MAX:
        return UInt(value)
    raise EvaluationError("unsigned integer overflow")


def checked_duration(nanos: int) -> Duration:
    if INT_MIN <= nanos <= INT_MAX:
        return Duration(nanos)
    raise EvaluationError("duration overflow")


def checked_timestamp(nanos: int) -> Timestamp:
    if TIME_MIN_S <= nanos // SECOND <= TIME_MAX_S:
        return Timestamp(nanos)
    raise EvaluationError("timestamp overflow")


class OptionalValue:
    """``optional.of(x)`` or :data:`NONE`."""

    __slots__ = ("present", "value")

    def __init__(self, value: Any, *, present: bool = True) -> None:
        self.value = value
        self.present = present


NONE = OptionalValue(None, present=False)


class ListValue:
    """A list that makes its items when they are asked for."""

    __slots__ = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))


class MapValue:
    """A map that is not a plain dict: keys of any type, or values made when asked for."""

    __slots__ = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError

    def find(self, key: Any, missing: Any) -> Any:
        raise NotImplementedError


class Keyed(MapValue):
    """A map an expression made, by keys in which 1, 1u and 1.0 are one and true is another."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[Any, tuple[Any, Any]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self._entries.values())

    def find(self, key: Any, missing: Any) -> Any:
        found = self._entries.get(_key(key))
        return missing if found is None else found[1]

    def add(self, key: Any, value: Any) -> bool:
        """False when the key is there already."""
        if type(key) is float:
            raise EvaluationError("unsupported key type: double")
        known = _key(key)
        if known in self._entries:
            return False
        self._entries[known] = (key, value)
        return True


def _key(key: Any) -> Any:
    kind = type(key)
    if kind is bool:
        return (key,)
    if kind in (str, int, UInt, float):
        return key
    raise EvaluationError(f"unsupported key type: {type_of(key)}")


class Opaque:
    """The base of values only libraries know; ``cel_type`` is theirs."""

    __slots__ = ()
    cel_type: Type = DYN


_TYPES: dict[type, Type] = {
    bool: BOOL,
    int: INT,
    UInt: UINT,
    float: DOUBLE,
    str: STRING,
    bytes: BYTES,
    type(None): NULL,
    list: LIST,
    dict: MAP,
    Timestamp: TIMESTAMP,
    Duration: DURATION,
    Type: TYPE,
}


def type_of(value: Any) -> Type:
    """The run-time type of a value; lists and maps do not tell what is in them."""
    found = _TYPES.get(type(value))
    if found is not None:
        return found
    if isinstance(value, ListValue):
        return LIST
    if isinstance(value, MapValue):
        return MAP
    if isinstance(value, OptionalValue):
        return optional_of(DYN)
    if isinstance(value, Opaque):
        return value.cel_type
    raise no_overload()


_NUMBERS = frozenset((int, float, UInt))
_SAME = frozenset((bool, int, float, UInt, str, bytes, type(None), Timestamp, Duration))
_MISSING = object()


def equal(one: Any, other: Any) -> bool:
    """Equality over all types: what differs in type is unequal, numbers compare by value."""
    kind, kind2 = type(one), type(other)
    if kind is kind2 and kind in _SAME:
        return bool(one == other)
    if kind is kind2 is Type:
        return bool(one.kind == other.kind and one.name == other.name)
    if kind in _NUMBERS and kind2 in _NUMBERS:
        # As doubles if one of them is, though large integers are lost in that.
        mixed = (kind is float) is not (kind2 is float)
        return float(one) == float(other) if mixed else int(one) == int(other)
    if kind is dict or isinstance(one, MapValue):
        return (kind2 is dict or isinstance(other, MapValue)) and _equal_maps(one, other)
    if kind is list or isinstance(one, ListValue):
        if not (kind2 is list or isinstance(other, ListValue)) or len(one) != len(other):
            return False
        special = getattr(one, "equals", None) or getattr(other, "equals", None)
        if special is not None:
            return bool(special(other if getattr(one, "equals", None) else one))
        return all(map(equal, one, other))
    if kind is not kind2:
        return False
    if kind is OptionalValue:
        if one.present and other.present:
            return equal(one.value, other.value)
        return bool(one.present == other.present)
    return bool(one == other)


def _equal_maps(one: Any, other: Any) -> bool:
    if len(one) != len(other):
        return False
    for key in one:
        mine, theirs = find_key(one, key, _MISSING), find_key(other, key, _MISSING)
        if theirs is _MISSING or not equal(mine, theirs):
            return False
    return True


def find_key(container: Any, key: Any, missing: Any) -> Any:
    """A map's value under a key, ``missing`` if there is none."""
    if type(container) is dict:
        return container.get(key, missing) if type(key) is str else missing
    return container.find(key, missing)


def is_list(value: Any) -> bool:
    return type(value) is list or isinstance(value, ListValue)


def is_map(value: Any) -> bool:
    return type(value) is dict or isinstance(value, MapValue)
