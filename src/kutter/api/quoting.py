"""How upstream's messages quote a value (Go's ``%q`` for strings, JSON for the rest)."""

from __future__ import annotations

import json
from typing import Any


class Quoted(str):
    """A value in the form a message shows it already."""

    __slots__ = ()


def quote(value: Any) -> str:
    """``"text"`` for strings, JSON for everything else."""
    if type(value) is Quoted:
        return value
    if value is None:
        return "null"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
