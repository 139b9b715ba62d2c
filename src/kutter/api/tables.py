"""The schema tables as the API server's core asks for them: prune and patch by kind.

Between ``apiserver.ports.Schemas`` and :mod:`kutter.api.schema`. Kinds without a schema are left
as they are.
"""

from __future__ import annotations

from typing import Any

from kutter.api.errors import ApiError
from kutter.api.patch import PatchError, apply_strategic_patch
from kutter.api.schema import schema_for

Tree = dict[str, Any]


class SchemaTables:
    """The built-in kinds' schemas."""

    def prune(self, group: str, version: str, kind: str, tree: Tree) -> list[str]:
        """Clean in place; the paths of unknown fields. Raises 400 for values of a wrong type."""
        schema = schema_for(group, version, kind)
        return schema.prune(tree) if schema is not None else []

    def patch_strategic(self, group: str, version: str, kind: str, tree: Tree, patch: Tree) -> Tree:
        """A strategic merge patch applied. Raises 400, 415, 422 or 500, as upstream does."""
        schema = schema_for(group, version, kind)
        if schema is None:
            raise ApiError(
                415,
                "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include:"
                " application/json-patch+json, application/merge-patch+json",
            )
        try:
            return apply_strategic_patch(schema.node, tree, patch)
        except PatchError as error:
            if error.code == 422:
                raise
            reason = "BadRequest" if error.code == 400 else ""
            raise ApiError(error.code, reason, error.message) from None
