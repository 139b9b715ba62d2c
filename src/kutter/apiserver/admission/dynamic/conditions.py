"""matchConditions: expressions that say whether a webhook or policy looks at a request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from kutter.api.errors import FieldError, forbidden_field
from kutter.api.resources import Resource
from kutter.apiserver.admission.dynamic.subject import Subject
from kutter.apiserver.ports import Tree


class ConditionError(Exception):
    """A condition cannot be decided, and failing is the policy."""


class Conditions(Protocol):
    async def hold(self, subject: Subject, matched: Resource, *, ignores_failure: bool) -> bool:
        """Whether all hold. Raises ConditionError unless failures are ignored (then False)."""
        ...


class _Undecidable:
    """Conditions nobody here evaluates: failure policy decides."""

    async def hold(self, subject: Subject, matched: Resource, *, ignores_failure: bool) -> bool:
        if ignores_failure:
            return False
        raise ConditionError("this server does not evaluate match conditions")


def compile_conditions(conditions: Iterable[Tree]) -> Conditions | None:
    """None when there are none."""
    return _Undecidable() if list(conditions) else None


def check_condition_expression(expression: str, path: str) -> list[FieldError]:
    """What is wrong with one expression."""
    return [forbidden_field(path, "this server does not evaluate match conditions")]
