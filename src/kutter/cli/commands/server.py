"""``kutter server``: API server, controllers and scheduler in the foreground."""

from __future__ import annotations

import argparse

from kutter.base.collector import hold_off
from kutter.cli.cluster_flags import add_start_flags, config_from
from kutter.cli.command import Command


def configure(parser: argparse.ArgumentParser) -> None:
    add_start_flags(parser)
    parser.add_argument("--verbose", action="store_true", help="log what each reconcile did")


def run(parsed: argparse.Namespace) -> int:
    # Before the imports, which are most of a start.
    hold_off()
    from kutter.cluster.server import run_server

    return run_server(config_from(parsed), verbose=parsed.verbose)


COMMAND = Command(
    name="server",
    summary="Run the server in the foreground",
    description="Run API server, controllers and scheduler until stopped; logs go to stderr.",
    configure=configure,
    run=run,
    examples=("kutter server --state-dir /tmp/demo --api-port 7443",),
)
