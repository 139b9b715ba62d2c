"""``kutter api-resources``: what kinds of objects the server serves."""

from __future__ import annotations

import argparse

from kutter.api.resources import Resource
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.printers.tabs import Tabs


def configure(parser: Parser) -> None:
    parser.add_argument("-o", "--output", metavar="FORM", default="", help="wide, name or json")
    parser.add_argument(
        "--namespaced", metavar="BOOL", default="", help="true or false: only these"
    )
    parser.add_argument("--api-group", metavar="GROUP", help="only this group")
    parser.add_argument("--verbs", metavar="VERBS", default="", help="only those with these verbs")
    parser.add_argument(
        "--categories", metavar="NAMES", default="", help="only of these categories"
    )
    parser.add_argument("--sort-by", metavar="FIELD", default="", help="name or kind")
    parser.switch("--no-headers", help="no column headers")
    parser.switch("--cached", help="do not ask the server if it was asked lately")
    add_connection_flags(parser, namespace=False)


def run(parsed: argparse.Namespace) -> int:
    if parsed.output not in ("", "wide", "name", "json"):
        raise CommandError(f"--output {parsed.output} is not available, use wide, name or json")
    session = open_session(parsed)
    kinds = session.kinds
    if not parsed.cached:
        kinds.refresh()
    chosen = [r for r in kinds.preferred() if _wanted(r, parsed)]
    if parsed.sort_by:
        key = {"name": "plural", "kind": "kind"}.get(parsed.sort_by)
        if key is None:
            raise CommandError("--sort-by accepts only name or kind")
        chosen.sort(key=lambda r: str(getattr(r, key)))
    else:
        chosen.sort(key=lambda r: (r.group, r.plural))
    _print(chosen, parsed)
    return 0


def _wanted(resource: Resource, parsed: argparse.Namespace) -> bool:
    if not resource.verbs:
        return False
    if parsed.namespaced and resource.namespaced != (parsed.namespaced.lower() == "true"):
        return False
    if parsed.api_group is not None and resource.group != parsed.api_group:
        return False
    if parsed.verbs and not set(parsed.verbs.split(",")) <= set(resource.verbs):
        return False
    wanted = set(parsed.categories.split(",")) if parsed.categories else set()
    return wanted <= set(resource.categories)


def _print(chosen: list[Resource], parsed: argparse.Namespace) -> None:
    if parsed.output == "name":
        for resource in chosen:
            print(resource.group_resource)
        return
    if parsed.output == "json":
        from kutter.cli.printers.json_text import render_json

        rows = [
            {
                "name": r.plural,
                "shortNames": list(r.short_names),
                "apiVersion": r.api_version,
                "namespaced": r.namespaced,
                "kind": r.kind,
                "verbs": list(r.verbs),
                "categories": list(r.categories),
            }
            for r in chosen
        ]
        print(render_json(rows), end="")
        return
    wide = parsed.output == "wide"
    head = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    head += ["VERBS", "CATEGORIES"] if wide else []
    lines = [] if parsed.no_headers else [head]
    for r in chosen:
        cells = [
            r.plural,
            ",".join(r.short_names),
            r.api_version,
            str(r.namespaced).lower(),
            r.kind,
        ]
        cells += [",".join(r.verbs), ",".join(r.categories)] if wide else []
        lines.append(cells)
    print("\n".join(Tabs().render(lines)))


COMMAND = Command(
    name="api-resources",
    summary="List the kinds of objects the server serves",
    configure=configure,
    run=run,
    examples=("kutter api-resources", "kutter api-resources --namespaced=false -o wide"),
)
