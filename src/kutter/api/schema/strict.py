"""What a strict decoder complains of in a JSON text, in the order it comes upon it.

Between a text and its schema; :mod:`kutter.api.schema.duplicates` and the walk tell cheaply whether
there is anything to complain of at all. Facts: a field that is unknown is told once and not looked
into, however often it is given; one given again is told once, and what each of its values holds is
looked into.
"""

from __future__ import annotations

import json
import re

from kutter.api.schema.duplicates import Pairs
from kutter.api.schema.node import Node

_PART = re.compile(r"[^.\[\]]+|\[\d+\]")


def find_complaints(data: bytes, node: Node) -> list[str]:
    """``unknown field "spec.foo"`` and ``duplicate field "spec.bar"`` of a text of ``node``.

    Raises RecursionError for text nested too deep.
    """
    found: dict[str, None] = {}
    _search(json.loads(data, object_pairs_hook=Pairs), node, "", found)
    return [*found]


def _search(value: object, node: Node | None, path: str, found: dict[str, None]) -> None:
    if node is None or node.type == "any":
        return
    if isinstance(value, Pairs):
        seen: set[str] = set()
        for key, item in value:
            here = f"{path}.{key}" if path else key
            below = node.child(key)
            if below is None and node.type == "object" and not node.preserves_unknown:
                found[f'unknown field "{here}"'] = None
                continue
            if key in seen:
                found[f'duplicate field "{here}"'] = None
            seen.add(key)
            _search(item, below, here, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _search(item, node.items, f"{path}[{index}]", found)


def parts_of(path: str) -> list[tuple[int, str]]:
    """A path's steps: sorts as the paths of a text whose keys are sorted come."""
    return [
        (int(part[1:-1]), "") if part.startswith("[") else (0, part) for part in _PART.findall(path)
    ]


def steps_of(path: str) -> tuple[str, ...]:
    """A path as :meth:`Node.at` takes it."""
    return tuple("*" if part.startswith("[") else part for part in _PART.findall(path))
