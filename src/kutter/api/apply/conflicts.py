"""Conflicts: fields an apply would change that others own, and their Status."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kutter.api.apply.elements import shown_path
from kutter.api.apply.sets import Path
from kutter.api.errors import ApiError
from kutter.api.quoting import quote

if TYPE_CHECKING:
    from kutter.api.apply.owners import OwnerKey


class Conflict(NamedTuple):
    """One field and who owns it."""

    owner: OwnerKey
    path: Path

    @property
    def field(self) -> str:
        return shown_path(self.path)


def _shown_owner(owner: OwnerKey) -> str:
    text = quote(owner.manager)
    if owner.subresource:
        text += f" with subresource {quote(owner.subresource)}"
    if owner.operation == "Update":
        text += f" using {owner.api_version}"
    return text


def conflict_error(conflicts: list[Conflict]) -> ApiError:
    """409 Conflict with a cause for each field."""
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {_shown_owner(conflict.owner)}",
            "field": conflict.field,
        }
        for conflict in conflicts
    ]
    if len(conflicts) == 1:
        owner = _shown_owner(conflicts[0].owner)
        message = f"Apply failed with 1 conflict: conflict with {owner}: {conflicts[0].field}"
    else:
        by_owner: dict[str, list[str]] = {}
        for conflict in conflicts:
            by_owner.setdefault(_shown_owner(conflict.owner), []).append(conflict.field)
        lines: list[str] = []
        for owner in sorted(by_owner):
            lines.append(f"conflicts with {owner}:")
            lines += [f"- {field}" for field in by_owner[owner]]
        message = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", message, details={"causes": causes})
