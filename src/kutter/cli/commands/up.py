"""``kutter up``: start the cluster on this machine and wait until its node is Ready."""

from __future__ import annotations

import argparse
import sys

from kutter.cli.cluster_flags import add_start_flags, config_from
from kutter.cli.command import Command, CommandError


def configure(parser: argparse.ArgumentParser) -> None:
    add_start_flags(parser)
    parser.add_argument(
        "--wait", type=float, default=60.0, metavar="SECONDS", help="how long to wait (default 60)"
    )
    parser.add_argument(
        "--no-agent", action="store_true", help="only the server: no node on this machine"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="print nothing but errors")


def run(parsed: argparse.Namespace) -> int:
    from kutter.cluster.errors import StartError
    from kutter.cluster.lifecycle import bring_up

    config = config_from(parsed)
    say = _say_nothing if parsed.quiet else _say
    try:
        bring_up(config, with_agent=not parsed.no_agent, timeout_s=parsed.wait, say=say)
    except StartError as error:
        raise CommandError(str(error), hint=error.hint) from error
    if not parsed.quiet:
        from kutter.cluster.lifecycle import next_steps

        print(next_steps(config))
    return 0


def _say_nothing(text: str) -> None:
    """For ``--quiet``."""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


COMMAND = Command(
    name="up",
    summary="Start the cluster on this machine",
    description=(
        "Start the server and the node agent in the background and wait until the node is"
        " Ready. Running it again is harmless; after a crash it continues where things were."
    ),
    configure=configure,
    run=run,
    examples=(
        "sudo kutter up",
        "sudo kutter up --cluster-cidr 10.128.0.0/16",
    ),
)
