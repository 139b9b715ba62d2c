"""``kutter uncordon``: let a node take pods again."""

from __future__ import annotations

import argparse

from kutter.cli.changing import add_change_flags
from kutter.cli.command import Command, Parser
from kutter.cli.connection import add_connection_flags
from kutter.cli.cordoning import run_cordon


def configure(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="NODE", help="which nodes")
    parser.add_argument("-l", "--selector", metavar="LABELS", default="", help="nodes of these")
    add_change_flags(parser, manager="kubectl-uncordon")
    add_connection_flags(parser, namespace=False)


def run(parsed: argparse.Namespace) -> int:
    return run_cordon(parsed, unschedulable=False)


COMMAND = Command(
    name="uncordon",
    summary="Let a node take pods again",
    configure=configure,
    run=run,
    examples=("kutter uncordon worker-1",),
)
