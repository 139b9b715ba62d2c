"""Dropping what a custom schema does not know, each schema compiled to a closure once.

Between a decoded document and its schema. Values of a wrong type are left alone: they are told
as field errors later. Metadata, of the object and of objects embedded in it, is cleaned by the
table of ObjectMeta as any other kind's; a wrong type there ends the walk with a Mismatch.
Upstream: .../custom-resources/custom-resource-definitions#field-pruning
"""

from __future__ import annotations

from typing import Any

from kutter.api.schema.duplicates import count_keys
from kutter.api.schema.loader import type_node
from kutter.api.schema.node import Findings, Visit
from kutter.api.schema.walk import Mismatch

Schema = dict[str, Any]


def compile_prune(schema: Schema, *, root: bool = False) -> Visit:
    """The visit of a schema: (value, findings) → value."""
    return _compile(schema, root=root) or _keep


def _keep(value: Any, findings: Findings | None) -> Any:
    if findings is not None and type(value) in (dict, list):
        findings.keys += count_keys(value)
    return value


def _compile(schema: Schema, *, root: bool = False) -> Visit | None:
    """None where nothing below can be dropped."""
    items = schema.get("items")
    if isinstance(items, dict) and schema.get("type") == "array":
        inner = _compile(items)
        return _list_visit(inner) if inner is not None else None
    embedded = root or bool(schema.get("x-kubernetes-embedded-resource"))
    more = schema.get("additionalProperties")
    known: dict[str, Visit | None] = {
        name: _compile(below) for name, below in (schema.get("properties") or {}).items()
    }
    if embedded:
        known |= {
            "apiVersion": None,
            "kind": None,
            "metadata": type_node("meta/v1", "ObjectMeta").visit,
        }
    preserves = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    if not embedded and not known and (preserves or schema.get("x-kubernetes-int-or-string")):
        return None
    if more is True or isinstance(more, dict):
        rest = _compile(more) if isinstance(more, dict) else None
        if rest is None and not any(known.values()):
            return None
        return _object_visit(known, rest, keeps_rest=True, resource=embedded)
    if schema.get("type") in ("string", "integer", "number", "boolean"):
        return None
    return _object_visit(known, None, keeps_rest=preserves, resource=embedded)


def _list_visit(inner: Visit) -> Visit:
    def visit(value: Any, findings: Findings | None) -> Any:
        if type(value) is list:
            for item in value:
                inner(item, findings)
        elif type(value) is dict:
            _keep(value, findings)
        return value

    return visit


def _object_visit(
    known: dict[str, Visit | None], rest: Visit | None, *, keeps_rest: bool, resource: bool
) -> Visit:
    def visit(value: Any, findings: Findings | None) -> Any:
        if type(value) is list:
            for item in value:
                visit(item, findings)
            return value
        if type(value) is not dict:
            return value
        if findings is not None:
            findings.keys += len(value)
        dropped: list[str] | None = None
        for key, item in value.items():
            if key in known:
                below = known[key]
            elif keeps_rest:
                below = rest
            else:
                if findings is not None:
                    findings.unknown.append((value, key))
                    findings.keys += count_keys(item)
                dropped = [*(dropped or ()), key]
                continue
            if below is not None:
                if resource and key == "metadata":
                    if item is None:
                        dropped = [*(dropped or ()), key]
                        continue
                    try:
                        below(item, findings)
                    except Mismatch as mismatch:
                        mismatch.path.append(key)
                        raise
                else:
                    below(item, findings)
            elif findings is not None and type(item) in (dict, list):
                findings.keys += count_keys(item)
        if dropped is not None:
            for key in dropped:
                del value[key]
        return value

    return visit
