"""The types expressions have, and when one may stand where another is wanted.

Types are values too: ``type(1) == int`` compares two of these.
Upstream: https://github.com/google/cel-spec/blob/master/doc/langdef.md#gradual-type-checking
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kutter.api.cel.names import RESERVED, escaped


class Field:
    """A field of an object type. ``name`` is what JSON calls it."""

    __slots__ = ("name", "type")

    def __init__(self, name: str, type: Type) -> None:
        self.name = name
        self.type = type


class Type:
    """A type. ``kind`` is its sort (``list``), ``name`` what it is called, ``params`` its types.

    ``max_size`` bounds the length of values of it where a schema does; ``min_json`` is the fewest
    bytes of JSON one needs. ``wrap`` turns a JSON value into the expression's; None where both
    are the same, which is so of most.
    """

    __slots__ = ("fields", "kind", "list_keys", "max_size", "min_json", "name", "params", "wrap")

    def __init__(
        self,
        kind: str,
        name: str = "",
        params: tuple[Type, ...] = (),
        *,
        fields: Mapping[str, Field] | None = None,
        wrap: Callable[[Any], Any] | None = None,
    ) -> None:
        self.kind = kind
        self.name = name or kind
        self.params = params
        self.fields = fields
        self.wrap = wrap
        self.max_size: int | None = None
        self.min_json = 0
        self.list_keys: tuple[str, ...] | None = None

    def field(self, name: str) -> Field | None:
        """An object's field; a family of fields may have no end, so it is asked and not listed.

        A reserved word selects the property of that name, as its escaped form does.
        """
        if self.fields is None:
            return None
        found = self.fields.get(name)
        if found is None and name in RESERVED:
            found = self.fields.get(escaped(name))
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Type):
            return False
        return self is other or (
            self.kind == other.kind and self.name == other.name and self.params == other.params
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.name, self.params))

    def __str__(self) -> str:
        """As upstream's messages show it."""
        inside = f"({', '.join(map(str, self.params))})" if self.params else ""
        return _SHOWN.get(self.kind, self.name) + inside

    def __repr__(self) -> str:
        return f"Type({self})"


_SHOWN = {"null": "null", "timestamp": "timestamp", "duration": "duration"}

DYN = Type("dyn")
ERROR = Type("error", "!error!")
NULL = Type("null", "null_type")
BOOL = Type("bool")
INT = Type("int")
UINT = Type("uint")
DOUBLE = Type("double")
STRING = Type("string")
BYTES = Type("bytes")
TIMESTAMP = Type("timestamp", "google.protobuf.Timestamp")
DURATION = Type("duration", "google.protobuf.Duration")
LIST = Type("list")
MAP = Type("map")
TYPE = Type("type")

_NULLABLE = frozenset(("null", "object", "opaque", "timestamp", "duration"))


def list_of(item: Type) -> Type:
    return Type("list", params=(item,))


def map_of(key: Type, value: Type) -> Type:
    return Type("map", params=(key, value))


def type_of_type(inner: Type) -> Type:
    return Type("type", params=(inner,))


def opaque(name: str, *params: Type) -> Type:
    """A type only its own functions know (``net.IP``)."""
    return Type("opaque", name, params)


def optional_of(inner: Type) -> Type:
    return Type("opaque", "optional_type", (inner,))


def param(name: str) -> Type:
    """A type parameter of a function's declaration."""
    return Type("param", name)


def object_type(name: str, fields: Mapping[str, Field]) -> Type:
    return Type("object", name, fields=fields)


def is_optional(type: Type) -> bool:
    return type.kind == "opaque" and type.name == "optional_type"


Bindings = dict[str, Type]


def substitute(type: Type, bindings: Bindings, *, free: bool = False) -> Type:
    """The type with its parameters replaced; with ``free`` those not bound become dyn."""
    if type.kind == "param":
        found = bindings.get(type.name)
        if found is not None:
            return substitute(found, bindings, free=free)
        return DYN if free else type
    if not type.params:
        return type
    params = tuple(substitute(inner, bindings, free=free) for inner in type.params)
    if all(new is old for new, old in zip(params, type.params, strict=True)):
        return type
    made = Type(type.kind, type.name, params, fields=type.fields, wrap=type.wrap)
    made.max_size, made.min_json = type.max_size, type.min_json
    return made


def is_assignable(bindings: Bindings, wanted: Type, found: Type) -> bool:
    """Whether a ``found`` may stand where a ``wanted`` is; binds type parameters if so."""
    trial = dict(bindings)
    if not _assign(trial, wanted, found):
        return False
    bindings.clear()
    bindings.update(trial)
    return True


def all_assignable(bindings: Bindings, wanted: tuple[Type, ...], found: list[Type]) -> bool:
    trial = dict(bindings)
    if len(wanted) != len(found):
        return False
    for one, other in zip(wanted, found, strict=True):
        if not _assign(trial, one, other):
            return False
    bindings.clear()
    bindings.update(trial)
    return True


def _assign(bindings: Bindings, one: Type, other: Type) -> bool:
    if other.kind == "param":
        answer = _assign_param(bindings, other, one)
        if answer is not None:
            return answer
    if one.kind == "param":
        return bool(_assign_param(bindings, one, other))
    if one.kind in ("dyn", "error") or other.kind in ("dyn", "error"):
        return True
    if one.kind == "null":
        return other.kind in _NULLABLE
    if other.kind == "null":
        return one.kind in _NULLABLE
    if one.kind != other.kind:
        return False
    if one.kind == "type":
        return True
    if one.name != other.name or len(one.params) != len(other.params):
        # The bare list or map is that of dyn.
        return one.kind in ("list", "map") and not (one.params and other.params)
    return all(_assign(bindings, a, b) for a, b in zip(one.params, other.params, strict=True))


def _assign_param(bindings: Bindings, variable: Type, found: Type) -> bool | None:
    """None: no say, the other side may still decide."""
    if found.kind == "param" and found.name == variable.name:
        return True
    known = bindings.get(variable.name)
    if known is not None:
        if _assign(bindings, known, found):
            wider = most_general(known, found)
            if not _occurs(bindings, variable, wider):
                bindings[variable.name] = wider
            return True
        return False
    if _occurs(bindings, variable, found):
        return None
    bindings[variable.name] = found
    return True


def _occurs(bindings: Bindings, variable: Type, inside: Type) -> bool:
    if inside.kind == "param":
        if inside.name == variable.name:
            return True
        found = bindings.get(inside.name)
        return found is not None and _occurs(bindings, variable, found)
    return any(_occurs(bindings, variable, inner) for inner in inside.params)


def _less_specific(one: Type, other: Type) -> bool:
    """Whether ``one`` equals ``other`` or says less."""
    if one.kind in ("dyn", "param", "error"):
        return True
    if other.kind == "null" and one.kind in _NULLABLE:
        return True
    if other.kind in ("dyn", "param") or one.kind != other.kind or one.name != other.name:
        return False
    return len(one.params) == len(other.params) and all(
        _less_specific(a, b) for a, b in zip(one.params, other.params, strict=True)
    )


def most_general(one: Type, other: Type) -> Type:
    return one if _less_specific(one, other) else other
