"""The shape of a command, its parser and the errors it may end with.

A command is one module in ``commands/`` with a ``COMMAND`` value; ``registry`` names them all.
Modules are imported only when their command runs, so that every command starts fast.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn


class CommandError(Exception):
    """Ends the command with one sentence and, if there is one, a hint what to do next."""

    def __init__(self, message: str, *, hint: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


Configure = Callable[["Parser"], None]
Run = Callable[[argparse.Namespace], int | Awaitable[int]]


def _nothing(parser: Parser) -> None:
    """For commands that only hold subcommands."""


class Command:
    """``examples`` are shown by ``--help``, one per line, without the prompt.

    With ``subcommands`` the first word that names one decides; ``run`` is used when none does.
    """

    # No dataclass: what that reads in (inspect, ast) would be a tenth of a command's start.
    __slots__ = ("configure", "description", "examples", "name", "run", "subcommands", "summary")

    def __init__(
        self,
        *,
        name: str,
        summary: str,
        configure: Configure = _nothing,
        run: Run | None = None,
        examples: tuple[str, ...] = (),
        description: str = "",
        subcommands: dict[str, Command] | None = None,
    ) -> None:
        self.name = name
        self.summary = summary
        self.configure = configure
        self.run = run
        self.examples = examples
        self.description = description
        self.subcommands = subcommands or {}


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps examples as written and leaves room for long flags."""

    def __init__(self, prog: str, **options: Any) -> None:
        # One is made for each flag, to check it; argparse would read in shutil for its width.
        options.setdefault("width", _columns() - 2)
        super().__init__(prog, max_help_position=32, **options)


def _columns() -> int:
    """How wide the terminal is, as ``shutil.get_terminal_size`` tells it."""
    with contextlib.suppress(ValueError):
        if (told := int(os.environ.get("COLUMNS", ""))) > 0:
            return told
    try:
        return os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1).columns or 80
    except (OSError, ValueError):  # no terminal
        return 80


class Parser(argparse.ArgumentParser):
    """Reads flags the way kubectl does: anywhere, ``--flag=false``, ``--`` ends them."""

    def __init__(self, **options: Any) -> None:
        # "resolve": a command's own flag wins over a connection flag of its name.
        super().__init__(allow_abbrev=False, conflict_handler="resolve", **options)
        self._switches: dict[str, str] = {}
        self._bare: dict[str, str] = {}

    def switch(self, *names: str, help: str, default: bool = False) -> None:
        """A flag that is true or false: ``--x``, ``--x=true``, ``--x=false``."""
        action = self.add_argument(*names, action="store_true", default=default, help=help)
        for name in names:
            self._switches[name] = action.dest

    def optional_value(self, name: str, *, bare: str, default: str, help: str) -> None:
        """A flag whose value may be left out: ``--dry-run`` or ``--dry-run=server``."""
        self.add_argument(name, default=default, metavar="VALUE", help=help)
        self._bare[name] = bare

    def error(self, message: str) -> NoReturn:
        raise CommandError(message, hint=f"'{self.prog} --help' explains it")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse; ``rest`` of the answer is what follows ``--`` (None without it)."""
        given = list(words)
        rest: list[str] | None = None
        if "--" in given:
            at = given.index("--")
            given, rest = given[:at], given[at + 1 :]
        kept: list[str] = []
        decided: dict[str, bool] = {}
        for word in given:
            name, equals, value = word.partition("=")
            if equals and name in self._switches:
                if value.lower() not in ("true", "false", "1", "0", "t", "f"):
                    self.error(f'invalid argument "{value}" for "{name}": true or false')
                decided[self._switches[name]] = value.lower() in ("true", "1", "t")
            elif word in self._bare:
                kept.append(f"{word}={self._bare[word]}")
            else:
                kept.append(word)
        try:
            parsed = self.parse_intermixed_args(kept)
        except argparse.ArgumentError as error:
            self.error(str(error))
        for name, decision in decided.items():
            setattr(parsed, name, decision)
        parsed.rest = rest
        return parsed


def build_parser(command: Command, *, parent: str = "kutter") -> Parser:
    """The parser of one command, with its examples."""
    parts = []
    if command.subcommands:
        parts.append("subcommands:")
        parts += [f"  {s.name:<20}{s.summary}" for s in command.subcommands.values()]
        parts.append("")
    if command.examples:
        parts.append("examples:")
        parts += [f"  {line}" for line in command.examples]
    parser = Parser(
        prog=f"{parent} {command.name}",
        description=command.description or command.summary,
        epilog="\n".join(parts),
        formatter_class=HelpFormatter,
    )
    command.configure(parser)
    return parser
