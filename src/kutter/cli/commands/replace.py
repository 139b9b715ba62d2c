"""``kutter replace``: put manifests in the place of objects, whole."""

from __future__ import annotations

import argparse

from kutter.api.errors import ApiError
from kutter.cli.changing import Change, add_change_flags, add_validate_flag
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.documents import Document, read_documents
from kutter.cli.failures import Failures
from kutter.cli.fetch import add_file_flags, namespace_of, resource_for
from kutter.cli.removal import Removal, wait_until_gone
from kutter.cli.session import Session


def configure(parser: Parser) -> None:
    add_file_flags(parser)
    add_change_flags(parser, manager="kubectl-replace")
    add_validate_flag(parser)
    parser.switch("--force", help="delete the object and create it anew")
    parser.add_argument("--subresource", metavar="NAME", default="", help="replace status or scale")
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    if not parsed.filename:
        raise CommandError("say what to put there with -f FILE", hint="-f - reads standard input")
    session, change, failures = open_session(parsed), Change(parsed), Failures()
    for document in read_documents(parsed.filename, recursive=parsed.recursive):
        try:
            _replace(session, change, document, parsed)
        except ApiError as error:
            context = (
                "" if error.reason == "Invalid" else f'error when replacing "{document.source}"'
            )
            failures.add(error, context)
        except CommandError as error:
            failures.add(error)
    return failures.exit_code


def _replace(
    session: Session, change: Change, document: Document, parsed: argparse.Namespace
) -> None:
    resource = resource_for(session, document.tree, document.source)
    namespace = namespace_of(session, resource, document.tree)
    tree, name = document.tree, document.name
    if parsed.force and not change.client_only:
        current = session.find(resource, name, namespace)
        if current is not None and change.dry_run == "none":
            session.delete(resource, name, namespace, options={"gracePeriodSeconds": 0})
            uid = current["metadata"]["uid"]
            wait_until_gone(session, [Removal(resource, namespace, name, uid)], 60.0)
        tree = session.create(resource, tree, namespace, query=change.query)
    elif not change.client_only:
        path = resource.path(namespace, name, parsed.subresource)
        tree = session.call("PUT", path, body=tree, query=change.query)
    change.say(resource, tree, "replaced")


COMMAND = Command(
    name="replace",
    summary="Put manifests in the place of objects",
    configure=configure,
    run=run,
    examples=("kutter replace -f web.yaml", "kutter replace --force -f pod.yaml"),
)
