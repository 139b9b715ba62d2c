"""The ``kutter`` command: finds the command, runs it, turns failures into one sentence."""

from __future__ import annotations

import asyncio
import difflib
import inspect
import os
import sys
from collections.abc import Sequence

from kutter.cli.command import CommandError, build_parser
from kutter.cli.registry import COMMANDS, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        if len(words) > 1 and words[1] in COMMANDS:
            return main([words[1], "--help"])
        print(overview())
        return 0
    if words[0] in ("-v", "--version"):
        words[0] = "version"
    name = words[0]
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean 'kutter {close[0]}'?" if close else "'kutter --help' lists them"
        return _fail(f"there is no command {name!r}", hint, 2)
    try:
        command = load(name)
        parsed = build_parser(command).parse_args(words[1:])
        outcome = command.run(parsed)
        if inspect.isawaitable(outcome):
            return _run_async(outcome)
        return outcome
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


def _run_async(outcome: object) -> int:
    async def wait() -> int:
        result: int = await outcome  # type: ignore[misc]
        return result

    return asyncio.run(wait())


def _translate(error: Exception) -> int:
    """Failures of the API and of the system, in one sentence each."""
    from kutter.api.errors import ApiError

    if isinstance(error, ApiError):
        where = f" ({error.reason})" if error.reason else ""
        hint = ""
        if error.code == 401:
            hint = "the credentials are not accepted; 'kutter kubeconfig' prints working ones"
        return _fail(f"the server refused{where}: {error.message}", hint, 1)
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


def _fail(message: str, hint: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
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
