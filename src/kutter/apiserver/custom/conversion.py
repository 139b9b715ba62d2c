"""Between the versions of a custom kind, and between what is stored and today's schema.

With the strategy None versions differ in apiVersion and in what their schemas keep. With a
webhook an object of another version than the stored one needs its answer; until webhooks are
called, such requests fail in upstream's words rather than answer something wrong.
"""

from __future__ import annotations

import orjson

from kutter.api.custom.defaults import compile_defaults
from kutter.api.custom.definition import DefinedVersion, Definition
from kutter.api.errors import ApiError
from kutter.api.schema.walk import Mismatch
from kutter.apiserver.ports import Tree
from kutter.apiserver.served import Convert


class Conversion:
    """The conversions of one definition."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        stored = definition.stored
        self._visit = stored.node.visit
        self._fill = compile_defaults(stored.schema)

    def refine(self, value: bytes) -> bytes:
        """A stored value as it is read: pruned and filled in by the stored version's schema."""
        tree = orjson.loads(value)
        try:
            self._visit(tree, None)
        except Mismatch:
            # Metadata an older server let through; shown as it is.
            return value
        self._fill(tree)
        refined = orjson.dumps(tree)
        return value if refined == value else refined

    def between(self, version: DefinedVersion) -> tuple[Convert | None, Convert | None]:
        """(request version → stored, stored → request version); None changes nothing."""
        stored = self._definition.stored
        if version is stored:
            return None, None
        if self._definition.converts:
            return self._refuse(version, stored), self._refuse(stored, version)
        if version.schema == stored.schema:
            return None, None

        def convert_out(tree: Tree) -> Tree:
            version.node.visit(tree, None)
            return tree

        return None, convert_out

    def _refuse(self, source: DefinedVersion, target: DefinedVersion) -> Convert:
        kind = f"{source.resource.api_version}, Kind={source.resource.kind}"

        def refuse(tree: Tree) -> Tree:
            raise ApiError(
                500,
                "InternalError",
                f"Internal error occurred: conversion webhook for {kind} failed: conversion to "
                f"{target.resource.api_version} by webhook is not available on this server",
            )

        return refuse
