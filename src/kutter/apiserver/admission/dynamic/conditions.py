"""matchConditions: expressions that say whether a webhook or policy looks at a request."""

from __future__ import annotations

from collections.abc import Iterable

from kutter.api.cel.types import BOOL
from kutter.api.errors import FieldError
from kutter.api.resources import Resource
from kutter.apiserver.admission.dynamic.bindings import bindings_of
from kutter.apiserver.admission.dynamic.evaluation import (
    CONDITIONS_BUDGET,
    Decisions,
    Evaluation,
    OverBudgetError,
)
from kutter.apiserver.admission.dynamic.expressions import Composition, Expression, field_errors
from kutter.apiserver.admission.dynamic.subject import Subject
from kutter.apiserver.ports import Tree


class ConditionError(Exception):
    """A condition cannot be decided, and failing is the policy."""


class Conditions:
    """The conditions of one webhook or policy; they know nothing of its variables."""

    def __init__(self, conditions: Iterable[Tree], *, params: bool = False) -> None:
        self._composition = Composition(params=params)
        self._expressions = [
            self._composition.compile(str(tree.get("expression") or ""), BOOL)
            for tree in conditions
        ]

    async def hold(
        self,
        subject: Subject,
        matched: Resource,
        decisions: Decisions,
        *,
        ignores_failure: bool,
        params: Tree | None = None,
    ) -> bool:
        """Whether all hold. Raises ConditionError unless failures are ignored (then False)."""
        bindings = await bindings_of(subject, matched, decisions, params=params, namespace=False)
        try:
            errors = await decisions.run(lambda: self._judge(bindings))
        except OverBudgetError as error:
            errors = [str(error)]
        if errors is None:
            return False
        if not errors:
            return True
        if ignores_failure:
            return False
        raise ConditionError(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")

    def _judge(self, bindings: Tree) -> list[str] | None:
        """None: one says no, whatever the others. Else what went wrong."""
        evaluation = Evaluation(bindings, self._composition, CONDITIONS_BUDGET)
        errors: list[str] = []
        answers = [evaluation.evaluate(expression) for expression in self._expressions]
        for value, error in answers:
            if error:
                errors.append(error)
            elif value is False:
                return None
        return list(dict.fromkeys(errors))


def compile_conditions(conditions: Iterable[Tree], *, params: bool = False) -> Conditions | None:
    """None when there are none."""
    listed = list(conditions)
    return Conditions(listed, params=params) if listed else None


def check_condition_expression(
    expression: str, path: str, *, params: bool = False
) -> list[FieldError]:
    """What is wrong with one expression."""
    made: Expression = Composition(params=params).compile(expression, BOOL)
    return field_errors(made, path)
