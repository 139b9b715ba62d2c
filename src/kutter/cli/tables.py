"""Asking the server for tables and printing several of them, one type after the other."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from kutter.api.errors import ApiError
from kutter.cli.printers.table import ACCEPT, TableOptions, TablePrinter, plain_table
from kutter.cli.session import list_query

if TYPE_CHECKING:
    from kutter.api.resources import Resource
    from kutter.cli.failures import Failures
    from kutter.cli.references import Reference
    from kutter.cli.session import Session

Tree = dict[str, Any]


def table_options(parsed: argparse.Namespace, *, wide: bool) -> TableOptions:
    labels = tuple(name for given in parsed.label_columns for name in given.split(",") if name)
    return TableOptions(
        wide=wide,
        no_headers=parsed.no_headers,
        show_labels=parsed.show_labels,
        label_columns=labels,
        with_namespace=parsed.all_namespaces,
        with_event=getattr(parsed, "output_watch_events", False),
    )


def printer_for(resource: Resource, options: TableOptions, *, with_kind: bool) -> TablePrinter:
    """The printer of one type's table."""
    if options.with_namespace and not resource.namespaced:
        from dataclasses import replace

        options = replace(options, with_namespace=False)
    prefix = ""
    if with_kind:
        singular = resource.singular or resource.kind.lower()
        prefix = f"{singular}.{resource.group}" if resource.group else singular
    return TablePrinter(options, prefix)


class TableRun:
    """One ``get`` whose answer is tables."""

    def __init__(
        self,
        session: Session,
        parsed: argparse.Namespace,
        options: TableOptions,
        failures: Failures,
    ) -> None:
        self._session = session
        self._parsed = parsed
        self._options = options
        self._failures = failures

    def run(self, references: list[Reference], *, with_kind: bool) -> int:
        printed = 0
        asked_names = False
        for reference in references:
            table = self._table(reference)
            asked_names = asked_names or bool(reference.names)
            if not table.get("rows"):
                continue
            printer = printer_for(reference.resource, self._options, with_kind=with_kind)
            lines = printer.lines(table)
            if printed:
                lines.insert(0, "")
            printed += 1
            sys.stdout.write("\n".join(lines) + "\n")
        if not printed and not asked_names and not self._parsed.ignore_not_found:
            namespaced = any(r.resource.namespaced for r in references)
            where = ""
            if namespaced and not self._parsed.all_namespaces:
                where = f" in {self._session.namespace} namespace."
            print(f"No resources found{where}", file=sys.stderr)
        return self._failures.exit_code

    def _table(self, reference: Reference) -> Tree:
        resource = reference.resource
        if not reference.names:
            where = "" if self._parsed.all_namespaces else self._session.namespace_for(resource)
            table = self._pages(resource.path(where))
        else:
            table = {}
            for name in reference.names:
                path = resource.path(
                    self._session.namespace_for(resource), name, self._parsed.subresource
                )
                try:
                    one = self._ask(path, [])
                except ApiError as error:
                    if not (error.code == 404 and self._parsed.ignore_not_found):
                        self._failures.add(error)
                    continue
                rows = (table.get("rows") or []) + (one.get("rows") or [])
                table = {**one, "rows": rows}
        if self._parsed.sort_by:
            from kutter.cli.sorting import sorted_by

            rows = sorted_by(table.get("rows") or [], self._parsed.sort_by, lambda r: r["object"])
            table = {**table, "rows": rows}
        return table

    def _pages(self, path: str) -> Tree:
        rows: list[Tree] = []
        token = ""
        while True:
            query = list_query(
                self._parsed.selector, self._parsed.field_selector, self._parsed.chunk_size, token
            )
            table = self._ask(path, query)
            rows += table.get("rows") or ()
            token = (table.get("metadata") or {}).get("continue") or ""
            if not token:
                return {**table, "rows": rows}

    def _ask(self, path: str, query: list[tuple[str, str]]) -> Tree:
        if self._parsed.sort_by:
            query = [*query, ("includeObject", "Object")]
        return as_table(self._session.call("GET", path, query=query, accept=ACCEPT))


def as_table(answer: Tree) -> Tree:
    """The answer, or a table made of it where the server knows none."""
    if answer.get("kind") == "Table":
        return answer
    items = answer["items"] if isinstance(answer.get("items"), list) else [answer]
    return {**plain_table(("Name", "Age"), items), "metadata": answer.get("metadata") or {}}
