"""Reading the parts of a definition's schemas that the tables leave open.

``items`` and ``additionalProperties`` may each be one of two types, so the tables say "anything"
there. This is the rest of the decoding: every schema below them is cleaned by the table too.
"""

from __future__ import annotations

from typing import Any

from kutter.api.errors import ApiError, bad_request
from kutter.api.schema.loader import type_node
from kutter.api.schema.walk import Mismatch

Schema = dict[str, Any]

DEPTH_LIMIT = 100


def clean_schemas(spec: Any) -> None:
    """Clean the schemas of a specification in place. Raises 400 for what is no schema."""
    if not isinstance(spec, dict):
        return
    for version in spec.get("versions") or ():
        schema = ((version or {}).get("schema") or {}).get("openAPIV3Schema")
        if isinstance(schema, dict):
            _descend(schema, 0)


def _clean(schema: Schema, depth: int) -> None:
    try:
        type_node("apiextensions.k8s.io/v1", "JSONSchemaProps").visit(schema, None)
    except Mismatch as mismatch:
        raise _refusal(str(mismatch)) from None
    _descend(schema, depth)


def _descend(schema: Schema, depth: int) -> None:
    if depth > DEPTH_LIMIT:
        raise _refusal("exceeded max depth")
    items, more = schema.get("items"), schema.get("additionalProperties")
    if isinstance(items, list):
        for item in items:
            if not isinstance(item, dict):
                raise _refusal("json: cannot unmarshal value into Go struct field .items")
            _clean(item, depth + 1)
    elif items is not None:
        if not isinstance(items, dict):
            raise _refusal("json: cannot unmarshal value into Go struct field .items")
        _clean(items, depth + 1)
    if isinstance(more, dict):
        _clean(more, depth + 1)
    elif more is not None and not isinstance(more, bool):
        raise _refusal("boolean or JSON schema expected")
    for name in ("properties", "patternProperties", "definitions"):
        for below in (schema.get(name) or {}).values():
            _descend(below, depth + 1)
    for name in ("allOf", "anyOf", "oneOf"):
        for below in schema.get(name) or ():
            _descend(below, depth + 1)
    if schema.get("not") is not None:
        _descend(schema["not"], depth + 1)


def _refusal(detail: str) -> ApiError:
    kind = "CustomResourceDefinition"
    return bad_request(f'{kind} in version "v1" cannot be handled as a {kind}: {detail}')
