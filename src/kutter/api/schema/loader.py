"""From the tables to nodes, each table read when one of its types is first asked for.

A table is a JSON file per group-version: ``types`` maps a type's name to its ``fields``; a field
is a type text or an object with ``type`` and facts. Type texts: a scalar of
:data:`kutter.api.schema.node.NodeType`, ``[T]`` a list, ``{T}`` a map, ``@Name`` a type of the
same table, ``@apps/v1:Name`` of another. ``tools/build_schema_tables.py`` writes them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import orjson

from kutter.api.schema.node import Node, NodeType

# Beside this file: importlib.resources would read in zip files and more.
_TABLES = Path(__file__).parent / "tables"


def _table(name: str) -> dict[str, Any]:
    """What is in a table. Names come from whoever sends a body: no file is looked for by one."""
    file = f"{name.replace('/', '.')}.json"
    return _read(file) if file in _known() else {"table": name, "kinds": [], "types": {}}


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    return frozenset(entry.name for entry in _TABLES.iterdir())


@lru_cache(maxsize=128)
def _read(file: str) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads((_TABLES / file).read_bytes())
    return read


@lru_cache(maxsize=4096)
def type_node(table: str, name: str) -> Node:
    """The node of a named type, shared by all who refer to it. KeyError when there is none."""
    described = _table(table)["types"][name]
    required = frozenset(described.get("required", ()))

    def resolve() -> dict[str, Node]:
        return {
            field: _field_node(table, facts, required=field in required)
            for field, facts in described["fields"].items()
        }

    return Node(
        "object", name=name, table=table, resolve=resolve, required=required, facts=described
    )


def _field_node(table: str, facts: str | dict[str, Any], *, required: bool) -> Node:
    if isinstance(facts, str):
        return _node(table, facts, None, required=required)
    return _node(table, facts["type"], facts, required=required)


def _node(table: str, text: str, facts: dict[str, Any] | None, *, required: bool = False) -> Node:
    match text[0]:
        case "@":
            target, colon, name = text[1:].partition(":")
            shared = type_node(target, name) if colon else type_node(table, target)
            if facts is None:
                return shared
            return Node(
                "object",
                name=shared.name,
                table=shared.table,
                resolve=lambda: shared.fields,
                required=shared.required,
                facts={"mapType": shared.map_type, "unions": shared.unions, **facts},
            )
        case "[" | "{":
            items = _node(table, text[1:-1], None, required=True)
            return Node(
                "list" if text[0] == "[" else "map", items=items, facts=facts, keeps_empty=required
            )
        case _ if facts is None:
            return _scalar(text)
        case _:
            return Node(cast("NodeType", text), facts=facts)


@lru_cache(maxsize=32)
def _scalar(text: str) -> Node:
    return Node(cast("NodeType", text))


def kinds_of(table: str) -> frozenset[str]:
    """The types of a table that are kinds, lists among them."""
    return frozenset(_table(table)["kinds"])


def find_type(group: str, version: str, kind: str) -> Node | None:
    """The node of a built-in kind; ``DeleteOptions`` and the like in any group-version."""
    table = f"{group or 'core'}/{version}"
    if kind in _table(table)["types"]:
        return type_node(table, kind)
    if kind in _META_KINDS:
        return type_node("meta/v1", kind)
    return None


_META_KINDS = frozenset({"DeleteOptions", "Status"})
