"""``kutter scale``: set how many replicas there shall be."""

from __future__ import annotations

import argparse

from kutter.api.errors import ApiError
from kutter.cli.changing import Change, add_change_flags
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.failures import Failures
from kutter.cli.fetch import Found, add_selection_flags, selected
from kutter.cli.session import Session


def configure(parser: Parser) -> None:
    add_selection_flags(parser)
    parser.add_argument("--replicas", metavar="N", type=int, default=-1, help="how many")
    parser.add_argument("--current-replicas", metavar="N", type=int, default=-1,
                        help="only if there are this many now")  # fmt: skip
    parser.add_argument("--resource-version", metavar="V", default="", help="only if unchanged")
    parser.add_argument("--timeout", metavar="TIME", default="0s", help="wait until it is so")
    add_change_flags(parser, manager="kubectl-scale")
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    if parsed.replicas < 0:
        raise CommandError(
            "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0"
        )
    session, change, failures = open_session(parsed), Change(parsed), Failures()
    for found in selected(session, parsed, failures):
        try:
            _scale(session, change, found, parsed)
        except (ApiError, CommandError) as error:
            failures.add(error)
    return failures.exit_code


def _scale(session: Session, change: Change, found: Found, parsed: argparse.Namespace) -> None:
    current = (found.tree.get("spec") or {}).get("replicas", 1)
    if parsed.current_replicas >= 0 and current != parsed.current_replicas:
        raise CommandError(f"Expected replicas to be {parsed.current_replicas}, was {current}")
    if parsed.resource_version and (
        found.tree["metadata"].get("resourceVersion") != parsed.resource_version
    ):
        raise CommandError(
            f"Expected resource version to be {parsed.resource_version}, was"
            f" {found.tree['metadata'].get('resourceVersion')}"
        )
    if not change.client_only:
        session.patch(
            found.resource,
            found.name,
            {"spec": {"replicas": parsed.replicas}},
            found.namespace,
            subresource="scale",
            query=change.query,
        )
    change.say(found.resource, found.tree, "scaled")
    if parsed.timeout not in ("", "0", "0s"):
        _wait(session, found, parsed)


def _wait(session: Session, found: Found, parsed: argparse.Namespace) -> None:
    from kutter.cli import moments

    deadline = moments.monotonic() + moments.duration(parsed.timeout, "--timeout")
    for _ in moments.until(deadline):
        tree = session.get(found.resource, found.name, found.namespace)
        if (tree.get("status") or {}).get("replicas", 0) == parsed.replicas:
            return
    raise CommandError("timed out waiting for the condition")


COMMAND = Command(
    name="scale",
    summary="Set how many replicas there shall be",
    configure=configure,
    run=run,
    examples=(
        "kutter scale deployment/web --replicas=3",
        "kutter scale --current-replicas=2 --replicas=3 deployment/web",
    ),
)
