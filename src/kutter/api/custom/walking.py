"""All the schemas in a schema, wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_ONE = ("items", "additionalProperties", "not")
_MANY = ("allOf", "anyOf", "oneOf")


def schemas_of(schema: Schema) -> Iterator[Schema]:
    """``schema`` and what is below it, junctors included; in no particular order."""
    pending: list[Any] = [schema]
    while pending:
        found = pending.pop()
        if not isinstance(found, dict):
            continue
        yield found
        pending += (found[key] for key in _ONE if key in found)
        for key in _MANY:
            pending += found.get(key) or ()
        pending += (found.get("properties") or {}).values()
