"""``kutter taint``: keep pods away from nodes."""

from __future__ import annotations

import argparse
from typing import Any

from kutter.api.errors import ApiError
from kutter.cli.changing import Change, add_change_flags
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.failures import Failures
from kutter.cli.fetch import Found, add_selection_flags, selected

Tree = dict[str, Any]
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def configure(parser: Parser) -> None:
    add_selection_flags(parser)
    parser.switch("--overwrite", help="change taints that are already there")
    add_change_flags(parser, manager="kubectl-taint")
    add_connection_flags(parser, namespace=False)


def parse_taint(text: str) -> tuple[Tree, bool]:
    """``key=value:Effect``, ``key:Effect``, ``key:Effect-``, ``key-``; True means take away."""
    removing = text.endswith("-")
    body, _, effect = text.removesuffix("-").partition(":")
    key, _, value = body.partition("=")
    if not key or (effect and effect not in _EFFECTS) or (not effect and not removing):
        raise CommandError(
            f"invalid taint spec: {text}", hint=f"KEY=VALUE:EFFECT, one of {', '.join(_EFFECTS)}"
        )
    taint: Tree = {"key": key, "effect": effect}
    if value:
        taint["value"] = value
    return taint, removing


def plan_taints(
    present: list[Tree], changes: list[tuple[Tree, bool]], *, overwrite: bool
) -> list[Tree]:
    """The node's taints afterwards. Pure. Raises CommandError."""
    after = list(present)
    for taint, removing in changes:
        key, effect = taint["key"], taint["effect"]
        same = [t for t in after if t["key"] == key and (not effect or t["effect"] == effect)]
        if removing:
            if not same:
                raise CommandError(f'taint "{key}" not found')
            after = [t for t in after if t not in same]
            continue
        if same and not overwrite and same[0].get("value", "") != taint.get("value", ""):
            raise CommandError(
                f"node already has {key} taint(s) with same effect(s) and --overwrite is false"
            )
        after = [t for t in after if t not in same] + [taint]
    return after


def run(parsed: argparse.Namespace) -> int:
    objects = [w for w in parsed.words if ":" not in w and not w.endswith("-")]
    changes = [parse_taint(w) for w in parsed.words if w not in objects]
    if not changes:
        raise CommandError("at least one taint update is required", hint="KEY=VALUE:EFFECT")
    session, change, failures = open_session(parsed), Change(parsed), Failures()
    for found in selected(session, parsed, failures, words=objects):
        if found.resource.plural != "nodes":
            raise CommandError(f"cannot taint {found.resource.plural}, only nodes")
        try:
            present = (found.tree.get("spec") or {}).get("taints") or []
            after = plan_taints(present, changes, overwrite=parsed.overwrite)
            if not change.client_only:
                session.patch(found.resource, found.name, _body(found, after), query=change.query)
        except (ApiError, CommandError) as error:
            failures.add(error)
            continue
        change.say(found.resource, found.tree, "untainted" if all(r for _, r in changes) else
                   "tainted")  # fmt: skip
    return failures.exit_code


def _body(found: Found, taints: list[Tree]) -> Tree:
    # The version guards taints that others set meanwhile: the list is replaced whole.
    version = found.tree["metadata"].get("resourceVersion")
    return {"metadata": {"resourceVersion": version}, "spec": {"taints": taints or None}}


COMMAND = Command(
    name="taint",
    summary="Keep pods away from nodes",
    configure=configure,
    run=run,
    examples=(
        "kutter taint node worker-1 dedicated=db:NoSchedule",
        "kutter taint node worker-1 dedicated-",
    ),
)
