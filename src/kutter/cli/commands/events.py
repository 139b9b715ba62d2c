"""``kutter events``: what happened, the latest last."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.describe.events import event_age, last_seen
from kutter.cli.fetch import fill_kind
from kutter.cli.printers.output import Output, add_output_flag, as_list, render
from kutter.cli.printers.tabs import Tabs
from kutter.cli.references import one_reference

Tree = dict[str, Any]


def configure(parser: Parser) -> None:
    parser.switch("-A", "--all-namespaces", help="in all namespaces")
    parser.switch("-w", "--watch", help="go on showing events")
    parser.switch("--no-headers", help="no column headers")
    parser.add_argument(
        "--for", dest="about", metavar="TYPE/NAME", default="", help="only about it"
    )
    parser.add_argument("--types", metavar="TYPES", default="", help="Warning, Normal")
    add_output_flag(parser)
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    session = open_session(parsed)
    output = Output(parsed.output, template=parsed.template)
    resource = session.kinds.find("events")
    fields = ""
    if parsed.about:
        about = one_reference([parsed.about], session.kinds)
        fields = f"involvedObject.kind={about.resource.kind},involvedObject.name={about.names[0]}"
    types = {word.lower() for word in parsed.types.split(",") if word}
    if types - {"normal", "warning"}:
        raise CommandError("valid --types are Normal or Warning")
    where = "" if parsed.all_namespaces else session.namespace
    answer = session.call(
        "GET", resource.path(where), query=[("fieldSelector", fields)] * bool(fields)
    )
    events = [fill_kind(e, resource) for e in answer.get("items") or () if _wanted(e, types)]
    events.sort(key=last_seen)
    if output.form:
        sys.stdout.write(render(output, as_list(events)))
        return 0
    tabs = Tabs()
    rows = [] if parsed.no_headers else [_head(parsed)]
    rows += [_row(event, parsed) for event in events]
    if not events and not parsed.watch:
        place = "" if parsed.all_namespaces else f" in {session.namespace} namespace."
        print(f"No events found{place}", file=sys.stderr)
        return 0
    sys.stdout.write("".join(line + "\n" for line in tabs.render(rows)))
    if parsed.watch:
        sys.stdout.flush()
        version = (answer.get("metadata") or {}).get("resourceVersion", "")
        query = [("resourceVersion", version)] + [("fieldSelector", fields)] * bool(fields)
        for change in session.watch(resource.path(where), query=query):
            if change["type"] in ("ADDED", "MODIFIED") and _wanted(change["object"], types):
                print(tabs.render([_row(change["object"], parsed)])[0], flush=True)
    return 0


def _wanted(event: Tree, types: set[str]) -> bool:
    return not types or str(event.get("type", "")).lower() in types


def _head(parsed: argparse.Namespace) -> list[str]:
    head = ["NAMESPACE"] if parsed.all_namespaces else []
    return [*head, "LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]


def _row(event: Tree, parsed: argparse.Namespace) -> list[str]:
    about = event.get("involvedObject") or {}
    cells = [event["metadata"].get("namespace", "")] if parsed.all_namespaces else []
    return [
        *cells,
        event_age(event),
        str(event.get("type") or ""),
        str(event.get("reason") or ""),
        f"{about.get('kind')}/{about.get('name')}",
        (event.get("message") or "").strip().replace("\n", " "),
    ]


COMMAND = Command(
    name="events",
    summary="List what happened, the latest last",
    configure=configure,
    run=run,
    examples=(
        "kutter events",
        "kutter events --for pod/web-1 --types=Warning",
        "kutter events -A -w",
    ),
)
