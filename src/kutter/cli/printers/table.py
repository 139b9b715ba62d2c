"""Server-side tables (``meta.k8s.io/v1 Table``) as ``kubectl get`` prints them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kutter.cli.printers.tabs import Tabs, cell_text

Tree = dict[str, Any]
ACCEPT = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,"
    "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
NONE = "<none>"


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What the flags of ``get`` ask of a table."""

    wide: bool = False
    no_headers: bool = False
    show_labels: bool = False
    label_columns: tuple[str, ...] = ()
    with_namespace: bool = False
    with_kind: bool = False
    with_event: bool = False


class TablePrinter:
    """Prints tables of one resource; column definitions are kept from the first one."""

    def __init__(self, options: TableOptions, kind_prefix: str = "") -> None:
        self._options = options
        self._prefix = kind_prefix
        self._columns: list[Tree] = []
        self._tabs = Tabs()
        self._headed = options.no_headers

    def lines(self, table: Tree, event: str = "") -> list[str]:
        """The lines of a table, with headers the first time. ``event`` names a watch event."""
        rows = []
        self._columns = table.get("columnDefinitions") or self._columns
        if not self._headed:
            rows.append(self._header())
            self._headed = True
        rows += [self._row(row, event) for row in table.get("rows") or ()]
        return self._tabs.render(rows)

    def _header(self) -> list[str]:
        options = self._options
        names = ["EVENT"] if options.with_event else []
        names += ["NAMESPACE"] if options.with_namespace else []
        for column in self._columns:
            if options.wide or not column.get("priority"):
                names.append(str(column["name"]).upper())
        names += [label.rpartition("/")[2].upper() for label in options.label_columns]
        return [*names, "LABELS"] if options.show_labels else names

    def _row(self, row: Tree, event: str) -> list[str]:
        options = self._options
        metadata = (row.get("object") or {}).get("metadata") or {}
        cells = [event] if options.with_event else []
        cells += [metadata.get("namespace", "")] if options.with_namespace else []
        for column, value in zip(self._columns, row.get("cells") or (), strict=False):
            if column.get("priority") and not options.wide:
                continue
            text = cell_text(value)
            if self._prefix and column.get("format") == "name":
                text = f"{self._prefix}/{text}"
            cells.append(text)
        labels = metadata.get("labels") or {}
        cells += [labels.get(name, "") for name in options.label_columns]
        return [*cells, labels_text(labels)] if options.show_labels else cells


def labels_text(labels: Tree) -> str:
    """``a=b,c=d`` in order, or ``<none>``."""
    return ",".join(f"{k}={v}" for k, v in sorted(labels.items())) or NONE


def plain_table(columns: Iterable[str], objects: Iterable[Tree]) -> Tree:
    """A table of names and ages, for servers that answer objects instead."""
    from kutter.cli.moments import age

    definitions = [
        {"name": c, "format": "name" if c == "Name" else "", "priority": 0} for c in columns
    ]
    rows = []
    for tree in objects:
        metadata = tree.get("metadata") or {}
        cells = [metadata.get("name", ""), age(metadata.get("creationTimestamp"))]
        rows.append({"cells": cells, "object": tree})
    return {"kind": "Table", "columnDefinitions": definitions, "rows": rows}
