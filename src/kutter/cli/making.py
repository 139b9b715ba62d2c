"""The frame of commands that make one object from words: parse, send, say."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from kutter.api.resources import Resource
from kutter.cli.changing import Change, add_change_flags
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.fetch import resource_for
from kutter.cli.session import Session

Tree = dict[str, Any]
Make = Callable[[Session, argparse.Namespace], Tree]


def maker(
    name: str,
    summary: str,
    flags: Callable[[Parser], None],
    make: Make,
    examples: tuple[str, ...],
) -> Command:
    """A ``create NAME`` subcommand: ``make`` builds the tree from the flags."""

    def configure(parser: Parser) -> None:
        add_connection_flags(parser)
        parser.add_argument("name", metavar="NAME", help="the name of the new object")
        flags(parser)
        add_change_flags(parser, manager="kubectl-create")
        parser.switch("--save-config", help="remember the object for a later apply")
        parser.optional_value("--validate", bare="strict", default="strict", help="strict, warn")

    def run(parsed: argparse.Namespace) -> int:
        session, change = open_session(parsed), Change(parsed)
        send(session, change, make(session, parsed), save=parsed.save_config)
        return 0

    return Command(name=name, summary=summary, configure=configure, run=run, examples=examples)


def send(session: Session, change: Change, tree: Tree, *, save: bool = False) -> Tree:
    """Create one object and say so."""
    resource = _resource(session, change, tree)
    if resource.namespaced and (session.namespace_given or not change.client_only):
        tree = {**tree, "metadata": {**tree["metadata"], "namespace": session.namespace}}
    if save:
        from kutter.cli.last_applied import with_annotation

        tree = with_annotation(tree)
    if not change.client_only:
        tree = session.create(resource, tree, session.namespace, query=change.query)
    change.say(resource, tree, "created")
    return tree


def _resource(session: Session, change: Change, tree: Tree) -> Resource:
    """From discovery; without a server's help when nothing is sent to one."""
    if change.client_only:
        from kutter.api.catalog import BUILTIN

        for resource in BUILTIN:
            if resource.kind == tree["kind"] and resource.api_version == tree["apiVersion"]:
                return resource
    return resource_for(session, tree, "the command line")


def need(value: Any, flag: str) -> Any:
    """The value of a flag that has to be given. Raises CommandError."""
    if not value:
        raise CommandError(f'required flag(s) "{flag}" not set')
    return value
