"""``matchConditions`` of webhooks and policies; their expressions are judged by the caller."""

from __future__ import annotations

from collections.abc import Callable

from kutter.api.errors import FieldError, duplicate, required, too_many
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import checked

CheckExpression = Callable[[str, str], list[FieldError]]
"""From an expression and its path to what is wrong with it."""

_LIMIT = 64


def check_match_conditions(
    conditions: list[Tree], path: str, check: CheckExpression
) -> list[FieldError]:
    """What is wrong with them, in upstream's order."""
    errors: list[FieldError] = []
    if len(conditions) > _LIMIT:
        errors.append(too_many(path, len(conditions), _LIMIT))
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        here = f"{path}[{i}]"
        expression = (condition.get("expression") or "").strip()
        if expression:
            errors += check(expression, f"{here}.expression")
        else:
            errors.append(required(f"{here}.expression"))
        name = condition.get("name") or ""
        if not name:
            errors.append(required(f"{here}.name"))
            continue
        errors += checked(f"{here}.name", name, text.qualified_name)
        if name in seen:
            errors.append(duplicate(f"{here}.name", name))
        seen.add(name)
    return errors
