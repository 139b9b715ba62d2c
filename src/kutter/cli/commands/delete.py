"""``kutter delete``: remove objects and wait until they are gone."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from kutter.api.errors import ApiError
from kutter.cli import moments
from kutter.cli.changing import Change, add_change_flags
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.failures import Failures
from kutter.cli.fetch import Found, add_selection_flags, namespace_of, resource_for
from kutter.cli.references import parse_references
from kutter.cli.removal import Removal, wait_until_gone
from kutter.cli.session import Session

Tree = dict[str, Any]
_CASCADE = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan",
            "true": "Background", "false": "Orphan"}  # fmt: skip
_FORCE_WARNING = (
    "Warning: Immediate deletion does not wait for confirmation that the running resource has been"
    " terminated. The resource may continue to run on the cluster indefinitely."
)


def configure(parser: Parser) -> None:
    add_selection_flags(parser)
    add_change_flags(parser, manager="kubectl-delete")
    parser.optional_value(
        "--cascade", bare="background", default="background", help="background, foreground, orphan"
    )
    parser.add_argument("--grace-period", metavar="SECONDS", type=int, default=-1,
                        help="time to end in; -1 is the object's own")  # fmt: skip
    parser.switch("--now", help="a grace period of one second")
    parser.switch("--force", help="do not wait for the node to confirm")
    parser.switch("--wait", default=True, help="wait until the objects are gone")
    parser.add_argument(
        "--timeout", metavar="TIME", default="0s", help="how long to wait (0: ever)"
    )
    parser.switch("--ignore-not-found", help="no error for objects that do not exist")
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    session, change, failures = open_session(parsed), Change(parsed), Failures()
    if parsed.cascade not in _CASCADE:
        raise CommandError(
            f'invalid cascade value ({parsed.cascade}). Must be "background", "foreground", or'
            ' "orphan".'
        )
    grace, wait = _grace(parsed)
    if parsed.force:
        print(_FORCE_WARNING, file=sys.stderr)
    options: Tree = {"propagationPolicy": _CASCADE[parsed.cascade]}
    if grace >= 0:
        options["gracePeriodSeconds"] = grace
    removals = []
    count = 0
    for found in _targets(session, parsed, failures):
        count += 1
        try:
            removal = _delete(session, change, found, options)
        except ApiError as error:
            if error.code != 404 or not parsed.ignore_not_found:
                failures.add(error)
            continue
        _say(change, found, forced=parsed.force)
        if removal is not None:
            removals.append(removal)
    if not count and not failures.exit_code and not parsed.ignore_not_found:
        print("No resources found", file=sys.stdout)
    if wait:
        wait_until_gone(session, removals, moments.duration(parsed.timeout, "--timeout"))
    return failures.exit_code


def _grace(parsed: argparse.Namespace) -> tuple[int, bool]:
    """The grace period and whether to wait, by kubectl's rules."""
    grace: int = parsed.grace_period
    if parsed.now:
        if grace != -1:
            raise CommandError("--now and --grace-period cannot be specified together")
        grace = 1
    if parsed.force and grace < 0:
        grace = 0
    if parsed.force and grace > 0:
        raise CommandError("--force and --grace-period greater than 0 cannot be specified together")
    if grace == 0 and not parsed.force:
        return 1, True
    return grace, parsed.wait


def _targets(session: Session, parsed: argparse.Namespace, failures: Failures) -> Any:
    """Like ``fetch.selected``, but named objects are not fetched before they are deleted."""
    if parsed.filename:
        from kutter.cli.documents import read_documents

        for document in read_documents(parsed.filename, recursive=parsed.recursive):
            try:
                resource = resource_for(session, document.tree, document.source)
                namespace = namespace_of(session, resource, document.tree)
                yield Found(resource, namespace, document.name, {})
            except CommandError as error:
                failures.add(error)
        return
    chosen = parsed.selector or parsed.field_selector or parsed.all
    for reference in parse_references(parsed.words, session.kinds):
        if reference.names and chosen:
            raise CommandError("name cannot be provided when a selector or --all is specified")
        if not reference.names and not chosen:
            raise CommandError(
                "resource(s) were provided, but no name was specified",
                hint="name objects, or use -l or --all",
            )
    from kutter.cli.fetch import selected

    for reference in parse_references(parsed.words, session.kinds):
        if not reference.names:
            yield from selected(session, parsed, failures)
            return
        namespace = session.namespace_for(reference.resource)
        for name in reference.names:
            yield Found(reference.resource, namespace, name, {})


def _delete(session: Session, change: Change, found: Found, options: Tree) -> Removal | None:
    if change.client_only:
        session.get(found.resource, found.name, found.namespace)
        return None
    query = [pair for pair in change.query if pair[0] == "dryRun"]
    answer = session.delete(
        found.resource, found.name, found.namespace, options=options, query=query
    )
    if query:
        return None
    details = answer.get("details") or {}
    uid = (answer.get("metadata") or {}).get("uid") or details.get("uid") or ""
    return Removal(found.resource, found.namespace, found.name, uid)


def _say(change: Change, found: Found, *, forced: bool) -> None:
    resource = found.resource
    kind = resource.singular or resource.kind.lower()
    if resource.group:
        kind = f"{kind}.{resource.group}"
    if change.output.form == "name":
        print(f"{kind}/{found.name}")
        return
    suffix = {"client": " (dry run)", "server": " (server dry run)"}.get(change.dry_run, "")
    print(f'{kind} "{found.name}" {"force deleted" if forced else "deleted"}{suffix}')


COMMAND = Command(
    name="delete",
    summary="Remove objects",
    description="Remove objects by name, label or manifest, and wait until they are gone.",
    configure=configure,
    run=run,
    examples=(
        "kutter delete pod web-1",
        "kutter delete -f web.yaml",
        "kutter delete pods -l app=web --now",
        "kutter delete deployment web --cascade=orphan",
    ),
)
