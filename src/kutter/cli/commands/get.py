"""``kutter get``: objects as tables, trees, names or templates."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from kutter.api.errors import ApiError
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.failures import Failures
from kutter.cli.fetch import add_file_flags, fill_kind, from_files
from kutter.cli.printers.output import Output, add_output_flag
from kutter.cli.references import Reference, parse_references
from kutter.cli.session import Session
from kutter.cli.tables import TableRun, table_options

Tree = dict[str, Any]


def configure(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="TYPE[/NAME]", help="what to show")
    add_output_flag(
        parser, text="wide, json, yaml, name, jsonpath=..., jsonpath-file=..., custom-columns=..."
    )
    parser.add_argument("-l", "--selector", metavar="LABELS", default="", help="label selector")
    parser.add_argument("--field-selector", metavar="FIELDS", default="", help="field selector")
    parser.switch("-A", "--all-namespaces", help="in all namespaces")
    parser.switch("-w", "--watch", help="after showing, show changes until interrupted")
    parser.switch("--watch-only", help="show changes only")
    parser.switch("--output-watch-events", help="with -w, say what happened to each object")
    parser.switch("--no-headers", help="no column headers")
    parser.switch("--show-labels", help="add a column with the labels")
    parser.add_argument("-L", "--label-columns", metavar="NAMES", action="append", default=[],
                        help="add a column for each of these labels")  # fmt: skip
    parser.switch("--show-kind", help="put the type in front of each name")
    parser.add_argument("--sort-by", metavar="PATH", default="", help="sort by a field's path")
    parser.switch("--ignore-not-found", help="be silent about objects that do not exist")
    parser.add_argument("--subresource", metavar="NAME", default="", help="status, scale ...")
    parser.add_argument("--chunk-size", metavar="N", type=int, default=500,
                        help="how many objects to ask for at once (0: all)")  # fmt: skip
    parser.switch("--server-print", default=True, help="let the server choose the columns")
    parser.add_argument("--raw", metavar="PATH", default="", help="print what the server answers")
    add_file_flags(parser)
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    session = open_session(parsed)
    if parsed.raw:
        sys.stdout.write(session.raw("GET", *_split(parsed.raw)).body.decode())
        return 0
    output = Output(parsed.output, template=parsed.template)
    failures = Failures()
    if parsed.filename:
        references = _from_files(session, parsed, failures)
    else:
        references = _joined(parse_references(parsed.words, session.kinds))
    _check(parsed, references)
    if parsed.watch or parsed.watch_only:
        from kutter.cli.watching import watch

        return watch(session, parsed, output, references[0])
    if output.is_table:
        options = table_options(parsed, wide=output.form == "wide")
        with_kind = parsed.show_kind or _mixed(parsed.words, references)
        return TableRun(session, parsed, options, failures).run(references, with_kind=with_kind)
    return _print_trees(session, parsed, output, references, failures)


def _split(path: str) -> tuple[str]:
    return (path,)


def _mixed(words: list[str], references: list[Reference]) -> bool:
    """Names are shown with their type when several types, or ``type/name`` words, were asked."""
    return len(references) > 1 or len([w for w in words if "/" in w]) > 1


def _joined(references: list[Reference]) -> list[Reference]:
    """Neighbours of one type together: ``pod/a pod/b`` is one table."""
    joined: list[Reference] = []
    for reference in references:
        last = joined[-1] if joined else None
        if last is not None and last.resource == reference.resource and last.names:
            joined[-1] = Reference(last.resource, (*last.names, *reference.names))
        else:
            joined.append(reference)
    return joined


def _from_files(
    session: Session, parsed: argparse.Namespace, failures: Failures
) -> list[Reference]:
    from kutter.cli.documents import read_documents
    from kutter.cli.fetch import namespace_of, resource_for

    found = []
    for document in read_documents(parsed.filename, recursive=parsed.recursive):
        resource = resource_for(session, document.tree, document.source)
        session.namespace = namespace_of(session, resource, document.tree) or session.namespace
        found.append(Reference(resource, (document.name,)))
    return _joined(found)


def _check(parsed: argparse.Namespace, references: list[Reference]) -> None:
    named = any(reference.names for reference in references)
    if named and (parsed.selector or parsed.field_selector):
        raise CommandError("selectors cannot be used when objects are named")
    if named and parsed.all_namespaces:
        raise CommandError("a resource cannot be retrieved by name across all namespaces")
    if (parsed.watch or parsed.watch_only) and (
        len(references) != 1 or len(references[0].names) > 1
    ):
        raise CommandError(
            "watch is only supported on individual resources and resource collections"
        )


def _print_trees(
    session: Session,
    parsed: argparse.Namespace,
    output: Output,
    references: list[Reference],
    failures: Failures,
) -> int:
    from kutter.cli.printers import output as forms

    single = len(references) == 1 and len(references[0].names) == 1
    trees: list[tuple[Reference, Tree]] = []
    for reference in references:
        for tree in _objects(session, parsed, reference, failures):
            trees.append((reference, fill_kind(tree, reference.resource)))
    if parsed.sort_by:
        from kutter.cli.sorting import sorted_by

        trees = sorted_by(trees, parsed.sort_by, lambda pair: pair[1])
    if single and not trees:
        return failures.exit_code
    objects = [tree for _, tree in trees]
    if not parsed.show_managed_fields:
        objects = [forms.without_managed_fields(tree) for tree in objects]
    if output.form == "name":
        for reference, tree in trees:
            print(forms.qualified_name(reference.resource, tree["metadata"]["name"]))
    elif output.form.startswith("custom-columns"):
        text = forms.columns_text(output, objects, no_headers=parsed.no_headers)
        sys.stdout.write(text)
    else:
        shown = objects[0] if single else forms.as_list(objects)
        sys.stdout.write(forms.render(output, shown))
    return failures.exit_code


def _objects(
    session: Session, parsed: argparse.Namespace, reference: Reference, failures: Failures
) -> list[Tree]:
    resource = reference.resource
    if not reference.names:
        where = "" if parsed.all_namespaces else session.namespace_for(resource)
        return session.list(resource, where, selector=parsed.selector, fields=parsed.field_selector)
    found = []
    for name in reference.names:
        try:
            path = resource.path(session.namespace_for(resource), name, parsed.subresource)
            found.append(session.call("GET", path))
        except ApiError as error:
            if not (error.code == 404 and parsed.ignore_not_found):
                failures.add(error)
    return found


__all__ = ["COMMAND", "from_files"]

COMMAND = Command(
    name="get",
    summary="Show objects as a table or as they are",
    description="Show objects: one or several types, by name, by label, or all in the namespace.",
    configure=configure,
    run=run,
    examples=(
        "kutter get pods",
        "kutter get pods -A -o wide",
        "kutter get deployment/web -o yaml",
        "kutter get po,svc -l app=web --show-labels",
        "kutter get pods -o jsonpath='{.items[*].metadata.name}'",
        "kutter get pods -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName",
        "kutter get pods -w",
    ),
)
