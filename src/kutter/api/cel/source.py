"""The text of an expression: positions in it, and issues shown with the line they stand in."""

from __future__ import annotations

from bisect import bisect_right

from kutter.api.cel.errors import CompileError, Issue

CODE_POINT_LIMIT = 100_000
DEPTH_LIMIT = 250


class Source:
    """A text and where its lines begin."""

    __slots__ = ("_starts", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0, *(index + 1 for index, char in enumerate(text) if char == "\n")]

    def locate(self, offset: int) -> tuple[int, int]:
        """(line, column), both from 1; an offset of -1 is the text as a whole."""
        if offset < 0:
            return -1, 0
        if not self.text:
            # There is no column, and no line to show.
            return 1, 0
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def _render(self, issue: Issue) -> str:
        line, column = issue.line, issue.column
        text = f"ERROR: <input>:{line}:{column}: {issue.message}"
        if line < 0 or not column:
            return text
        start = self._starts[line - 1]
        end = self._starts[line] - 1 if line < len(self._starts) else len(self.text)
        shown = self.text[start:end].replace("\t", " ")
        mark = "".join("．" if ord(char) > 0x7F else "." for char in shown[: column - 1])
        wide = column - 1 < len(shown) and ord(shown[column - 1]) > 0x7F
        return f"{text}\n | {shown}\n | {mark}{'＾' if wide else '^'}"

    def failure(self, issues: list[Issue]) -> CompileError:
        """The error of these issues, in the order they stand in the text."""
        placed = [Issue(i.offset, i.message, *self.locate(i.offset)) for i in issues]
        placed.sort(key=lambda issue: (issue.line, issue.column))
        return CompileError("\n".join(map(self._render, placed)), placed)
