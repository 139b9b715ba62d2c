"""``-o custom-columns=NAME:.metadata.name,...``: columns of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kutter.api.jsonpath import JSONPath, JSONPathError, relaxed, value_text
from kutter.cli.command import CommandError
from kutter.cli.printers.tabs import Tabs

Tree = dict[str, Any]


class CustomColumns:
    """Headers and one path per column."""

    def __init__(self, columns: Sequence[tuple[str, str]], *, no_headers: bool = False) -> None:
        self._headers = [header for header, _ in columns]
        try:
            self._paths = [JSONPath(relaxed(path)) for _, path in columns]
        except JSONPathError as error:
            raise CommandError(str(error)) from error
        self._tabs = Tabs()
        self._headed = no_headers

    def lines(self, objects: Sequence[Tree]) -> list[str]:
        rows: list[list[str]] = []
        if not self._headed:
            rows.append(self._headers)
            self._headed = True
        rows += [[_cell(path, tree) for path in self._paths] for tree in objects]
        return self._tabs.render(rows)


def _cell(path: JSONPath, tree: Tree) -> str:
    values = path.values(tree)
    return ",".join(_go_value(v) for v in values) if values else "<none>"


def _go_value(value: Any) -> str:
    if isinstance(value, dict):
        inner = " ".join(f"{k}:{_go_value(v)}" for k, v in sorted(value.items()))
        return f"map[{inner}]"
    if isinstance(value, list):
        return f"[{' '.join(_go_value(v) for v in value)}]"
    return "<nil>" if value is None else value_text(value)


def parse_columns(text: str) -> list[tuple[str, str]]:
    """``HEADER:path,HEADER:path``. Raises CommandError."""
    if not text:
        raise CommandError("custom-columns format specified but no custom columns given")
    columns = []
    for part in _split_outside_brackets(text):
        header, colon, path = part.partition(":")
        if not colon:
            raise CommandError(
                f"unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"
            )
        columns.append((header, path))
    return columns


def parse_columns_file(text: str) -> list[tuple[str, str]]:
    """A file with a line of headers and a line of paths. Raises CommandError."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or len(lines[0]) != len(lines[1]):
        raise CommandError(
            "a custom-columns file has a line of headers and a line of as many paths"
        )
    return list(zip(lines[0], lines[1], strict=True))


def _split_outside_brackets(text: str) -> list[str]:
    parts, depth, current = [], 0, ""
    for character in text:
        depth += (character in "[(") - (character in ")]")
        if character == "," and depth <= 0:
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current]
