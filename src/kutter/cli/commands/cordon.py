"""``kutter cordon``: let a node take no new pods."""

from __future__ import annotations

import argparse

from kutter.cli.changing import add_change_flags
from kutter.cli.command import Command, Parser
from kutter.cli.connection import add_connection_flags
from kutter.cli.cordoning import run_cordon


def configure(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="NODE", help="which nodes")
    parser.add_argument("-l", "--selector", metavar="LABELS", default="", help="nodes of these")
    add_change_flags(parser, manager="kubectl-cordon")
    add_connection_flags(parser, namespace=False)


def run(parsed: argparse.Namespace) -> int:
    return run_cordon(parsed, unschedulable=True)


COMMAND = Command(
    name="cordon",
    summary="Let a node take no new pods",
    configure=configure,
    run=run,
    examples=("kutter cordon worker-1",),
)
