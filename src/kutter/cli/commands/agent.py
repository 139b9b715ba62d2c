"""``kutter agent``: node agent, service proxy and DNS in the foreground."""

from __future__ import annotations

import argparse

from kutter.base.collector import hold_off
from kutter.cli.cluster_flags import add_start_flags, config_from
from kutter.cli.command import Command


def configure(parser: argparse.ArgumentParser) -> None:
    add_start_flags(parser)
    parser.add_argument("--verbose", action="store_true", help="log what each step did")


def run(parsed: argparse.Namespace) -> int:
    # Before the imports, which are most of a start.
    hold_off()
    from kutter.cluster.agent import run_agent

    return run_agent(config_from(parsed), verbose=parsed.verbose)


COMMAND = Command(
    name="agent",
    summary="Run the node agent in the foreground",
    description="Run node agent, service proxy and DNS until stopped; containers run on.",
    configure=configure,
    run=run,
    examples=("sudo kutter agent",),
)
