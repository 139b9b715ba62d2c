"""``kutter cp``: copy files to and from containers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from kutter.cli import podtargets
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session


class Place(NamedTuple):
    """One end of a copy; ``pod`` is empty for this machine."""

    namespace: str
    pod: str
    path: str


def configure(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="FROM TO", help="PATH or [NS/]POD:PATH")
    parser.add_argument("-c", "--container", metavar="NAME", default="", help="this container")
    parser.switch("--no-preserve", help="do not keep owner and permissions")
    parser.add_argument("--retries", metavar="N", type=int, default=0, help="accepted, not needed")
    add_connection_flags(parser)


def parse_place(text: str) -> Place:
    """``PATH``, ``POD:PATH`` or ``NS/POD:PATH``. Raises CommandError."""
    where, colon, path = text.partition(":")
    if not colon or where.startswith((".", "/")):
        return Place("", "", text)
    if not path:
        raise CommandError("filepath can not be empty", hint="write POD:PATH")
    parts = where.split("/")
    if len(parts) == 1 and parts[0]:
        return Place("", parts[0], path)
    if len(parts) == 2 and all(parts):
        return Place(parts[0], parts[1], path)
    raise CommandError(f"{text!r} is neither PATH nor [NAMESPACE/]POD:PATH")


async def run(parsed: argparse.Namespace) -> int:
    if len(parsed.words) != 2:
        raise CommandError("source and destination are required")
    source, target = parse_place(parsed.words[0]), parse_place(parsed.words[1])
    if source.pod and target.pod:
        raise CommandError("one of src or dest must be a local file specification")
    if not source.pod and not target.pod:
        raise CommandError("one of src or dest must be a remote file specification")
    session = open_session(parsed)
    remote = source if source.pod else target
    session.namespace = remote.namespace or session.namespace
    pod = podtargets.pod_of(session, remote.pod)
    container = podtargets.checked_container(pod, parsed.container)
    from kutter.cli.copying import download, upload
    from kutter.http.remotecommand_client import RemoteCommandError

    try:
        if source.pod:
            await download(session.connection, pod, container, source.path, Path(target.path))
        else:
            await upload(
                session.connection,
                pod,
                container,
                Path(source.path),
                target.path,
                preserve=not parsed.no_preserve,
            )
    except RemoteCommandError as error:
        raise CommandError(str(error)) from error
    return 0


COMMAND = Command(
    name="cp",
    summary="Copy files to and from containers",
    description="Copy files and folders to and from containers; the container needs tar.",
    configure=configure,
    run=run,
    examples=(
        "kutter cp index.html web-1:/srv/www/",
        "kutter cp team-a/web-1:/var/log/app ./logs -c app",
    ),
)
