"""How Go's structs go on the wire: what is always written, what is left out when it is zero.

``wire.json`` names each type's fields in the order of the struct, one text a field:
``json|flag|GoName|go.Type|Embedded``, rests left out. Flags: ``~`` a plain value left out when
zero, ``=`` a plain value that is always written, ``*`` a pointer that is written as null, ``?``
left out when it is zero as a whole. ``GoName`` is given where it is more than the first letter
made large, ``go.Type`` where the type is named and no struct, ``Embedded`` where the field is one
of a struct within the struct. ``tools/build_wire_tables.py`` writes it.

Trees follow it after :mod:`kutter.api.schema.walk`: an absent value and a zero one are the same
to whoever reads them, as they are upstream.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from kutter.api.quoting import Quoted

if TYPE_CHECKING:
    from kutter.api.schema.node import Node


class WireField(msgspec.Struct, frozen=True):
    """One field of a struct."""

    name: str
    flag: str
    go_name: str
    go_type: str
    embedded: str


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, list[str]]]:
    path = Path(__file__).parent / "wire.json"
    read: dict[str, dict[str, list[str]]] = orjson.loads(path.read_bytes())
    return read


@lru_cache(maxsize=4096)
def wire_fields(table: str, name: str) -> dict[str, WireField]:
    """The fields of a type in Go's order; none where nothing is known."""
    found: dict[str, WireField] = {}
    for text in _tables().get(table, {}).get(name, ()):
        parts = [*text.split("|"), "", "", "", ""]
        field, flag, go_name, go_type, embedded = parts[:5]
        go_name = go_name or field[:1].upper() + field[1:]
        found[field] = WireField(field, flag, go_name, go_type, embedded)
    return found


def dropped_zeros(node: Node) -> frozenset[str]:
    """Fields of an object that are left out when they are zero."""
    fields = wire_fields(node.table, node.name)
    return frozenset(name for name, field in fields.items() if field.flag == "~")


def always_written(node: Node) -> tuple[tuple[str, Any], ...]:
    """Fields of an object that are always there, with what they hold when nothing was given.

    Whoever puts one into a tree makes it :func:`fresh`.
    """
    fields = wire_fields(node.table, node.name)
    kept: Any = [] if node.table in _STORED_AS_JSON else None
    return tuple(
        (name, None if field.flag == "*" else zero_of(node.fields[name], kept))
        for name, field in fields.items()
        if field.flag in ("=", "*") and name in node.fields
    )


# Upstream stores the others as protobuf, which does not know an empty list from none.
_STORED_AS_JSON = frozenset({"apiextensions.k8s.io/v1", "apiregistration.k8s.io/v1"})


def zero_of(node: Node, empty_list: Any = None) -> Any:
    """A plain value nothing was given for."""
    match node.type:
        case "object":
            return dict(always_written(node))
        case "string" | "byte":
            return ""
        case "boolean":
            return False
        case "int32" | "int64" | "double" | "intstr":
            return 0
        case "quantity":
            return "0"
        case "list":
            return empty_list
        case _:
            return None


def fresh(value: Any) -> Any:
    """A zero value of one's own."""
    if type(value) is dict:
        return {k: fresh(v) for k, v in value.items()}
    return [] if value == [] else value


_EMBEDDED = "ObjectMeta"


def render(value: Any, node: Node, *, internal: bool = False) -> Quoted:
    """JSON as Go writes a struct: fields in its order, maps by key.

    ``internal``: as the server's own types have it: no tags, so Go's names, and every field.
    """
    return Quoted(_text(_ordered(value, node, internal=internal)))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _ordered(value: Any, node: Node | None, *, internal: bool) -> Any:
    if node is None:
        return value
    if node.type == "list" and isinstance(value, list):
        return [_ordered(item, node.items, internal=internal) for item in value]
    if node.type == "map" and isinstance(value, dict):
        return {k: _ordered(v, node.items, internal=internal) for k, v in sorted(value.items())}
    if node.type != "object" or not isinstance(value, dict):
        return value
    fields = wire_fields(node.table, node.name)
    if not fields:
        return value
    tagged = not internal or node.table == "meta/v1"
    shown: dict[str, Any] = {}
    for name, field in fields.items():
        below = node.fields.get(name)
        if not tagged and field.go_name == _EMBEDDED:
            # Go writes an embedded struct's fields among those of the one around it.
            shown |= _ordered(value.get(name) or {}, below, internal=internal)
            continue
        if value.get(name) is not None:
            found = _ordered(value[name], below, internal=internal)
        elif tagged and field.flag not in ("=", "*"):
            continue
        elif field.flag in ("", "*") or below is None:
            found = None
        else:
            found = _ordered(zero_of(below), below, internal=internal)
        shown[name if tagged else field.go_name] = found
    return shown
