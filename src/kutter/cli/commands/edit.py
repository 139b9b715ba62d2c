"""``kutter edit``: an object in an editor, and what was changed in it sent back."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from kutter.api.errors import ApiError
from kutter.cli.changing import Change, add_change_flags, add_validate_flag
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.documents import parse_documents
from kutter.cli.failures import Failures, api_error_text
from kutter.cli.fetch import Found, add_selection_flags, selected
from kutter.cli.last_applied import patch_to_edit
from kutter.cli.printers.output import without_managed_fields
from kutter.cli.printers.yaml_text import render_yaml
from kutter.cli.session import Session

Tree = dict[str, Any]
_HEAD = """# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
"""


def configure(parser: Parser) -> None:
    add_selection_flags(parser)
    add_change_flags(parser, manager="kubectl-edit")
    add_validate_flag(parser)
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    session, change, failures = open_session(parsed), Change(parsed), Failures()
    for found in selected(session, parsed, failures, need_choice=False):
        _edit(session, change, found)
    return failures.exit_code


def _edit(session: Session, change: Change, found: Found) -> None:
    before = without_managed_fields(found.tree)
    text = render_yaml(before)
    problems = ""
    with tempfile.TemporaryDirectory(prefix="kutter-edit-") as folder:
        file = Path(folder) / f"{found.name}.yaml"
        previous = ""
        while True:
            file.write_text(_head(problems) + text)
            _open_editor(file)
            edited = _without_comments(file.read_text())
            if problems and edited == previous:
                raise CommandError(_keep(file, found, edited, problems))
            previous = edited
            if not edited.strip():
                print("Edit cancelled, saved file was empty.", file=sys.stderr)
                return
            try:
                after = _parse(edited, found)
                if after == before:
                    print("Edit cancelled, no changes made.", file=sys.stderr)
                    return
                kind, body = patch_to_edit(found.resource, before, after)
                patched = session.patch(
                    found.resource, found.name, body, found.namespace, kind=kind, query=change.query
                )
            except (ApiError, CommandError) as error:
                problems = api_error_text(error) if isinstance(error, ApiError) else str(error)
                print(problems, file=sys.stderr)
                text = edited
                continue
            change.say(found.resource, patched, "edited")
            return


def _parse(text: str, found: Found) -> Tree:
    trees = list(parse_documents(text.encode(), "the edited object"))
    if len(trees) != 1:
        raise CommandError(f"one object was expected, there are {len(trees)}")
    metadata = trees[0].get("metadata") or {}
    if metadata.get("name") != found.name:
        raise CommandError("the object's name must not change")
    return trees[0]


def _head(problems: str) -> str:
    if not problems:
        return _HEAD
    return _HEAD + "".join(f"# {line}\n" for line in problems.splitlines()) + "#\n"


def _without_comments(text: str) -> str:
    """Without the comment lines at the top, which are ours."""
    lines = text.splitlines(keepends=True)
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    return "".join(lines)


def _keep(file: Path, found: Found, edited: str, problems: str) -> str:
    """Keep what was typed when the user gives up on an edit that does not pass."""
    descriptor, path = tempfile.mkstemp(prefix=f"kutter-edit-{found.name}-", suffix=".yaml")
    with os.fdopen(descriptor, "w") as kept:
        kept.write(edited)
    return (
        f"Edit cancelled, no valid changes were saved: {problems}."
        f" A copy of your changes has been stored to {path!r}"
    )


def _open_editor(file: Path) -> None:
    editor = os.environ.get("KUBE_EDITOR") or os.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode
    except OSError as error:
        raise CommandError(
            f"cannot start the editor {editor!r}: {error.strerror}", hint="set EDITOR"
        ) from error
    if code:
        raise CommandError(f"the editor {editor!r} ended with exit code {code}")


COMMAND = Command(
    name="edit",
    summary="Change an object in an editor",
    description="Open an object as YAML in $KUBE_EDITOR, $EDITOR or vi and send what was changed.",
    configure=configure,
    run=run,
    examples=("kutter edit deployment/web", "EDITOR=nano kutter edit svc web"),
)
