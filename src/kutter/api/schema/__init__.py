"""Schemas as data: tables of the built-in kinds, and the walk that cleans a tree by them.

Usual use, in the write pipeline::

    schema = schema_for(resource.group, resource.version, resource.kind)
    warnings = schema.clean(tree, report=field_validation != "Ignore")
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

from kutter.api.errors import bad_request
from kutter.api.schema.duplicates import text_keys
from kutter.api.schema.loader import find_type
from kutter.api.schema.node import Findings, Node, locate
from kutter.api.schema.strict import find_complaints, parts_of
from kutter.api.schema.walk import Mismatch

__all__ = ["KindSchema", "Misfit", "Node", "schema_for"]

# Upstream stops collecting strict decoding errors there.
_REPORT_LIMIT = 100


class Misfit(ValueError):
    """A tree is not of its kind; the message says where, as Go's decoder would."""


class KindSchema:
    """The schema of one kind in one group-version.

    ``strategic`` tells whether it knows how lists are merged by strategic merge patch.
    """

    strategic: ClassVar[bool] = True
    __slots__ = ("group", "kind", "node", "version")

    def __init__(self, group: str, version: str, kind: str, node: Node) -> None:
        self.group = group
        self.version = version
        self.kind = kind
        self.node = node

    def read(
        self,
        tree: dict[str, Any],
        *,
        report: bool = False,
        source: bytes | None = None,
        uncounted: int = 0,
    ) -> list[str]:
        """Prune, check and normalise ``tree`` in place, in one walk.

        Unknown fields, explicit nulls and empty optional lists and maps go; quantities and times
        get their canonical text. With ``report`` the answer lists what a strict decoder would
        refuse, in upstream's words (``unknown field "spec.foo"``); ``source``, the JSON text
        ``tree`` was decoded from, adds fields given twice; ``uncounted`` is how many keys of it
        are not in ``tree`` any more.

        Raises Misfit for a value of a wrong type; the tree is then half-walked and of no use.
        """
        findings = Findings() if report else None
        try:
            self.node.visit(tree, findings)
            if findings is None:
                return []
            unknown = locate(tree, findings) if findings.unknown else []
            doubtful = source is not None and text_keys(source) != findings.keys + uncounted
            return self._complain(unknown, source)[:_REPORT_LIMIT] if unknown or doubtful else []
        except Mismatch as mismatch:
            raise Misfit(str(mismatch)) from mismatch
        except RecursionError:
            raise Misfit("exceeded max depth") from None

    def _complain(self, unknown: list[str], source: bytes | None) -> list[str]:
        """All there is to complain of, in upstream's order: that of the text, if there is one."""
        if source is not None:
            return find_complaints(source, self.node)
        return [f'unknown field "{path}"' for path in sorted(unknown, key=parts_of)]

    def clean(
        self,
        tree: dict[str, Any],
        *,
        report: bool = False,
        source: bytes | None = None,
        uncounted: int = 0,
    ) -> list[str]:
        """Like :meth:`read` for a request's body. Raises ApiError BadRequest."""
        try:
            return self.read(tree, report=report, source=source, uncounted=uncounted)
        except Misfit as misfit:
            raise bad_request(self._refusal(str(misfit))) from None

    def clean_strict(
        self,
        tree: dict[str, Any],
        *,
        source: bytes | None = None,
        uncounted: int = 0,
        found: Sequence[str] = (),
    ) -> None:
        """Like :meth:`clean`; what it would report is a BadRequest (``fieldValidation=Strict``),
        after what was ``found`` before.
        """
        found = [*found, *self.clean(tree, report=True, source=source, uncounted=uncounted)]
        if found:
            raise bad_request(self._refusal(f"strict decoding error: {', '.join(found)}"))

    def _refusal(self, detail: str) -> str:
        kind, version = self.kind, self.version
        return f'{kind} in version "{version}" cannot be handled as a {kind}: {detail}'


@lru_cache(maxsize=1024)
def schema_for(group: str, version: str, kind: str) -> KindSchema | None:
    """The schema of a built-in kind, or None."""
    node = find_type(group, version, kind)
    return KindSchema(group, version, kind, node) if node is not None else None
