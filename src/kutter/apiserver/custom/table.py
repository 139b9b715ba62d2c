"""The columns of a custom kind: name, and what its definition's JSON paths find."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from kutter.api.jsonpath import JSONPath, JSONPathError, value_text
from kutter.apiserver.ports import Tree
from kutter.apiserver.printing.age import human_duration, parse_time

_NAME: Tree = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Unique within its namespace",
    "priority": 0,
}


def _readable(columns: tuple[Tree, ...]) -> list[Tree]:
    """``columns`` up to the first whose path is none: what upstream falls back to."""
    found: list[Tree] = []
    for column in columns:
        try:
            JSONPath(f"{{{column['jsonPath']}}}")
        except JSONPathError:
            break
        found.append(column)
    return found


class CustomPrinter:
    """``columns`` are the definition's ``additionalPrinterColumns``, or the age alone."""

    order: Callable[[Tree], Any] | None = None

    def __init__(self, columns: tuple[Tree, ...]) -> None:
        self._paths: list[tuple[str, JSONPath]] = []
        self._columns: list[Tree] = [_NAME]
        for column in _readable(columns):
            path = column["jsonPath"]
            described = f"Custom resource definition column (in JSONPath format): {path}"
            self._paths.append((column["type"], JSONPath(f"{{{path}}}")))
            self._columns.append(
                {
                    "name": column["name"],
                    "type": column["type"],
                    "format": column.get("format") or "",
                    "description": column.get("description") or described,
                    "priority": column.get("priority") or 0,
                }
            )

    @property
    def columns(self) -> list[Tree]:
        return self._columns

    def cells(self, tree: Tree, now: datetime) -> list[Any]:
        cells: list[Any] = [tree["metadata"].get("name", "")]
        for kind, path in self._paths:
            try:
                found = path.values(tree)
            except JSONPathError:
                found = []
            cells.append(_cell(kind, found[0], now) if found else None)
        return cells

    def conditions(self, tree: Tree) -> list[Tree]:
        return []


def _cell(kind: str, value: Any, now: datetime) -> Any:
    """A value as the column's type wants it; None where it does not fit."""
    number = type(value) in (int, float)
    match kind:
        case "string":
            return value_text(value)
        case "integer":
            return int(value) if number else None
        case "number":
            return float(value) if number else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date" if isinstance(value, str):
            then = parse_time(value)
            return "<invalid>" if then is None else human_duration((now - then).total_seconds())
        case _:
            return None
