"""Running expressions for one request: variables when first asked for, costs counted, budgets kept.

Evaluation never waits. What has to be asked for (may this user ...?) is raised as
:class:`PendingDecision`, waited for outside, and the step is done again with the answer known.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

from kutter.api.cel.environment import PER_CALL_LIMIT
from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.values import MapValue
from kutter.apiserver.admission.dynamic.expressions import Composition, Expression
from kutter.apiserver.ports import Attributes, Decision, Tree

BUDGET = 10_000_000
CONDITIONS_BUDGET = 2_500_000
Made = TypeVar("Made")


class OverBudgetError(Exception):
    """What all expressions together may cost is spent."""

    def __init__(self) -> None:
        super().__init__(
            "validation failed due to running out of cost budget, no further validation rules will "
            "be run"
        )


class PendingDecision(Exception):
    """An expression asked what only the authorizer knows."""

    def __init__(self, attributes: Attributes) -> None:
        super().__init__("an authorization decision is needed")
        self.attributes = attributes


class Decisions:
    """The authorizer's answers of one request, each asked once."""

    def __init__(self, authorize: Callable[[Attributes], Awaitable[Decision]]) -> None:
        self._authorize = authorize
        self._known: dict[Any, Decision] = {}

    def decide(self, attributes: Attributes) -> Decision:
        """What the authorizer said. Raises PendingDecision when it has not been asked yet."""
        found = self._known.get(_key(attributes))
        if found is None:
            raise PendingDecision(attributes)
        return found

    async def run(self, step: Callable[[], Made]) -> Made:
        """What ``step`` answers; it is done again for every decision it needs."""
        while True:
            try:
                return step()
            except PendingDecision as pending:
                asked = pending.attributes
                self._known[_key(asked)] = await self._authorize(asked)


def _key(attributes: Attributes) -> Any:
    user = attributes.user
    return (
        user.name,
        user.uid,
        user.groups,
        attributes.verb,
        attributes.group,
        attributes.version,
        attributes.resource,
        attributes.subresource,
        attributes.namespace,
        attributes.name,
        attributes.path,
        attributes.field_selector,
        attributes.label_selector,
    )


class Evaluation:
    """Expressions of one composition over one set of bindings."""

    def __init__(
        self, bindings: Mapping[str, Any], composition: Composition, budget: int = BUDGET
    ) -> None:
        self.left = budget
        self._bindings = dict(bindings)
        self._variables: _Variables | None = None
        self._bindings["variables"] = {}
        if composition.variables:
            self._variables = _Variables(composition.variables, self._bindings)
            self._bindings["variables"] = self._variables

    def evaluate(self, expression: Expression) -> tuple[Any, str]:
        """(value, "") or (None, what went wrong). Raises OverBudgetError."""
        if expression.program is None:
            return None, f"compilation error: {expression.error}"
        error = ""
        value: Any = None
        try:
            value, cost = expression.program.run(self._bindings, PER_CALL_LIMIT)
        except EvaluationError as failure:
            cost = failure.cost
            error = f"expression '{expression.text}' resulted in error: {failure}"
        if self._variables is not None:
            cost += self._variables.take_cost()
        self.left -= cost
        if self.left < 0:
            raise OverBudgetError
        return value, error


class _Variables(MapValue):
    """``variables``: each is worked out when first asked for."""

    __slots__ = ("_bindings", "_cost", "_expressions", "_values")

    def __init__(self, expressions: Mapping[str, Expression], bindings: Tree) -> None:
        self._expressions = expressions
        self._bindings = bindings
        self._values: dict[str, Any] = {}
        self._cost = 0

    def __len__(self) -> int:
        return len(self._expressions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._expressions)

    def find(self, key: Any, missing: Any) -> Any:
        expression = self._expressions.get(key)
        if expression is None:
            return missing
        if key not in self._values:
            self._values[key] = self._work_out(key, expression)
        found = self._values[key]
        if isinstance(found, EvaluationError):
            raise found
        return found

    def _work_out(self, name: str, expression: Expression) -> Any:
        if expression.program is None:
            text = f'composited variable "{name}" fails to compile: {expression.error}'
            return EvaluationError(text)
        try:
            value, cost = expression.program.run(self._bindings, PER_CALL_LIMIT)
        except EvaluationError as failure:
            self._cost += failure.cost
            return EvaluationError(f'composited variable "{name}" fails to evaluate: {failure}')
        self._cost += cost
        return value

    def take_cost(self) -> int:
        cost, self._cost = self._cost, 0
        return cost
