"""Objects embedded in a custom object carry a head of their own: apiVersion, kind, metadata.

Upstream's ``apiextensions-apiserver/pkg/apiserver/schema/objectmeta``.
"""

from __future__ import annotations

from typing import Any

from kutter.api.errors import FieldError, invalid, required
from kutter.api.names import check_dns_label_1035, check_path_segment

Schema = dict[str, Any]
EMBEDDED = "x-kubernetes-embedded-resource"


def has_embedded(schema: Schema) -> bool:
    """Whether there is anything to check."""
    if schema.get(EMBEDDED):
        return True
    items, more = schema.get("items"), schema.get("additionalProperties")
    below = [*(schema.get("properties") or {}).values(), items, more]
    return any(isinstance(part, dict) and has_embedded(part) for part in below)


def find_embedded_errors(schema: Schema, value: Any, path: str = "") -> list[FieldError]:
    """Errors of the heads of embedded objects, anywhere below ``value``."""
    errors: list[FieldError] = []
    if has_embedded(schema):
        _walk(schema, value, path, errors)
    return errors


def _walk(schema: Schema, value: Any, path: str, errors: list[FieldError]) -> None:
    if isinstance(value, dict):
        if schema.get(EMBEDDED):
            _head(value, f"{path}." if path else "", errors)
        properties, more = schema.get("properties") or {}, schema.get("additionalProperties")
        for key, item in value.items():
            if key in properties:
                _walk(properties[key], item, f"{path}.{key}" if path else key, errors)
            elif isinstance(more, dict):
                _walk(more, item, f"{path}[{key}]", errors)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            _walk(schema["items"], item, f"{path}[{index}]", errors)


def _head(value: dict[str, Any], prefix: str, errors: list[FieldError]) -> None:
    for field in ("apiVersion", "kind"):
        found = value.get(field)
        if not found:
            errors.append(required(f"{prefix}{field}"))
        elif not isinstance(found, str):
            errors.append(invalid(f"{prefix}{field}", found, "must be a string"))
        elif field == "apiVersion" and found.count("/") > 1:
            errors.append(
                invalid(f"{prefix}{field}", found, f"unexpected GroupVersion string: {found}")
            )
        elif field == "kind" and (problems := check_dns_label_1035(found.lower())):
            detail = "may have mixed case, but should otherwise match: " + ",".join(problems)
            errors.append(invalid(f"{prefix}{field}", found, detail))
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if isinstance(name, str) and name:
        for problem in check_path_segment(name):
            errors.append(invalid(f"{prefix}metadata.name", name, problem))
