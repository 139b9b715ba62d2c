"""Keys given twice in a JSON text. A decoded tree no longer tells, so the text has to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def find_duplicates(data: bytes, keys: int) -> list[str]:
    """Paths of keys given more than once, each once: ``metadata.name``.

    ``keys`` is how many keys ``data`` has decoded (:func:`count_keys`). Mostly it settles it:
    every key is a quote and a colon in the text, so when there are no more of those than keys
    in the tree, none is doubled. Raises RecursionError for text nested too deep.
    """
    return [] if text_keys(data) == keys else list_duplicates(data)


def list_duplicates(data: bytes) -> list[str]:
    """As :func:`find_duplicates`, without a guess. Raises RecursionError."""
    found: list[str] = []
    _search(json.loads(data, object_pairs_hook=Pairs), "", found)
    return found


def text_keys(data: bytes) -> int:
    """How many keys a JSON text has; -1 when it takes more than counting to tell (blanks before
    a colon, text that ends with a backslash). A quote that is escaped ends no key.
    """
    if b'\\\\"' in data or b" :" in data or b"\t:" in data or b"\n:" in data or b"\r:" in data:
        return -1
    return data.count(b'":') - data.count(b'\\":')


class Pairs(list[tuple[str, Any]]):
    """An object with all its pairs."""


def count_keys(value: Any) -> int:
    """How many keys all objects in a JSON value have together."""
    total = 0
    pending = [value]
    while pending:
        container = pending.pop()
        items: Iterable[Any] = ()
        if type(container) is dict:
            total += len(container)
            items = container.values()
        elif type(container) is list:
            items = container
        pending += [item for item in items if type(item) is dict or type(item) is list]
    return total


def _search(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, Pairs):
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
