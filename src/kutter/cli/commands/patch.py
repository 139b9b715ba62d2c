"""``kutter patch``: change some fields of an object."""

from __future__ import annotations

import argparse
from typing import Any

import orjson

from kutter.api.errors import ApiError
from kutter.cli.changing import Change, add_change_flags
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.failures import Failures
from kutter.cli.fetch import add_selection_flags, selected
from kutter.cli.printers.output import read_text


def configure(parser: Parser) -> None:
    add_selection_flags(parser)
    parser.add_argument("-p", "--patch", metavar="TEXT", default="", help="the patch, JSON or YAML")
    parser.add_argument("--patch-file", metavar="FILE", default="", help="file with the patch")
    parser.add_argument("--type", metavar="KIND", default="strategic",
                        help="strategic (default), merge or json")  # fmt: skip
    parser.add_argument("--subresource", metavar="NAME", default="", help="status or scale")
    add_change_flags(parser, manager="kubectl-patch")
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    body = _body(parsed)
    if parsed.type not in ("strategic", "merge", "json"):
        raise CommandError(f'--type must be one of [json merge strategic], not "{parsed.type}"')
    session, change, failures = open_session(parsed), Change(parsed), Failures()
    for found in selected(session, parsed, failures):
        if change.client_only:
            change.say(found.resource, found.tree, "patched")
            continue
        try:
            patched = session.patch(
                found.resource,
                found.name,
                body,
                found.namespace,
                kind=parsed.type,
                subresource=parsed.subresource,
                query=change.query,
            )
        except ApiError as error:
            failures.add(error)
            continue
        before = found.tree["metadata"].get("resourceVersion")
        same = patched.get("metadata", {}).get("resourceVersion") == before
        change.say(found.resource, patched, "patched (no change)" if same else "patched")
    return failures.exit_code


def _body(parsed: argparse.Namespace) -> Any:
    if bool(parsed.patch) == bool(parsed.patch_file):
        raise CommandError(
            "must specify -p to patch" if not parsed.patch else "give either -p or --patch-file",
            hint="""for example -p '{"spec":{"replicas":2}}'""",
        )
    text = parsed.patch or read_text(parsed.patch_file)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    import yaml

    from kutter.cli.yaml_loader import loader

    try:
        tree = yaml.load(text, Loader=loader())  # noqa: S506  (a safe loader)
    except yaml.YAMLError as error:
        raise CommandError(f"unable to parse the patch: {error}") from error
    if not isinstance(tree, dict | list):
        raise CommandError(f"unable to parse {text!r}: a patch is a map or a list")
    return tree


COMMAND = Command(
    name="patch",
    summary="Change some fields of an object",
    configure=configure,
    run=run,
    examples=(
        """kutter patch deployment web -p '{"spec":{"replicas":2}}'""",
        """kutter patch node n1 --type=json -p '[{"op":"remove","path":"/spec/taints"}]'""",
    ),
)
