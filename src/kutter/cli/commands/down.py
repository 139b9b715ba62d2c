"""``kutter down``: stop the cluster on this machine and clean up after it."""

from __future__ import annotations

import argparse
import sys

from kutter.cli.cluster_flags import add_place_flags, config_from
from kutter.cli.command import Command, CommandError


def configure(parser: argparse.ArgumentParser) -> None:
    add_place_flags(parser)
    parser.add_argument(
        "--purge", action="store_true", help="also delete state, certificates and images"
    )


def run(parsed: argparse.Namespace) -> int:
    from kutter.cluster.errors import StartError
    from kutter.cluster.lifecycle import take_down

    try:
        done = take_down(
            config_from(parsed),
            purge=parsed.purge,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
    except StartError as error:
        raise CommandError(str(error), hint=error.hint) from error
    print(done)
    return 0


COMMAND = Command(
    name="down",
    summary="Stop it; --purge also forgets its state",
    description=(
        "Stop containers, agent and server and remove every mount, cgroup, interface and nft"
        " rule of theirs. Objects, volumes and images stay for the next 'kutter up' unless"
        " --purge is given."
    ),
    configure=configure,
    run=run,
    examples=("sudo kutter down", "sudo kutter down --purge"),
)
