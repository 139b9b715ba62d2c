"""``kutter api-versions``: the group versions the server serves."""

from __future__ import annotations

import argparse

from kutter.cli.command import Command, Parser
from kutter.cli.connection import add_connection_flags, open_session


def configure(parser: Parser) -> None:
    add_connection_flags(parser, namespace=False)


def run(parsed: argparse.Namespace) -> int:
    kinds = open_session(parsed).kinds
    kinds.refresh()
    for version in kinds.versions():
        print(version)
    return 0


COMMAND = Command(
    name="api-versions",
    summary="List the group versions the server serves",
    configure=configure,
    run=run,
    examples=("kutter api-versions",),
)
