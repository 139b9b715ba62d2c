"""``kutter attach``: join a container's running process."""

from __future__ import annotations

import argparse
import sys

from kutter.cli import podtargets
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session


def configure(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="POD|TYPE/NAME", help="what to join")
    parser.add_argument("-c", "--container", metavar="NAME", default="", help="this container")
    parser.switch("-i", "--stdin", help="pass standard input on")
    parser.switch("-t", "--tty", help="its input is a terminal")
    parser.switch("-q", "--quiet", help="print only what the container prints")
    add_connection_flags(parser)


async def run(parsed: argparse.Namespace) -> int:
    if len(parsed.words) != 1:
        raise CommandError("POD, TYPE/NAME, or TYPE NAME must be specified for attach")
    session = open_session(parsed)
    pod = podtargets.pod_of(session, parsed.words[0])
    container = podtargets.checked_container(pod, parsed.container)
    spec = next(c for c in pod["spec"]["containers"] if c["name"] == container)
    tty = parsed.tty and bool(spec.get("tty"))
    if parsed.tty and not tty:
        print(
            f"error: Unable to use a TTY - container {container} did not allocate one",
            file=sys.stderr,
        )
    if not parsed.quiet:
        print("If you don't see a command prompt, try pressing enter.", file=sys.stderr)
    from kutter.cli.remote import Attachment, run_attached

    attachment = Attachment(container, stdin=parsed.stdin, tty=tty, quiet=parsed.quiet)
    return await run_attached(session.connection, pod, attachment)


COMMAND = Command(
    name="attach",
    summary="Join a container's running process",
    configure=configure,
    run=run,
    examples=("kutter attach web-1", "kutter attach -it shell"),
)
