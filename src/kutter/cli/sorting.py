"""``--sort-by``: objects in the order of one of their fields."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from kutter.api.jsonpath import JSONPath, JSONPathError, relaxed
from kutter.api.quantity import is_quantity, parse
from kutter.cli.command import CommandError

T = TypeVar("T")
_pieces = re.compile(r"\d+|\D+").findall


def sorted_by(rows: list[T], path: str, tree_of: Callable[[T], Any]) -> list[T]:
    """``rows`` in the order of the field at ``path``; those without it first."""
    try:
        template = JSONPath(relaxed(path))
        values = [(template.values(tree_of(row)) or [None])[0] for row in rows]
    except JSONPathError as error:
        raise CommandError(f"invalid --sort-by: {error}") from error
    if rows and all(value is None for value in values):
        raise CommandError(
            f"couldn't find any field with path {relaxed(path)!r} in the list of objects"
        )
    by_quantity = all(value is None or is_quantity(value) for value in values)
    order = sorted(range(len(rows)), key=lambda n: _key(values[n], by_quantity))
    return [rows[n] for n in order]


def _key(value: Any, by_quantity: bool) -> tuple[Any, ...]:
    if value is None:
        return (0,)
    if by_quantity and not isinstance(value, bool):
        return (1, parse(value).nanos)
    if isinstance(value, bool | int | float):
        return (1, value)
    # Natural order: web-2 before web-10.
    return (2, [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in _pieces(str(value))])
