"""``get -w``: what is there, then what changes, until interrupted."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from kutter.api.errors import ApiError
from kutter.cli.fetch import fill_kind
from kutter.cli.printers.table import ACCEPT
from kutter.cli.session import list_query
from kutter.cli.tables import as_table, printer_for, table_options

if TYPE_CHECKING:
    from kutter.cli.printers.output import Output
    from kutter.cli.references import Reference
    from kutter.cli.session import Session

Tree = dict[str, Any]


def watch(
    session: Session, parsed: argparse.Namespace, output: Output, reference: Reference
) -> int:
    """Print and follow; a watch the server ends is taken up again where it ended."""
    resource = reference.resource
    where = "" if parsed.all_namespaces else session.namespace_for(resource)
    fields = parsed.field_selector
    if reference.names:
        session.get(resource, reference.names[0])  # says so when there is none
        fields = f"metadata.name={reference.names[0]}"
    query = list_query(parsed.selector, fields)
    show = _TableFollower if output.is_table else _TreeFollower
    follower = show(session, parsed, output, reference)
    path = resource.path(where)
    version = follower.start(session.call("GET", path, query=query, accept=follower.accept))
    while True:
        started = [*query, ("resourceVersion", version), ("allowWatchBookmarks", "true")]
        try:
            for event in session.watch(path, query=started, accept=follower.accept):
                version = follower.take(event) or version
        except ApiError as error:
            if error.code != 410:
                raise
            version = ""


class _TableFollower:
    accept = ACCEPT

    def __init__(
        self, session: Session, parsed: argparse.Namespace, output: Output, reference: Reference
    ) -> None:
        options = table_options(parsed, wide=output.form == "wide")
        self._silent_start = parsed.watch_only
        self._printer = printer_for(reference.resource, options, with_kind=parsed.show_kind)

    def start(self, answer: Tree) -> str:
        table = as_table(answer)
        if not self._silent_start and table.get("rows"):
            self._print(table, "ADDED")
        return _version(table)

    def take(self, event: Tree) -> str:
        if event["type"] == "BOOKMARK":
            return _version(event["object"])
        table = as_table(event["object"])
        self._print(table, event["type"])
        rows = table.get("rows") or ()
        metadata = (rows[-1].get("object") or {}).get("metadata") or {} if rows else {}
        return str(metadata.get("resourceVersion") or "")

    def _print(self, table: Tree, event: str) -> None:
        lines = self._printer.lines(table, event)
        sys.stdout.write("".join(line + "\n" for line in lines))
        sys.stdout.flush()


class _TreeFollower:
    accept = "application/json"

    def __init__(
        self, session: Session, parsed: argparse.Namespace, output: Output, reference: Reference
    ) -> None:
        self._output = output
        self._reference = reference
        self._silent_start = parsed.watch_only
        self._with_event = parsed.output_watch_events
        self._printed = 0

    def start(self, answer: Tree) -> str:
        if not self._silent_start:
            for tree in answer.get("items") or ():
                self._print(tree, "ADDED")
        return _version(answer)

    def take(self, event: Tree) -> str:
        if event["type"] != "BOOKMARK":
            self._print(event["object"], event["type"])
        return _version(event["object"])

    def _print(self, tree: Tree, event: str) -> None:
        from kutter.cli.printers import output as forms

        resource = self._reference.resource
        tree = forms.without_managed_fields(fill_kind(tree, resource))
        if self._with_event:
            tree = {"type": event, "object": tree}
        if self._output.form == "name":
            print(forms.qualified_name(resource, tree["metadata"]["name"]), flush=True)
            return
        if self._output.form == "yaml" and self._printed:
            sys.stdout.write("---\n")
        self._printed += 1
        sys.stdout.write(forms.render(self._output, tree))
        if self._output.form.startswith("jsonpath"):
            sys.stdout.write("\n")
        sys.stdout.flush()


def _version(tree: Tree) -> str:
    return str((tree.get("metadata") or {}).get("resourceVersion") or "")
