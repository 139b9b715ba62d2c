"""Types of objects from schemas, and trees seen through them. Nothing is converted beforehand.

Most JSON is what an expression sees, so most types have no wrapping at all. Where a schema says
more than JSON (a time, bytes, a double, a list that is a set), a thin view makes the value when it
is asked for. Sizes follow upstream's: what fits into a request bounds what has no bound.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.library.conversions import parse_timestamp
from kutter.api.cel.names import escape
from kutter.api.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Field,
    Type,
    list_of,
    map_of,
)
from kutter.api.cel.values import Duration, Timestamp
from kutter.api.cel.views import ItemList, KeyedList, ObjectValue, SetList, ValueMap, Wrap
from kutter.api.durations import DurationError, parse_ns
from kutter.api.schema.node import Node

Schema = Mapping[str, Any]

REQUEST_BYTES = 3 * 1024 * 1024
_WORDS = {"w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}
_UNITS = {"nano": 1, "micro": 10**3, "milli": 10**6, "n": 1, "us": 10**3, "ms": 10**6}
_long_duration = re.compile(r"(\d+) *([a-zµμ]+)", re.ASCII).fullmatch
_date = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).fullmatch


def _as_double(value: Any) -> float:
    return float(value) if type(value) is int else value


def _as_time(value: Any) -> Timestamp:
    try:
        return parse_timestamp(value if not _date(value) else f"{value}T00:00:00Z")
    except EvaluationError:
        raise EvaluationError(f"Invalid date-time formatted string {value}") from None


def _as_bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvaluationError(f"Invalid byte formatted string {value}: {error}") from None


def _as_duration(value: Any) -> Duration:
    try:
        return Duration(parse_ns(value))
    except DurationError as error:
        match = _long_duration(value)
        unit = _seconds_of(match[2]) if match is not None else None
        if match is None or unit is None:
            raise EvaluationError(f"Invalid duration {value}: {error}") from None
        return Duration(int(match[1]) * unit)


def _seconds_of(word: str) -> int | None:
    """Nanoseconds of a unit in words: ``days``, ``millis``."""
    for prefix, nanos in _UNITS.items():
        if word.startswith(prefix) and len(word) > 1:
            return nanos
    seconds = _WORDS.get(word[:1])
    return seconds * 10**9 if seconds is not None else None


# -- types from a custom schema ------------------------------------------------


def _bounded(base: Type, most: int | None, least_json: int, wrap: Wrap | None = None) -> Type:
    made = Type(base.kind, base.name, wrap=wrap)
    made.max_size, made.min_json = most, least_json
    return made


# Upstream counts what has no length as of length 0, keys of maps too.
_BOOL, _INT, _KEY = _bounded(BOOL, 0, 4), _bounded(INT, 0, 1), _bounded(STRING, 0, 2)
_DOUBLE = _bounded(DOUBLE, 0, 1, _as_double)
_TEXT_LIMIT = REQUEST_BYTES - 2


def _limit(schema: Schema, key: str) -> int | None:
    found = schema.get(key)
    return None if found is None else max(int(found), 0)


def type_of_schema(schema: Schema, *, root: bool = False) -> Type | None:
    """The type of a structural schema; None for what expressions do not see.

    ``root`` adds what every object has: ``apiVersion``, ``kind``, ``metadata.name``.
    """
    if schema.get("x-kubernetes-int-or-string"):
        length = _limit(schema, "maxLength")
        return _bounded(DYN, _TEXT_LIMIT if length is None else length * 4, 1)
    kind = "object" if root else schema.get("type")
    match kind:
        case "array":
            return _list_type(schema)
        case "object":
            more = schema.get("additionalProperties")
            if isinstance(more, Mapping):
                return _map_type(schema, more)
            return _object_type(schema, root=root)
        case "string":
            return _text_type(schema)
        case "boolean":
            return _BOOL
        case "number":
            return _DOUBLE
        case "integer":
            return _INT
    return None


def _below(schema: Schema) -> Type | None:
    return type_of_schema(schema, root=bool(schema.get("x-kubernetes-embedded-resource")))


def _list_type(schema: Schema) -> Type | None:
    items = schema.get("items")
    inner = _below(items) if isinstance(items, Mapping) else None
    if inner is None:
        return None
    kind = schema.get("x-kubernetes-list-type")
    made = list_of(inner)
    most = _limit(schema, "maxItems")
    made.max_size = (REQUEST_BYTES - 2) // (inner.min_json + 1) if most is None else most
    made.min_json = 2
    made.wrap = _list_wrap(kind, tuple(schema.get("x-kubernetes-list-map-keys") or ()), inner.wrap)
    return made


def _list_wrap(kind: str | None, keys: tuple[str, ...], wrap: Wrap | None) -> Wrap | None:
    if kind == "set":
        return lambda items: SetList(items, wrap)
    if kind == "map":
        return lambda items: KeyedList(items, wrap, keys)
    return None if wrap is None else lambda items: ItemList(items, wrap)


def _map_type(schema: Schema, more: Schema) -> Type | None:
    inner = _below(more)
    if inner is None:
        return None
    made = map_of(_KEY, inner)
    most = _limit(schema, "maxProperties")
    made.max_size = (REQUEST_BYTES - 2) // (inner.min_json + 6) if most is None else most
    made.min_json = 2
    wrap = inner.wrap
    if wrap is not None:
        made.wrap = lambda tree: ValueMap(tree, wrap)
    return made


_NAME = {"type": "string"}
_METADATA = {"type": "object", "properties": {"name": _NAME, "generateName": _NAME}}


def _object_type(schema: Schema, *, root: bool) -> Type:
    properties = dict(schema.get("properties") or {})
    if root:
        properties |= {"kind": _NAME, "apiVersion": _NAME}
        properties["metadata"] = _with_name(properties.get("metadata"))
    needed = set(schema.get("required") or ())
    fields: dict[str, Field] = {}
    least = 2
    for name, below in properties.items():
        inner = _below(below)
        if inner is None:
            continue
        escaped = escape(name)
        if escaped is not None:
            fields[escaped] = Field(name, inner)
        if name in needed and below.get("default") is None:
            least += len(name.encode()) + inner.min_json + 4
    made = Type("object", fields=fields)
    made.max_size, made.min_json = 0, least
    return _with_view(made)


def _with_name(metadata: Any) -> Schema:
    """Only names are seen of metadata."""
    if not isinstance(metadata, Mapping) or not metadata.get("properties"):
        return _METADATA
    return {**metadata, "properties": {**_METADATA["properties"], **metadata["properties"]}}  # type: ignore[dict-item]


def _with_view(made: Type) -> Type:
    fields = made.fields or {}
    if any(name != field.name or field.type.wrap is not None for name, field in fields.items()):
        made.wrap = lambda tree: ObjectValue(tree, made)
    return made


def _text_type(schema: Schema) -> Type:
    length = _limit(schema, "maxLength")
    match schema.get("format"):
        case "byte":
            return _bounded(BYTES, _TEXT_LIMIT if length is None else length, 2, _as_bytes)
        case "duration":
            return _bounded(DURATION, 32, 3, _as_duration)
        case "date":
            return _bounded(TIMESTAMP, 12, 12, _as_time)
        case "date-time":
            return _bounded(TIMESTAMP, 32, 21, _as_time)
        case _:
            pass
    if length is not None:
        return _bounded(STRING, length * 4, 2)
    enum = schema.get("enum")
    if enum:
        longest = max((len(v.encode()) for v in enum if isinstance(v, str)), default=0)
        return _bounded(STRING, longest, 2)
    return _bounded(STRING, _TEXT_LIMIT, 2)


# -- types from the tables of built-in kinds -----------------------------------


class _NodeFields(Mapping[str, Field]):
    """Fields found when first asked for: types of built-in kinds may contain themselves."""

    def __init__(self, node: Node, known: dict[int, Type]) -> None:
        self._node, self._known = node, known
        self._names: dict[str, str] | None = None
        self._made: dict[str, Field] = {}

    def _escaped(self) -> dict[str, str]:
        if self._names is None:
            self._names = {escape(name) or name: name for name in self._node.fields}
        return self._names

    def __getitem__(self, name: str) -> Field:
        made = self._made.get(name)
        if made is None:
            wire = self._escaped()[name]
            made = Field(wire, _type_of_node(self._node.fields[wire], self._known))
            self._made[name] = made
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._escaped())

    def __len__(self) -> int:
        return len(self._escaped())


def type_of_node(node: Node) -> Type:
    """The type of a built-in kind's schema. What the tables leave open is dyn."""
    return _type_of_node(node, {})


_NODE_TYPES = {
    "string": STRING,
    "boolean": BOOL,
    "int32": INT,
    "int64": INT,
    "quantity": DYN,
    "intstr": DYN,
    "any": DYN,
    "double": Type("double", wrap=_as_double),
    "byte": Type("bytes", wrap=_as_bytes),
    "time": Type("timestamp", TIMESTAMP.name, wrap=_as_time),
    "microtime": Type("timestamp", TIMESTAMP.name, wrap=_as_time),
}


def _type_of_node(node: Node, known: dict[int, Type]) -> Type:
    found = _NODE_TYPES.get(node.type)
    if found is not None:
        return found
    made = known.get(id(node))
    if made is not None:
        return made
    if node.type == "object":
        made = Type("object", node.name or "object", fields=_NodeFields(node, known))
        made.wrap = _view_of(made)
        known[id(node)] = made
        return made
    assert node.items is not None, "lists and maps have items"
    inner = _type_of_node(node.items, known)
    if node.type == "map":
        made = map_of(STRING, inner)
        wrap = inner.wrap
        made.wrap = None if wrap is None else lambda tree: ValueMap(tree, wrap)
    else:
        made = list_of(inner)
        made.wrap = _list_wrap(node.list_type, node.map_keys, inner.wrap)
    return made


def _view_of(type: Type) -> Wrap:
    return lambda tree: ObjectValue(tree, type)


def unwrap(value: Any) -> Any:
    """A view's tree, anything else as it is."""
    return value.tree if isinstance(value, ObjectValue) else value
