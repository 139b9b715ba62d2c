"""``kutter why``: why something is not what its owner wants."""

from __future__ import annotations

import argparse
import sys

from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.references import one_reference


def configure(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="KIND/NAME", help="what to explain")
    parser.add_argument("-o", "--output", metavar="FORM", default="", choices=("", "json", "yaml"),
                        help="json or yaml")  # fmt: skip
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    if not parsed.words:
        raise CommandError("say what to explain: KIND/NAME", hint="kutter why pod/web-1")
    session = open_session(parsed)
    reference = one_reference(parsed.words, session.kinds, default="pods")
    tree = session.get(reference.resource, reference.names[0])
    from kutter.cli.why.answer import as_tree, explain_facts, render_text
    from kutter.cli.why.gather import Gatherer

    explanation = explain_facts(Gatherer(session).facts(reference.resource, tree))
    if parsed.output:
        from kutter.cli.printers.output import Output, render

        sys.stdout.write(render(Output(parsed.output), as_tree(explanation)))
    else:
        sys.stdout.write(render_text(explanation))
    return 0


COMMAND = Command(
    name="why",
    summary="Tell why something is not what its owner wants",
    description=(
        "Tell, in plain sentences, why an object is not what its owner wants: from its state, its"
        " owners, its node and its events."
    ),
    configure=configure,
    run=run,
    examples=(
        "kutter why pod/web-1",
        "kutter why deployment/web",
        "kutter why service/web -n shop -o json",
        "kutter why node/worker-1",
    ),
)
