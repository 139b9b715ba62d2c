"""The ``kutter`` command: finds the command, runs it, turns failures into one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from kutter.cli.command import Command, CommandError, build_parser
from kutter.cli.leading import LEADING_FLAGS
from kutter.cli.registry import COMMANDS, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        if len(words) > 1 and words[1] in COMMANDS:
            return main([words[1], "--help"])
        print(overview())
        return 0
    if words[0] == "--version":
        words[0] = "version"
    words = _name_first(words)
    name = words[0]
    if name not in COMMANDS:
        import difflib

        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean 'kutter {close[0]}'?" if close else "'kutter --help' lists them"
        return _fail(f"there is no command {name!r}", hint, 2)
    try:
        return _run(load(name), words[1:], "kutter")
    except CommandError as error:
        return _fail(str(error), error.hint, error.code)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _translate(error)


def _run(command: Command, words: list[str], parent: str) -> int:
    if command.subcommands:
        at = _subcommand_at(command, words)
        if at is not None:
            chosen = command.subcommands[words[at]]
            return _run(chosen, words[:at] + words[at + 1 :], f"{parent} {command.name}")
    parsed = build_parser(command, parent=parent).read(words)
    if command.run is None:
        raise CommandError(
            f"say which: {', '.join(command.subcommands)}",
            hint=f"'{parent} {command.name} --help' explains them",
        )
    outcome = command.run(parsed)
    return outcome if isinstance(outcome, int) else _run_async(outcome)


def _subcommand_at(command: Command, words: list[str]) -> int | None:
    """Where the subcommand stands: the first word that is no flag and no flag's value."""
    for at, word in enumerate(words):
        if word == "--":
            return None
        if word.startswith("-") or (at and words[at - 1] in _VALUED):
            continue
        return at if word in command.subcommands else None
    return None


_VALUED = LEADING_FLAGS | {"-f", "--filename", "-o", "--output", "-l", "--selector"}


def _name_first(words: list[str]) -> list[str]:
    """Flags may stand before the command: ``-n kube-system get pods``."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in LEADING_FLAGS else 1
    if at >= len(words):
        return words
    return [words[at], *words[:at], *words[at + 1 :]]


def _run_async(outcome: object) -> int:
    import asyncio

    async def wait() -> int:
        result: int = await outcome  # type: ignore[misc]
        return result

    return asyncio.run(wait())


def _translate(error: Exception) -> int:
    """Failures of the API and of the system, in one sentence each."""
    from kutter.api.errors import ApiError
    from kutter.cli.failures import api_error_text

    if isinstance(error, ApiError):
        return _fail_plainly(api_error_text(error), _api_hint(error), 1)
    if isinstance(error, ConnectionError | TimeoutError):
        return _fail(
            f"the server does not answer: {error}", "is the cluster up? 'kutter status' tells", 1
        )
    if isinstance(error, OSError):
        return _fail(str(error), "", 1)
    if os.environ.get("KUTTER_DEBUG"):
        raise error
    return _fail(
        f"unexpected {type(error).__name__}: {error}",
        "this is a bug in Kutter; KUTTER_DEBUG=1 shows where",
        70,
    )


def _api_hint(error: Exception) -> str:
    code = getattr(error, "code", 0)
    if code == 401:
        return "the credentials are not accepted; 'kutter kubeconfig' prints working ones"
    if code == 403:
        return "'kutter auth can-i --list' shows what this user may do"
    return ""


def _fail(message: str, hint: str, code: int) -> int:
    return _fail_plainly(f"error: {message}" if message else "", hint, code)


def _fail_plainly(message: str, hint: str, code: int) -> int:
    if message:
        print(message, file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return code


def overview() -> str:
    """The list of commands by group."""
    lines = ["Kubernetes, whole, in Python.", "", "usage: kutter COMMAND [OPTIONS]", ""]
    groups: dict[str, list[str]] = {}
    for name, listed in COMMANDS.items():
        groups.setdefault(listed.group, []).append(f"  {name:<14}{listed.summary}")
    for group, rows in groups.items():
        lines += [f"{group}:", *rows, ""]
    lines.append("'kutter COMMAND --help' explains a command, with examples.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
