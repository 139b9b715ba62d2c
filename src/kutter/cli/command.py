"""The shape of a command and the errors it may end with.

A command is one module in ``commands/`` with a ``COMMAND`` value; ``registry`` names them all.
Modules are imported only when their command runs, so that every command starts fast.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any


class CommandError(Exception):
    """Ends the command with one sentence and, if there is one, a hint what to do next."""

    def __init__(self, message: str, *, hint: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


Configure = Callable[[argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace], int | Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Command:
    """``examples`` are shown by ``--help``, one per line, without the prompt."""

    name: str
    summary: str
    configure: Configure
    run: Run
    examples: tuple[str, ...] = ()
    description: str = ""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps examples as written and leaves room for long flags."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, max_help_position=32, **options)


def build_parser(command: Command) -> argparse.ArgumentParser:
    """The parser of one command, with its examples."""
    epilog = ""
    if command.examples:
        epilog = "examples:\n" + "\n".join(f"  {line}" for line in command.examples)
    parser = argparse.ArgumentParser(
        prog=f"kutter {command.name}",
        description=command.description or command.summary,
        epilog=epilog,
        formatter_class=HelpFormatter,
    )
    command.configure(parser)
    return parser
