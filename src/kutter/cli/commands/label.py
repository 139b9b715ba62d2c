"""``kutter label``: set or remove labels."""

from __future__ import annotations

import argparse

from kutter.cli.command import Command, Parser
from kutter.cli.pair_editing import PairWords, add_pair_flags, run_pairs

_WORDS = PairWords("labels", "label", "labeled", "unlabeled", "not labeled")


def configure(parser: Parser) -> None:
    add_pair_flags(parser, _WORDS)


def run(parsed: argparse.Namespace) -> int:
    return run_pairs(parsed, _WORDS)


COMMAND = Command(
    name="label",
    summary="Set or remove labels",
    description="Set or remove labels of objects: KEY=VALUE sets, KEY- removes.",
    configure=configure,
    run=run,
    examples=(
        "kutter label pod web-1 tier=front",
        "kutter label nodes --all disk=ssd --overwrite",
        "kutter label pod web-1 tier-",
    ),
)
