"""Labels and annotations from words: ``a=1 b=2 c-``. The two commands differ in a few words."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kutter.api.errors import ApiError
from kutter.cli.changing import Change, add_change_flags
from kutter.cli.command import CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.failures import Failures
from kutter.cli.fetch import add_selection_flags, selected

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PairWords:
    """``field`` of the metadata, and what is said about changing it."""

    field: str
    noun: str
    done: str
    undone: str
    not_done: str


def add_pair_flags(parser: Parser, words: PairWords) -> None:
    add_selection_flags(parser)
    parser.switch("--overwrite", help="change values that are already there")
    parser.switch("--list", help=f"show the {words.field}")
    parser.add_argument("--resource-version", metavar="V", default="", help="only if unchanged")
    add_change_flags(parser, manager=f"kubectl-{words.noun}")
    add_connection_flags(parser)


def split_words(words: Sequence[str]) -> tuple[list[str], dict[str, str], list[str]]:
    """What to change, what to set, what to remove. Raises CommandError."""
    objects: list[str] = []
    setting: dict[str, str] = {}
    removing: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key:
            setting[key] = value
        elif word.endswith("-") and len(word) > 1 and objects and "=" not in word:
            removing.append(word[:-1])
        elif setting or removing:
            raise CommandError(f"all resources must be specified before changes: {word}")
        else:
            objects.append(word)
    both = sorted(setting.keys() & set(removing))
    if both:
        raise CommandError(f"can not both modify and remove the same key: {both[0]}")
    return objects, setting, removing


def run_pairs(parsed: argparse.Namespace, words: PairWords) -> int:
    objects, setting, removing = split_words(parsed.words)
    if not setting and not removing and not parsed.list:
        raise CommandError(f"at least one {words.noun} update is required")
    session, change, failures = open_session(parsed), Change(parsed), Failures()
    for found in selected(session, parsed, failures, words=objects):
        present = (found.tree["metadata"].get(words.field)) or {}
        if parsed.list and not setting and not removing:
            for key in sorted(present):
                print(f"{key}={present[key]}")
            continue
        try:
            _check_overwrite(present, setting, words, overwrite=parsed.overwrite)
        except CommandError as error:
            failures.add(error)
            continue
        patch: Tree = {key: value for key, value in setting.items() if present.get(key) != value}
        for key in removing:
            if key in present:
                patch[key] = None
            else:
                print(f'{words.noun} "{key}" not found.')
        done = _what_was_done(present, patch, words)
        tree = found.tree
        if patch and not change.client_only:
            metadata: Tree = {words.field: patch}
            if parsed.resource_version:
                metadata["resourceVersion"] = parsed.resource_version
            try:
                tree = session.patch(
                    found.resource,
                    found.name,
                    {"metadata": metadata},
                    found.namespace,
                    query=change.query,
                )
            except ApiError as error:
                failures.add(error)
                continue
        change.say(found.resource, tree, done)
    return failures.exit_code


def _check_overwrite(
    present: Tree, setting: dict[str, str], words: PairWords, *, overwrite: bool
) -> None:
    if overwrite:
        return
    for key, value in setting.items():
        if key in present and present[key] != value:
            if words.field == "labels":
                raise CommandError(
                    f"'{key}' already has a value ({present[key]}), and --overwrite is false"
                )
            raise CommandError(
                "--overwrite is false but found the following declared annotation(s):"
                f" '{key}' already has a value ({present[key]})"
            )


def _what_was_done(present: Tree, patch: Tree, words: PairWords) -> str:
    if words.field == "annotations":
        return words.done
    if not patch:
        return words.not_done
    return words.undone if all(value is None for value in patch.values()) else words.done
