"""``kutter apply``: make objects what their manifests say."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from kutter.api.errors import ApiError
from kutter.cli import last_applied
from kutter.cli.changing import Change, add_change_flags, add_validate_flag
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.documents import Document, read_documents
from kutter.cli.failures import Failures
from kutter.cli.fetch import add_file_flags, namespace_of, resource_for
from kutter.cli.session import Session

Tree = dict[str, Any]
_ATTEMPTS = 5


def configure(parser: Parser) -> None:
    add_file_flags(parser)
    add_change_flags(parser, manager="kubectl-client-side-apply")
    add_validate_flag(parser)
    parser.add_argument("-l", "--selector", metavar="LABELS", default="", help="only these objects")
    parser.switch("--overwrite", default=True, help="accepted for kubectl's sake")
    parser.switch("--server-side", help="let the server own and merge the fields")
    parser.switch("--force-conflicts", help="with --server-side, take fields others own")
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    if not parsed.filename:
        raise CommandError("say what to apply with -f FILE", hint="-f - reads standard input")
    session = open_session(parsed)
    change = Change(parsed)
    failures = Failures()
    chosen = _chooser(parsed.selector)
    for document in read_documents(parsed.filename, recursive=parsed.recursive):
        if not chosen(document.tree):
            continue
        try:
            if parsed.server_side:
                _apply_on_server(session, change, document, force=parsed.force_conflicts)
            else:
                _apply(session, change, document)
        except ApiError as error:
            failures.add(error, _context(document, error))
        except CommandError as error:
            failures.add(error)
    return failures.exit_code


def _context(document: Document, error: ApiError) -> str:
    return "" if error.reason == "Invalid" else f'error when applying "{document.source}"'


def _chooser(selector: str) -> Any:
    if not selector:
        return bool  # every manifest is a non-empty tree
    from kutter.api.selectors import parse_labels

    try:
        parsed = parse_labels(selector)
    except ValueError as error:
        raise CommandError(f"invalid selector {selector!r}: {error}") from error
    return lambda tree: parsed.matches((tree.get("metadata") or {}).get("labels") or {})


def _prepared(session: Session, document: Document) -> tuple[Any, str, Tree]:
    resource = resource_for(session, document.tree, document.source)
    namespace = namespace_of(session, resource, document.tree)
    metadata = dict(document.tree.get("metadata") or {})
    if namespace:
        metadata["namespace"] = namespace
    if metadata.get("creationTimestamp", "") is None:
        del metadata["creationTimestamp"]
    return resource, namespace, {**document.tree, "metadata": metadata}


def _apply(session: Session, change: Change, document: Document) -> None:
    resource, namespace, tree = _prepared(session, document)
    name = document.name
    modified = last_applied.with_annotation(tree)
    for attempt in range(_ATTEMPTS):
        current = session.find(resource, name, namespace)
        if current is None:
            done = modified
            if not change.client_only:
                done = session.create(resource, modified, namespace, query=change.query)
            change.say(resource, done, "created")
            return
        if attempt == 0 and last_applied.last_applied(current) is None:
            what = f"{resource.plural}/{name}"
            text = last_applied.MISSING.format(
                what=what, annotation=last_applied.ANNOTATION, program="kutter"
            )
            print(text, file=sys.stderr)
        kind, body = last_applied.patch_to_apply(resource, current, modified)
        if not body or change.client_only:
            change.say(resource, current, "configured" if body else "unchanged")
            return
        try:
            patched = session.patch(resource, name, body, namespace, kind=kind, query=change.query)
        except ApiError as error:
            # Somebody else changed it between our look and our patch: look again.
            if error.code == 409 and attempt < _ATTEMPTS - 1:
                continue
            raise
        same = _version(patched) == _version(current) and change.dry_run == "none"
        change.say(resource, patched, "unchanged" if same else "configured")
        return


def _apply_on_server(session: Session, change: Change, document: Document, *, force: bool) -> None:
    resource, namespace, tree = _prepared(session, document)
    query = [*change.query, ("force", "true" if force else "false")]
    path = resource.path(namespace, document.name)
    applied = session.call(
        "PATCH", path, body=tree, query=query, content_type="application/apply-patch+yaml"
    )
    change.say(resource, applied, "serverside-applied")


def _version(tree: Tree) -> str:
    return str((tree.get("metadata") or {}).get("resourceVersion") or "")


COMMAND = Command(
    name="apply",
    summary="Make objects what their manifests say",
    description=(
        "Create objects that are not there and change those that are, keeping what others set."
    ),
    configure=configure,
    run=run,
    examples=(
        "kutter apply -f web.yaml",
        "kutter apply -f manifests/ -R",
        "cat web.yaml | kutter apply -f -",
        "kutter apply -f web.yaml --dry-run=server",
    ),
)
