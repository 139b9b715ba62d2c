"""``kutter create``: objects from manifests, or from a few words."""

from __future__ import annotations

import argparse
from typing import Any

from kutter.api.errors import ApiError
from kutter.cli.changing import Change, add_change_flags, add_validate_flag
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.commands import create_access, create_data, create_workloads
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.documents import Document, read_documents
from kutter.cli.failures import Failures
from kutter.cli.fetch import add_file_flags, namespace_of, resource_for
from kutter.cli.session import Session

Tree = dict[str, Any]


def configure(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    add_file_flags(parser)
    add_change_flags(parser, manager="kubectl-create")
    add_validate_flag(parser)
    parser.switch("--save-config", help="remember the manifest for a later apply")
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    if parsed.words:
        raise CommandError(
            f"create does not know how to make a {parsed.words[0]!r} from words",
            hint="'kutter create --help' lists what it makes; anything else goes with -f FILE",
        )
    if not parsed.filename:
        raise CommandError("must specify one of -f and -k", hint="kutter create -f FILE")
    session, change, failures = open_session(parsed), Change(parsed), Failures()
    for document in read_documents(parsed.filename, recursive=parsed.recursive):
        try:
            _create(session, change, document, save=parsed.save_config)
        except ApiError as error:
            context = (
                "" if error.reason == "Invalid" else f'error when creating "{document.source}"'
            )
            failures.add(error, context)
        except CommandError as error:
            failures.add(error)
    return failures.exit_code


def _create(session: Session, change: Change, document: Document, *, save: bool) -> None:
    resource = resource_for(session, document.tree, document.source)
    namespace = namespace_of(session, resource, document.tree)
    tree = document.tree
    if namespace:
        tree = {**tree, "metadata": {**(tree.get("metadata") or {}), "namespace": namespace}}
    if save:
        from kutter.cli.last_applied import with_annotation

        tree = with_annotation(tree)
    if not change.client_only:
        tree = session.create(resource, tree, namespace, query=change.query)
    change.say(resource, tree, "created")


COMMAND = Command(
    name="create",
    summary="Create objects from manifests or words",
    configure=configure,
    run=run,
    examples=(
        "kutter create -f web.yaml",
        "kutter create deployment web --image=nginx --replicas=3",
        "kutter create configmap settings --from-literal=color=blue --from-file=app.conf",
        "kutter create token default",
    ),
    subcommands={
        c.name: c
        for c in (*create_workloads.COMMANDS, *create_data.COMMANDS, *create_access.COMMANDS)
    }
    | create_data.ALIASES
    | create_workloads.ALIASES
    | create_access.ALIASES,
)
