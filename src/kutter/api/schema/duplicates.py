"""Keys given twice in a JSON text. A decoded tree no longer tells, so the text has to."""

from __future__ import annotations

import json
from typing import Any


def find_duplicates(data: bytes, tree: Any) -> list[str]:
    """Paths of keys given more than once, each once: ``metadata.name``.

    ``tree`` is ``data`` decoded. Mostly one count settles it: every key is a quote and a colon
    in the text, so when there are no more of those than keys in the tree, none is doubled.
    """
    if data.count(b'":') == _count_keys(tree) and b'" :' not in data:
        return []
    found: list[str] = []
    _search(json.loads(data, object_pairs_hook=_Pairs), "", found)
    return found


class _Pairs(list[tuple[str, Any]]):
    """An object with all its pairs."""


def _count_keys(value: Any) -> int:
    if type(value) is dict:
        total = len(value)
        for item in value.values():
            if type(item) is dict or type(item) is list:
                total += _count_keys(item)
        return total
    if type(value) is list:
        return sum(_count_keys(i) for i in value if type(i) is dict or type(i) is list)
    return 0


def _search(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, item in value:
            here = f"{path}.{key}" if path else key
            if key in seen and here not in found:
                found.append(here)
            seen.add(key)
            _search(item, here, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _search(item, f"{path}[{index}]", found)
