"""A custom schema as OpenAPI shows it: with the head every object has, and in version 2 less.

OpenAPI v2 has no word for oneOf, null or "anything else": what cannot be said is left out there,
so that clients that validate by it (kubectl) accept what the server accepts.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_NOT_IN_V2 = ("allOf", "anyOf", "oneOf", "not", "default", "nullable")
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
    properties = {name: publish(part) for name, part in (made.get("properties") or {}).items()}
    if root or (schema.get("x-kubernetes-embedded-resource") and version == 3):
        properties |= head
    if properties:
        made["properties"] = properties
    for name in ("items", "additionalProperties", "not"):
        if isinstance(made.get(name), dict):
            made[name] = publish(made[name])
    if root:
        made["type"] = "object"
    return made
