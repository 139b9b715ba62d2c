"""A custom schema as OpenAPI shows it: with the head every object has, and in version 2 less.

OpenAPI v2 has no word for oneOf, null or "anything else": what cannot be said is left out there,
so that clients that validate by it (kubectl) accept what the server accepts.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_NOT_IN_V2 = ("allOf", "anyOf", "oneOf", "not", "default", "nullable")
_BOTH = [{"type": "integer"}, {"type": "string"}]
_LISTS = ("allOf", "anyOf", "oneOf")


def publish_schema(schema: Schema, head: Schema, *, version: int, root: bool = False) -> Schema:
    """A copy for OpenAPI ``version`` 2 or 3; ``head`` are the properties every object has."""

    def publish(below: Schema) -> Schema:
        return publish_schema(below, head, version=version)

    if root and version == 2 and schema.get("x-kubernetes-preserve-unknown-fields"):
        # With properties, kubectl would take those for all there may be.
        return {"type": "object"}
    made = dict(schema)
    if version == 2:
        _forget_nullable(made)
        loose = schema.get("nullable") or schema.get("x-kubernetes-preserve-unknown-fields")
        for name in _NOT_IN_V2:
            made.pop(name, None)
        if loose:
            for name in ("type", "items", "properties", "additionalProperties", "required"):
                made.pop(name, None)
        if schema.get("x-kubernetes-int-or-string"):
            made.pop("type", None)
            made["x-kubernetes-int-or-string"] = True
    else:
        for name in _LISTS:
            if made.get(name):
                made[name] = [publish(part) for part in made[name]]
        if schema.get("x-kubernetes-int-or-string"):
            _say_both(made)
    properties = {name: publish(part) for name, part in (made.get("properties") or {}).items()}
    # kubectl would take them for all there may be, where there may be more.
    open_ended = version == 2 and schema.get("x-kubernetes-preserve-unknown-fields")
    embedded = schema.get("x-kubernetes-embedded-resource") and not open_ended
    if root or embedded:
        properties |= head
    if embedded:
        required = made.get("required") or []
        made["required"] = [*required, *(n for n in ("kind", "apiVersion") if n not in required)]
    if properties:
        made["properties"] = properties
    for name in ("items", "additionalProperties", "not"):
        if isinstance(made.get(name), dict):
            made[name] = publish(made[name])
    if root:
        made["type"] = "object"
    return made


def _say_both(made: Schema) -> None:
    """Say that a value is a number or a text, if the definition does not say it itself."""
    every = made.get("allOf") or []
    if made.get("anyOf") == _BOTH or (every and every[0].get("anyOf") == _BOTH):
        return
    if made.get("anyOf"):
        made["allOf"] = [{"anyOf": list(_BOTH)}, *every]
    else:
        made["anyOf"] = list(_BOTH)


def _forget_nullable(made: Schema) -> None:
    """A required property that may be null must not be missed where null cannot be said."""
    required, properties = made.get("required"), made.get("properties") or {}
    if required:
        made["required"] = [n for n in required if not (properties.get(n) or {}).get("nullable")]
    values = made.get("additionalProperties")
    if (isinstance(values, dict) and values.get("nullable")) or not made.get("required"):
        made.pop("required", None)
