"""Keeping new pods from a node, and letting them come again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kutter.api.errors import ApiError
from kutter.cli.changing import Change
from kutter.cli.command import CommandError
from kutter.cli.connection import open_session
from kutter.cli.failures import Failures
from kutter.cli.fetch import Found

if TYPE_CHECKING:
    from kutter.cli.session import Session


def nodes_of(session: Session, parsed: argparse.Namespace, failures: Failures) -> list[Found]:
    """The nodes named or selected."""
    resource = session.kinds.find("nodes")
    names = [word.removeprefix("node/").removeprefix("nodes/") for word in parsed.words]
    if bool(names) == bool(parsed.selector):
        raise CommandError("name nodes, or select them with -l")
    found = []
    if parsed.selector:
        for tree in session.list(resource, selector=parsed.selector):
            found.append(Found(resource, "", tree["metadata"]["name"], tree))
    for name in names:
        try:
            found.append(Found(resource, "", name, session.get(resource, name)))
        except ApiError as error:
            failures.add(error)
    return found


def set_unschedulable(
    session: Session, change: Change, found: Found, *, unschedulable: bool
) -> None:
    word = "cordoned" if unschedulable else "uncordoned"
    if bool((found.tree.get("spec") or {}).get("unschedulable")) == unschedulable:
        print(f"node/{found.name} already {word}")
        return
    if not change.client_only:
        body = {"spec": {"unschedulable": unschedulable or None}}
        session.patch(found.resource, found.name, body, query=change.query)
    change.say(found.resource, found.tree, word)


def run_cordon(parsed: argparse.Namespace, *, unschedulable: bool) -> int:
    session, change, failures = open_session(parsed), Change(parsed), Failures()
    for found in nodes_of(session, parsed, failures):
        try:
            set_unschedulable(session, change, found, unschedulable=unschedulable)
        except ApiError as error:
            failures.add(error)
    return failures.exit_code
