"""``kutter describe``: objects explained, with their events."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from kutter.api.errors import ApiError
from kutter.api.resources import Resource
from kutter.cli.command import Command, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.failures import Failures
from kutter.cli.fetch import Found, add_selection_flags, fill_kind, selected
from kutter.cli.references import parse_references
from kutter.cli.session import Session

Tree = dict[str, Any]


def configure(parser: Parser) -> None:
    add_selection_flags(parser)
    parser.switch("--show-events", default=True, help="with the events about the object")
    parser.add_argument("--chunk-size", metavar="N", type=int, default=500, help="accepted")
    add_connection_flags(parser)


def describer_for(kind: str, group: str) -> Callable[..., str]:
    """The function that describes a kind."""
    match group, kind:
        case "", "Pod":
            from kutter.cli.describe.pods import describe_pod

            return describe_pod
        case "", "Node":
            from kutter.cli.describe.nodes import describe_node

            return describe_node
        case "", "Service":
            from kutter.cli.describe.services import describe_service

            return describe_service
        case "", "Namespace":
            from kutter.cli.describe.namespaces import describe_namespace

            return describe_namespace
        case "apps", "Deployment":
            from kutter.cli.describe.workloads import describe_deployment

            return describe_deployment
        case ("apps", "ReplicaSet") | ("", "ReplicationController"):
            from kutter.cli.describe.workloads import describe_replica_set

            return describe_replica_set
        case _:
            from kutter.cli.describe.generic import describe_any

            return describe_any


def run(parsed: argparse.Namespace) -> int:
    session, failures = open_session(parsed), Failures()
    printed = 0
    for found in _found(session, parsed, failures):
        describe = describer_for(found.resource.kind, found.resource.group)
        text = describe(session, found.tree, show_events=parsed.show_events)
        if printed:
            sys.stdout.write("\n\n")
        printed += 1
        sys.stdout.write(text)
    if not printed and not failures.exit_code:
        where = "" if parsed.all_namespaces else f" in {session.namespace} namespace."
        print(f"No resources found{where}", file=sys.stderr)
    return failures.exit_code


def _found(session: Session, parsed: argparse.Namespace, failures: Failures) -> list[Found]:
    """What is selected; a name that is none may be the beginning of some."""
    named = not parsed.filename and parse_references(parsed.words, session.kinds)
    if not named or not any(reference.names for reference in named):
        return list(selected(session, parsed, failures, need_choice=False))
    found = []
    for reference in named:
        for name in reference.names:
            try:
                namespace = session.namespace_for(reference.resource)
                tree = session.get(reference.resource, name)
                found.append(Found(reference.resource, namespace, name, tree))
            except ApiError as error:
                matches = _by_prefix(session, reference.resource, name)
                if error.code != 404 or not matches:
                    failures.add(error)
                found += matches
    return found


def _by_prefix(session: Session, resource: Resource, prefix: str) -> list[Found]:
    where = session.namespace_for(resource)
    return [
        Found(resource, where, tree["metadata"]["name"], fill_kind(tree, resource))
        for tree in session.list(resource, where)
        if tree["metadata"]["name"].startswith(prefix)
    ]


COMMAND = Command(
    name="describe",
    summary="Explain objects, with their events",
    configure=configure,
    run=run,
    examples=(
        "kutter describe pod web-1",
        "kutter describe nodes",
        "kutter describe deployment/web service/web",
    ),
)
