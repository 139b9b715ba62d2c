"""What the schema itself requires: the whole validation of kinds with no rules of their own.

Go decodes an absent required field to its zero value, so here a required text is missing when
it is empty, and a required object when it is absent; numbers, booleans and lists may be zero.
"""

from __future__ import annotations

from typing import Any

from kutter.api.errors import FieldError, required
from kutter.api.schema.node import Node


def validate_required(value: Any, node: Node, path: str = "") -> list[FieldError]:
    """Required fields missing anywhere below ``value``; metadata is looked at elsewhere."""
    errors: list[FieldError] = []
    _walk(errors, value, node, path)
    return errors


def _walk(errors: list[FieldError], value: Any, node: Node, path: str) -> None:
    if node.type == "object" and isinstance(value, dict):
        prefix = f"{path}." if path else ""
        for name in sorted(node.required):
            field = node.fields.get(name)
            if field is not None and _is_missing(value.get(name), field):
                errors.append(required(f"{prefix}{name}"))
        for name, below in value.items():
            field = node.fields.get(name)
            if field is not None and (path or name not in ("metadata", "status")):
                _walk(errors, below, field, f"{prefix}{name}")
    elif node.type == "list" and isinstance(value, list) and node.items is not None:
        for i, item in enumerate(value):
            _walk(errors, item, node.items, f"{path}[{i}]")
    elif node.type == "map" and isinstance(value, dict) and node.items is not None:
        for key, item in value.items():
            _walk(errors, item, node.items, f"{path}[{key}]")


def _is_missing(value: Any, field: Node) -> bool:
    if field.type in ("string", "quantity", "time", "microtime", "byte"):
        return not value and value != 0
    return field.type == "object" and value is None
