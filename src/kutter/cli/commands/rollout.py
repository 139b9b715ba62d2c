"""``kutter rollout``: how a workload's change goes, and going back."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from kutter.api.errors import ApiError
from kutter.api.resources import Resource
from kutter.base.clock import render_time
from kutter.cli import moments, revisions
from kutter.cli.changing import Change, add_change_flags
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.failures import Failures
from kutter.cli.fetch import Found, add_selection_flags, selected
from kutter.cli.session import Session

Tree = dict[str, Any]
_RESTARTED = "kubectl.kubernetes.io/restartedAt"
_STATUS: dict[str, Callable[[Tree], tuple[str, bool]]] = {
    "deployments": revisions.deployment_status,
    "daemonsets": revisions.daemon_set_status,
    "statefulsets": revisions.stateful_set_status,
}


def _selection(parser: Parser) -> None:
    add_selection_flags(parser)
    add_connection_flags(parser)


def _changing(parser: Parser) -> None:
    add_selection_flags(parser)
    add_change_flags(parser, manager="kubectl-rollout")
    add_connection_flags(parser)


def _each(parsed: argparse.Namespace, work: Callable[[Session, Found], None]) -> int:
    session, failures = open_session(parsed), Failures()
    for found in selected(session, parsed, failures):
        try:
            work(session, found)
        except (ApiError, CommandError) as error:
            failures.add(error)
    return failures.exit_code


# status


def _status_flags(parser: Parser) -> None:
    _selection(parser)
    parser.switch("-w", "--watch", default=True, help="wait until it is done")
    parser.add_argument("--revision", metavar="N", type=int, default=0, help="this revision only")
    parser.add_argument("--timeout", metavar="TIME", default="0s", help="give up after this long")


def _status(parsed: argparse.Namespace) -> int:
    def follow(session: Session, found: Found) -> None:
        describe = _STATUS.get(found.resource.plural)
        if describe is None:
            raise CommandError(f"no status viewer has been implemented for {found.resource.kind}")
        limit_s = moments.duration(parsed.timeout, "--timeout")
        deadline = moments.monotonic() + (limit_s or 7 * 86400.0)
        said = ""
        tree = found.tree
        for _ in moments.until(deadline):
            _check_revision(tree, parsed.revision)
            text, done = describe(tree)
            if text != said:
                print(text, flush=True)
                said = text
            if done or not parsed.watch:
                return
            tree = session.get(found.resource, found.name, found.namespace)
        raise CommandError("timed out waiting for the condition")

    return _each(parsed, follow)


def _check_revision(tree: Tree, wanted: int) -> None:
    if not wanted:
        return
    now = (tree["metadata"].get("annotations") or {}).get(revisions.REVISION)
    if now is not None and str(now) != str(wanted):
        raise CommandError(
            f"desired revision ({wanted}) is different from the running revision ({now})"
        )


# history and undo


def _revisions(session: Session, found: Found) -> list[revisions.Revision]:
    if found.resource.plural == "deployments":
        sets = session.list(session.kinds.find("replicasets.apps"), found.namespace)
        return revisions.deployment_revisions(found.tree, sets)
    if found.resource.plural in ("daemonsets", "statefulsets"):
        kept = session.list(session.kinds.find("controllerrevisions.apps"), found.namespace)
        return revisions.controller_revisions(found.tree, kept)
    raise CommandError(f"no history viewer has been implemented for {found.resource.kind}")


def _history_flags(parser: Parser) -> None:
    _selection(parser)
    parser.add_argument("--revision", metavar="N", type=int, default=0, help="its pod template")
    parser.add_argument("-o", "--output", metavar="FORM", default="", help="json or yaml")


def _history(parsed: argparse.Namespace) -> int:
    from kutter.cli.printers.output import Output, qualified_name, render

    output = Output(parsed.output, allowed=("json", "yaml"))

    def show(session: Session, found: Found) -> None:
        history = _revisions(session, found)
        head = qualified_name(found.resource, found.name)
        if parsed.revision:
            chosen = revisions.choose_revision(history, parsed.revision)
            if output.form:
                print(render(output, chosen.template), end="")
                return
            from kutter.cli.describe.pod_template import template_lines

            print(f"{head} with revision #{parsed.revision}")
            print("\n".join(template_lines(chosen.template)))
            return
        if output.form:
            rows = [{"revision": r.number, "changeCause": r.cause} for r in history]
            print(render(output, {"revisions": rows}), end="")
            return
        print(head)
        from kutter.cli.describe.layout import align

        table = ["REVISION\tCHANGE-CAUSE"]
        table += [f"{r.number}\t{r.cause or '<none>'}" for r in history]
        print("\n".join(align(table)) + "\n")

    return _each(parsed, show)


def _undo_flags(parser: Parser) -> None:
    _changing(parser)
    parser.add_argument("--to-revision", metavar="N", type=int, default=0,
                        help="this one (default: the one before)")  # fmt: skip


def _undo(parsed: argparse.Namespace) -> int:
    change = Change(parsed)

    def back(session: Session, found: Found) -> None:
        if (found.tree["spec"]).get("paused"):
            raise CommandError(
                f'cannot rollback a paused deployment; resume it first with "kutter rollout resume'
                f' deployment/{found.name}" and try again'
            )
        history = _revisions(session, found)
        chosen = revisions.choose_revision(history, parsed.to_revision)
        if _same_template(found, chosen.template):
            change.say(
                found.resource,
                found.tree,
                f"skipped rollback (current template already matches revision {chosen.number})",
            )
            return
        if not change.client_only:
            operations: list[Tree] = [
                {"op": "replace", "path": "/spec/template", "value": chosen.template}
            ]
            if found.resource.plural == "deployments":
                operations.append(_annotations(found, chosen))
            session.patch(
                found.resource,
                found.name,
                operations,
                found.namespace,
                kind="json",
                query=change.query,
            )
        change.say(found.resource, found.tree, "rolled back")

    return _each(parsed, back)


def _same_template(found: Found, template: Tree) -> bool:
    return bool(revisions.without_hash(found.tree["spec"]["template"]) == template)


def _annotations(found: Found, chosen: revisions.Revision) -> Tree:
    """The workload's annotations with those of the revision gone back to."""
    own = found.tree["metadata"].get("annotations") or {}
    kept = {k: v for k, v in own.items() if k in revisions.NOT_ROLLED_BACK}
    older = {k: v for k, v in chosen.annotations.items() if k not in revisions.NOT_ROLLED_BACK}
    return {"op": "add", "path": "/metadata/annotations", "value": {**kept, **older}}


# restart, pause, resume


def _restart(parsed: argparse.Namespace) -> int:
    change = Change(parsed)

    def restart(session: Session, found: Found) -> None:
        if found.resource.plural not in _STATUS:
            raise CommandError(f"{found.resource.plural} {found.name!r} cannot be restarted")
        if found.tree["spec"].get("paused"):
            raise CommandError(
                f"can't restart paused deployment (run rollout resume first): {found.name}"
            )
        stamp = render_time(moments.now())
        body = {"spec": {"template": {"metadata": {"annotations": {_RESTARTED: stamp}}}}}
        _merge(session, change, found, body)
        change.say(found.resource, found.tree, "restarted")

    return _each(parsed, restart)


def _set_paused(parsed: argparse.Namespace, *, paused: bool) -> int:
    change = Change(parsed)

    def apply(session: Session, found: Found) -> None:
        word = "pausing" if paused else "resuming"
        if found.resource.plural != "deployments":
            raise CommandError(f"{found.resource.plural} {found.name!r} {word} is not supported")
        if bool(found.tree["spec"].get("paused")) == paused:
            state = "is already paused" if paused else "is not paused"
            raise CommandError(f'deployments.apps "{found.name}" {state}')
        _merge(session, change, found, {"spec": {"paused": paused}})
        change.say(found.resource, found.tree, "paused" if paused else "resumed")

    return _each(parsed, apply)


def _merge(session: Session, change: Change, found: Found, body: Tree) -> None:
    if not change.client_only:
        resource: Resource = found.resource
        session.patch(resource, found.name, body, found.namespace, query=change.query)


_SUBCOMMANDS = (
    Command(
        name="status",
        summary="Tell how far it is, and wait until it is done",
        configure=_status_flags,
        run=_status,
        examples=("kutter rollout status deployment/web --timeout=2m",),
    ),
    Command(
        name="history",
        summary="List revisions",
        configure=_history_flags,
        run=_history,
        examples=("kutter rollout history deployment/web --revision=2",),
    ),
    Command(
        name="undo",
        summary="Go back to an earlier revision",
        configure=_undo_flags,
        run=_undo,
        examples=("kutter rollout undo deployment/web --to-revision=1",),
    ),
    Command(
        name="restart",
        summary="Replace all pods, one after the other",
        configure=_changing,
        run=_restart,
        examples=("kutter rollout restart deployment/web",),
    ),
    Command(
        name="pause",
        summary="Do not act on changes for now",
        configure=_changing,
        run=lambda parsed: _set_paused(parsed, paused=True),
        examples=("kutter rollout pause deployment/web",),
    ),
    Command(
        name="resume",
        summary="Act on changes again",
        configure=_changing,
        run=lambda parsed: _set_paused(parsed, paused=False),
        examples=("kutter rollout resume deployment/web",),
    ),
)

COMMAND = Command(
    name="rollout",
    summary="Follow, undo, restart or pause a workload's change",
    examples=("kutter rollout status deployment/web", "kutter rollout undo deployment/web"),
    subcommands={c.name: c for c in _SUBCOMMANDS},
)
