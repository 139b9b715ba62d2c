"""Flags and words that all changing commands share: dry run, output, field manager."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from kutter.cli.command import CommandError, Parser
from kutter.cli.printers.output import Output, add_output_flag, print_object

if TYPE_CHECKING:
    from kutter.api.resources import Resource

Tree = dict[str, Any]
_SUFFIX = {"none": "", "client": " (dry run)", "server": " (server dry run)"}
_VALIDATE = {"true": "Strict", "strict": "Strict", "warn": "Warn", "false": "Ignore",
             "ignore": "Ignore"}  # fmt: skip


def add_change_flags(parser: Parser, *, manager: str) -> None:
    """``--dry-run``, ``-o``, ``--field-manager``."""
    parser.optional_value(
        "--dry-run", bare="unchanged", default="none", help="none, client or server"
    )
    add_output_flag(parser)
    parser.add_argument("--field-manager", metavar="NAME", default=manager,
                        help="name under which fields are owned")  # fmt: skip


def add_validate_flag(parser: Parser) -> None:
    parser.optional_value(
        "--validate", bare="strict", default="strict", help="strict, warn or ignore unknown fields"
    )


class Change:
    """How one changing command acts: really, on the server only for show, or not at all."""

    def __init__(self, parsed: argparse.Namespace) -> None:
        self.dry_run: str = parsed.dry_run
        if self.dry_run == "unchanged":
            raise CommandError(
                "--dry-run needs a value", hint="write --dry-run=client or --dry-run=server"
            )
        if self.dry_run not in _SUFFIX:
            raise CommandError(
                f'Invalid dry-run value ({self.dry_run}). Must be "none", "server", or "client".'
            )
        self.output = Output(parsed.output, template=parsed.template)
        self._keep_managed = parsed.show_managed_fields
        self._manager = parsed.field_manager
        validate = str(getattr(parsed, "validate", "ignore"))
        if validate not in _VALIDATE:
            raise CommandError(f"invalid --validate {validate!r}: strict, warn or ignore")
        self._validation = _VALIDATE[validate] if hasattr(parsed, "validate") else ""

    @property
    def client_only(self) -> bool:
        return self.dry_run == "client"

    @property
    def query(self) -> list[tuple[str, str]]:
        """Parameters of the request that changes."""
        query = [("fieldManager", self._manager)]
        if self.dry_run == "server":
            query.append(("dryRun", "All"))
        if self._validation:
            query.append(("fieldValidation", self._validation))
        return query

    def say(self, resource: Resource, tree: Tree, done: str) -> None:
        """``deployment.apps/web scaled``, or the object in the form asked for."""
        text = f"{done}{_SUFFIX[self.dry_run]}"
        print_object(self.output, resource, tree, text, keep_managed=self._keep_managed)
