"""How upstream's messages show structs of the core group: by its internal types."""

from __future__ import annotations

from typing import Any

from kutter.api.quoting import Quoted
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render


def shown(kind: str, value: dict[str, Any], field: str = "") -> Quoted:
    """A value of the type, or the ``field`` of it."""
    node = type_node("core/v1", kind)
    if field:
        return render(value.get(field), node.fields[field], internal=True)
    return render(value, node, internal=True)
