"""Lines with tab stops, lined up the way Go's tabwriter does it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kutter.cli.printers.table import NONE

Tree = dict[str, Any]
_PADDING = 2


class Page:
    r"""Collects lines; ``\\t`` separates cells, each level is two spaces further in."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, text: str, level: int = 0) -> None:
        self._lines.append("  " * level + text)

    def field(self, name: str, value: object, level: int = 0) -> None:
        """``Name:   value``."""
        self.add(f"{name}:\t{value}", level)

    def pairs(self, name: str, values: dict[str, Any] | None, *, skip: frozenset[str] = frozenset(),
              level: int = 0, between: str = "=") -> None:  # fmt: skip
        """``Labels:  a=b`` and one further line for each."""
        shown = [f"{k}{between}{v}" for k, v in sorted((values or {}).items()) if k not in skip]
        self.field(name, shown[0] if shown else NONE, level)
        for text in shown[1:]:
            self.add(f"\t{text}", level)

    def extend(self, lines: Iterable[str], level: int = 0) -> None:
        for line in lines:
            self.add(line, level)

    def text(self) -> str:
        return "\n".join(align(self._lines)) + "\n"


def align(lines: list[str]) -> list[str]:
    """Widths hold over neighbouring lines that have the column."""
    rows = [line.split("\t") for line in lines]
    column = 0
    while any(len(row) > column + 1 for row in rows):
        start = 0
        while start < len(rows):
            if len(rows[start]) <= column + 1:
                start += 1
                continue
            end = start
            while end < len(rows) and len(rows[end]) > column + 1:
                end += 1
            width = max(len(row[column]) for row in rows[start:end]) + _PADDING
            for row in rows[start:end]:
                row[column] = row[column].ljust(width)
            start = end
        column += 1
    return ["".join(row) for row in rows]
