"""Whether there are rules to run, and whether a document is sound enough to be shown to them.

Apart from the rules themselves, so that who has none does not load the language.
"""

from __future__ import annotations

from typing import Any

from kutter.api.custom.schema import RULES
from kutter.api.errors import FieldError

Schema = dict[str, Any]

_BLOCKING = frozenset(
    (
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    )
)


def has_rules(schema: Schema) -> bool:
    """Whether there are rules in a schema, anywhere."""
    if schema.get(RULES):
        return True
    items, more = schema.get("items"), schema.get("additionalProperties")
    below = [*(schema.get("properties") or {}).values(), items, more]
    return any(isinstance(part, dict) and has_rules(part) for part in below)


def blocks_rules(errors: list[FieldError]) -> bool:
    """Whether these errors of a document leave rules nothing sound to look at."""
    return any(error.reason in _BLOCKING for error in errors)


def unchecked_rules() -> FieldError:
    """What is told instead of running the rules of such a document."""
    return FieldError(
        "<nil>",
        "FieldValueInvalid",
        "Invalid value: null: some validation rules were not checked because the object was "
        "invalid; correct the existing errors to complete validation",
    )
