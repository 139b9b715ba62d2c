"""Lists that are sets or maps: no element, or no key, twice.

Upstream's ``apiextensions-apiserver/pkg/apiserver/schema/listtype``.
"""

from __future__ import annotations

from typing import Any

import orjson

from kutter.api.errors import FieldError, duplicate, invalid

Schema = dict[str, Any]


def find_list_errors(schema: Schema, value: Any, path: str = "") -> list[FieldError]:
    """Duplicates anywhere below ``value``."""
    errors: list[FieldError] = []
    if has_list_types(schema):
        _walk(schema, value, path, errors)
    return errors


def has_list_types(schema: Schema) -> bool:
    """Whether a schema has lists this module looks at."""
    if schema.get("x-kubernetes-list-type") in ("set", "map"):
        return True
    items, more = schema.get("items"), schema.get("additionalProperties")
    below = [*(schema.get("properties") or {}).values(), items, more]
    return any(isinstance(part, dict) and has_list_types(part) for part in below)


def _walk(schema: Schema, value: Any, path: str, errors: list[FieldError]) -> None:
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        more = schema.get("additionalProperties")
        for key, item in value.items():
            if not isinstance(item, dict | list):
                continue
            if key in properties:
                _walk(properties[key], item, f"{path}.{key}" if path else key, errors)
            elif isinstance(more, dict):
                _walk(more, item, f"{path}[{key}]", errors)
    elif isinstance(value, list):
        kind = schema.get("x-kubernetes-list-type")
        if kind == "set":
            errors += [duplicate(f"{path}[{i}]", value[i]) for i in _repeated(value)]
        elif kind == "map":
            errors += _map_errors(schema, value, path)
        items = schema.get("items")
        if isinstance(items, dict):
            for index, item in enumerate(value):
                _walk(items, item, f"{path}[{index}]", errors)


def _repeated(values: list[Any]) -> list[int]:
    """Where a value comes for the second time."""
    seen: dict[Any, int] = {}
    found = []
    for index, value in enumerate(values):
        key = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 2:
            found.append(index)
    return found


def _map_errors(schema: Schema, value: list[Any], path: str) -> list[FieldError]:
    for index, item in enumerate(value):
        if item is not None and not isinstance(item, dict):
            detail = "must be an object for an array of list-type map"
            return [invalid(f"{path}[{index}]", item, detail)]
    names = schema.get("x-kubernetes-list-map-keys") or ()
    keys = [{n: item[n] for n in names if n in item} if item else {} for item in value]
    return [duplicate(f"{path}[{i}]", keys[i]) for i in _repeated(keys)]
