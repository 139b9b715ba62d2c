"""Filling in defaults of a custom schema, compiled once; nulls that may not be go first.

A null counts as absent unless the schema says ``nullable``. Copies of defaults are handed out,
never the schema's own.
Upstream: .../custom-resource-definitions#defaulting-and-nullable
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

Schema = dict[str, Any]
Fill = Callable[[Any], None]


def compile_defaults(schema: Schema) -> Fill:
    """A function that changes a document in place."""
    return _compile(schema) or _nothing


def _nothing(value: Any) -> None:
    return


def _copied(schema: Schema) -> Callable[[], Any] | None:
    default = schema.get("default")
    if default is None:
        return None
    if not isinstance(default, dict | list):
        return lambda: default
    data = orjson.dumps(default)
    return lambda: orjson.loads(data)


class _Child:
    __slots__ = ("default", "fill", "nullable")

    def __init__(self, schema: Schema) -> None:
        self.default = _copied(schema)
        self.fill = _compile(schema)
        self.nullable = bool(schema.get("nullable"))

    @property
    def idle(self) -> bool:
        """Nothing to do but drop nulls."""
        return self.default is None and self.fill is None and self.nullable


def _compile(schema: Schema) -> Fill | None:
    items = schema.get("items")
    if isinstance(items, dict):
        return _fill_list(_Child(items))
    more = schema.get("additionalProperties")
    properties = schema.get("properties") or {}
    rest = _Child(more) if isinstance(more, dict) else None
    if not properties and rest is None:
        return None
    return _fill_object({name: _Child(below) for name, below in properties.items()}, rest)


def _fill_list(items: _Child) -> Fill | None:
    default, fill, nullable = items.default, items.fill, items.nullable
    if fill is None and default is None:
        return None

    def walk(value: Any) -> None:
        if type(value) is not list:
            return
        for index, item in enumerate(value):
            if item is None and not nullable and default is not None:
                value[index] = item = default()
            if fill is not None:
                fill(item)

    return walk


def _fill_object(known: dict[str, _Child], rest: _Child | None) -> Fill:
    absent = [(name, child.default) for name, child in known.items() if child.default is not None]

    def walk(value: Any) -> None:
        if type(value) is not dict:
            return
        for name, default in absent:
            if name not in value:
                value[name] = default()
        dropped: list[str] | None = None
        for name, item in value.items():
            child = known.get(name) or rest
            if child is None:
                continue
            if item is None and not child.nullable:
                if child.default is None:
                    dropped = [*(dropped or ()), name]
                    continue
                value[name] = item = child.default()
            if child.fill is not None:
                child.fill(item)
        if dropped is not None:
            for name in dropped:
                del value[name]

    return walk
