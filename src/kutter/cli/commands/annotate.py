"""``kutter annotate``: set or remove annotations."""

from __future__ import annotations

import argparse

from kutter.cli.command import Command, Parser
from kutter.cli.pair_editing import PairWords, add_pair_flags, run_pairs

_WORDS = PairWords("annotations", "annotation", "annotated", "annotated", "annotated")


def configure(parser: Parser) -> None:
    add_pair_flags(parser, _WORDS)


def run(parsed: argparse.Namespace) -> int:
    return run_pairs(parsed, _WORDS)


COMMAND = Command(
    name="annotate",
    summary="Set or remove annotations",
    description="Set or remove annotations of objects: KEY=VALUE sets, KEY- removes.",
    configure=configure,
    run=run,
    examples=(
        "kutter annotate deployment/web owner=ann",
        "kutter annotate pods -l app=web note-",
    ),
)
