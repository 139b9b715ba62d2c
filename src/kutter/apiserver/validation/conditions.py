"""``metav1.Condition`` lists, as kinds with typed conditions check them in their status."""

from __future__ import annotations

import re

from kutter.api import names
from kutter.api.errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
)
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import checked

_STATUSES = ["False", "True", "Unknown"]
_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_reason = re.compile(_REASON).fullmatch
_REASON_LIMIT, _MESSAGE_LIMIT = 1024, 32 * 1024


def validate_conditions(conditions: list[Tree], path: str) -> list[FieldError]:
    """What is wrong with them; each type may be there once."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        here, kind = f"{path}[{i}]", condition.get("type") or ""
        if kind in seen:
            errors.append(duplicate(f"{here}.type", kind))
        seen.add(kind)
        errors += _check(condition, here)
    return errors


def _check(condition: Tree, path: str) -> list[FieldError]:
    errors = checked(f"{path}.type", condition.get("type") or "", text.qualified_name)
    status = condition.get("status") or ""
    if status not in _STATUSES:
        errors.append(not_supported(f"{path}.status", status, _STATUSES))
    observed = condition.get("observedGeneration") or 0
    if observed < 0:
        detail = "must be greater than or equal to zero"
        errors.append(invalid(f"{path}.observedGeneration", observed, detail))
    if not condition.get("lastTransitionTime"):
        errors.append(required(f"{path}.lastTransitionTime"))
    errors += _check_reason(condition.get("reason") or "", f"{path}.reason")
    if len((condition.get("message") or "").encode()) > _MESSAGE_LIMIT:
        errors.append(too_long(f"{path}.message", _MESSAGE_LIMIT))
    return errors


def _check_reason(reason: str, path: str) -> list[FieldError]:
    if not reason:
        return [required(path)]
    errors: list[FieldError] = []
    if not _reason(reason):
        detail = names.regex_error(
            "a condition reason must start with alphabetic character, optionally followed by a "
            "string of alphanumeric characters or '_,:', and must end with an alphanumeric "
            "character or '_'",
            _REASON,
            "my_name",
            "MY_NAME",
            "MyName",
            "ReasonA,ReasonB",
            "ReasonA:ReasonB",
        )
        errors.append(invalid(path, reason, detail))
    if len(reason) > _REASON_LIMIT:
        errors.append(too_long(path, _REASON_LIMIT))
    return errors
