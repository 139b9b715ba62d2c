"""Columns lined up the way kubectl lines them up."""

from __future__ import annotations

from collections.abc import Sequence

_MIN_WIDTH = 6
_PADDING = 3


class Tabs:
    """Rows in columns three spaces apart; widths only grow, so that a watch stays lined up."""

    def __init__(self) -> None:
        self._widths: list[int] = []

    def render(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """One line per row; the last cell of a row is not padded."""
        for row in rows:
            for column, cell in enumerate(row[:-1]):
                width = max(_MIN_WIDTH, len(cell) + _PADDING)
                if column == len(self._widths):
                    self._widths.append(width)
                elif width > self._widths[column]:
                    self._widths[column] = width
        return [self._line(row) for row in rows]

    def _line(self, row: Sequence[str]) -> str:
        cells = [cell.ljust(self._widths[n]) for n, cell in enumerate(row[:-1])]
        return "".join(cells) + (row[-1] if row else "")


def cell_text(value: object) -> str:
    """A table cell as text: its first line, the rest hinted at."""
    match value:
        case None:
            return "<none>"
        case bool():
            text = "true" if value else "false"
        case _:
            text = str(value)
    for position, character in enumerate(text):
        if character in "\f\n\r":
            return text[:position] + "..."
    return text
