"""``kutter exec``: run a command in a container."""

from __future__ import annotations

import argparse
import sys

from kutter.cli import moments, podtargets
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session


def configure(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="POD|TYPE/NAME", help="where to run it")
    parser.add_argument("-c", "--container", metavar="NAME", default="", help="in this container")
    parser.switch("-i", "--stdin", help="pass standard input on")
    parser.switch("-t", "--tty", help="give it a terminal")
    parser.switch("-q", "--quiet", help="print only what the command prints")
    parser.add_argument("--pod-running-timeout", metavar="TIME", default="1m0s",
                        help="how long to wait for a pod to run")  # fmt: skip
    add_connection_flags(parser)


async def run(parsed: argparse.Namespace) -> int:
    command = parsed.rest if parsed.rest is not None else parsed.words[1:]
    if not parsed.words:
        raise CommandError("pod or type/name must be specified")
    if not command:
        raise CommandError(
            "you must specify at least one command for the container",
            hint="kutter exec POD -- COMMAND",
        )
    if parsed.rest is None:
        print(
            "kutter exec [POD] [COMMAND] is DEPRECATED and will be removed in a future version."
            " Use kutter exec [POD] -- [COMMAND] instead.",
            file=sys.stderr,
        )
    session = open_session(parsed)
    wait_s = moments.duration(parsed.pod_running_timeout, "--pod-running-timeout")
    word = parsed.words[0]
    pod = podtargets.pod_of(session, word, timeout_s=wait_s if "/" in word else 0.0)
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise CommandError(
            "cannot exec into a container in a completed pod; current phase is " + phase
        )
    container = podtargets.checked_container(pod, parsed.container)
    names = podtargets.container_names(pod, init=False, ephemeral=False)
    if not parsed.container and len(names) > 1 and not parsed.quiet:
        listed = ", ".join(names)
        print(f'Defaulted container "{container}" out of: {listed}', file=sys.stderr)
    tty = parsed.tty
    if tty and not (parsed.stdin and sys.stdin.isatty()):
        print("Unable to use a TTY - input is not a terminal or the right kind of file",
              file=sys.stderr)  # fmt: skip
        tty = False
    from kutter.cli.remote import Attachment, run_attached

    attachment = Attachment(
        container, tuple(command), stdin=parsed.stdin, tty=tty, quiet=parsed.quiet
    )
    return await run_attached(session.connection, pod, attachment)


COMMAND = Command(
    name="exec",
    summary="Run a command in a container",
    description="Run a command in a container; ends with the command's exit code.",
    configure=configure,
    run=run,
    examples=(
        "kutter exec web-1 -- ls /",
        "kutter exec -it deployment/web -c app -- sh",
        "tar c . | kutter exec -i web-1 -- tar x -C /srv",
    ),
)
