"""Paths of ``fieldPath`` in a rule: ``.spec.x['a/b']``, fields and keys, no places in lists."""

from __future__ import annotations

import re
from typing import Any

Schema = dict[str, Any]

_token = re.compile(
    r"\.(?P<name>[^.\[\]']+)|\['(?P<quoted>(?:\\.|[^'\\])*)'\]|(?P<wrong>.)", re.DOTALL
)
_escape = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "'": "'",
    "\\": "\\",
}


class FieldPathError(ValueError):
    """The path is none, or leads nowhere in the schema."""


def read_field_path(text: str, schema: Schema) -> str:
    """The path as errors write it. Raises FieldPathError."""
    found = ""
    for match in _token.finditer(text):
        if match["wrong"]:
            raise FieldPathError(f"expected [ or . but got: {match['wrong']}")
        name = match["name"] if match["name"] is not None else _unescape(match["quoted"])
        properties, more = schema.get("properties"), schema.get("additionalProperties")
        if properties:
            if name not in properties:
                raise FieldPathError("does not refer to a valid field")
            schema = properties[name]
            found = f"{found}.{name}" if found else name
        elif more is not None:
            schema = more if isinstance(more, dict) else {}
            found = f"{found}[{name}]"
        else:
            raise FieldPathError("does not refer to a valid field")
    return found


def _unescape(text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise FieldPathError(f"invalid string literal: invalid escape char {match[0]}")
        return _ESCAPES[match[1]]

    return _escape.sub(replace, text)
