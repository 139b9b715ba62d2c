"""How a document relates to the one before: which part was which, and whether it changed.

Upstream: .../custom-resource-definitions#validation-ratcheting
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

ABSENT: Any = object()
"""There is no such part, or it cannot be told which one it was."""


class Old:
    """How a value relates to the old document: the value there, or the nearest parent's.

    ``value`` is ABSENT where the place in the old document cannot be told.
    """

    __slots__ = ("nearest", "schema", "value", "where")

    def __init__(
        self,
        where: Any,
        value: Any,
        schema: Schema,
        nearest: tuple[Any, Any, Schema] | None = None,
    ) -> None:
        self.where = where
        self.value = value
        self.schema = schema
        self.nearest = nearest

    def is_same(self) -> bool:
        """Whether this, or the nearest parent that can be told, did not change."""
        if self.value is not ABSENT:
            return _same(self.where, self.value, self.schema)
        return self.nearest is not None and _same(*self.nearest)

    def below(self, where: Any, value: Any, schema: Schema) -> Old:
        """The relation of a part; ``value`` is ABSENT if the old one has no such part."""
        if self.value is ABSENT:
            return self
        return Old(where, value, schema, (self.where, self.value, self.schema))


def _same(new: Any, old: Any, schema: Schema) -> bool:
    """Equality in which lists that are maps have no order."""
    if type(new) is not type(old):
        return False
    if type(new) is dict:
        if new.keys() != old.keys():
            return False
        return all(_same(value, old[key], _part(schema, key)) for key, value in new.items())
    if type(new) is list:
        keys = list_keys(schema)
        if not keys:
            return _plain_same(new, old)
        if len(new) != len(old):
            return False
        known = by_keys(old, keys)
        items = schema.get("items") or {}
        for item in new:
            before = known.get(key_of(item, keys), ABSENT)
            if before is ABSENT or not _same(item, before, items):
                return False
        return True
    return bool(new == old)


def _plain_same(new: Any, old: Any) -> bool:
    if type(new) is not type(old):
        return False
    if type(new) is dict:
        return new.keys() == old.keys() and all(_plain_same(v, old[k]) for k, v in new.items())
    if type(new) is list:
        return len(new) == len(old) and all(map(_plain_same, new, old))
    return bool(new == old)


def _part(schema: Schema, key: str) -> Schema:
    found = (schema.get("properties") or {}).get(key)
    if found is None:
        found = schema.get("additionalProperties")
    return found if isinstance(found, dict) else {}


def list_keys(schema: Schema) -> tuple[str, ...]:
    if schema.get("x-kubernetes-list-type") != "map":
        return ()
    return tuple(schema.get("x-kubernetes-list-map-keys") or ())


def key_of(item: Any, keys: tuple[str, ...]) -> tuple[str, ...] | None:
    return tuple(repr(item.get(key)) for key in keys) if type(item) is dict else None


def by_keys(items: Any, keys: tuple[str, ...]) -> dict[tuple[str, ...] | None, Any]:
    if type(items) is not list:
        return {}
    return {key_of(item, keys): item for item in items if type(item) is dict}
