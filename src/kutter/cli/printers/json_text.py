"""JSON as kubectl writes it: four spaces, keys in order, Go's escapes."""

from __future__ import annotations

import json
from typing import Any

_GO_ESCAPES = {
    "&": "\\u0026",
    "<": "\\u003c",
    ">": "\\u003e",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def render_json(tree: Any) -> str:
    """A document, ending in a newline."""
    text = json.dumps(tree, indent=4, sort_keys=True, ensure_ascii=False)
    for character, escape in _GO_ESCAPES.items():
        if character in text:
            text = text.replace(character, escape)
    return text + "\n"
