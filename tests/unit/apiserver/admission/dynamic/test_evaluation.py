"""Expressions with variables, costs, budgets, and decisions that have to be waited for."""

from __future__ import annotations

from typing import Any

import pytest

from kutter.api.cel.types import BOOL, STRING
from kutter.apiserver.admission.dynamic import evaluation as evaluation_module
from kutter.apiserver.admission.dynamic.evaluation import (
    Decisions,
    Evaluation,
    OverBudgetError,
)
from kutter.apiserver.admission.dynamic.expressions import Composition
from kutter.apiserver.authn.identity import User
from kutter.apiserver.ports import Attributes, Decision

ANN = User("ann")


def bindings(**more: Any) -> dict[str, Any]:
    return {"object": {"a": 1}, "oldObject": None, "request": {}, "namespaceObject": None, **more}


def test_variables_are_worked_out_once_and_only_when_asked_for() -> None:
    composition = Composition(variables=True)
    composition.add_variable("one", "object.a + 1")
    composition.add_variable("two", "variables.one * 2")
    composition.add_variable("broken", "object.nope")
    composition.add_variable("nothing", "null")
    evaluation = Evaluation(bindings(), composition)
    assert evaluation.evaluate(composition.compile("variables.two == 4", BOOL)) == (True, "")
    spent = evaluation_module.BUDGET - evaluation.left
    assert evaluation.evaluate(composition.compile("variables.two == 4", BOOL)) == (True, "")
    assert evaluation_module.BUDGET - evaluation.left < 2 * spent
    assert evaluation.evaluate(composition.compile("variables.nothing == null"))[0] is True
    _, error = evaluation.evaluate(composition.compile("variables.broken == 1", BOOL))
    assert error == (
        "expression 'variables.broken == 1' resulted in error: composited variable \"broken\" "
        "fails to evaluate: no such key: nope"
    )


def test_variables_know_only_those_before_them() -> None:
    composition = Composition(variables=True)
    made = composition.add_variable("a", "variables.b")
    assert "undefined field 'b'" in made.error
    assert Composition().compile("variables.a").error.startswith("compilation failed: ERROR")


def test_the_budget_is_shared() -> None:
    composition = Composition()
    expression = composition.compile("[1, 2, 3].all(x, x > 0)", BOOL)
    evaluation = Evaluation(bindings(), composition, 100)
    with pytest.raises(OverBudgetError):
        for _ in range(100):
            evaluation.evaluate(expression)


def test_one_expression_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_module, "PER_CALL_LIMIT", 10)
    composition = Composition()
    expression = composition.compile("[1, 2, 3].all(x, x > 0)", BOOL)
    _, error = Evaluation(bindings(), composition).evaluate(expression)
    assert error.endswith("operation cancelled: actual cost limit exceeded")


def test_results_are_of_the_type_wanted() -> None:
    assert Composition().compile("1", BOOL).error == "must evaluate to bool but got int"
    assert Composition().compile("object.a", BOOL).error == "must evaluate to bool but got dyn"
    text = "must evaluate to one of [string bool] but got int"
    assert Composition().compile("1", STRING, BOOL).error == text
    assert "undeclared reference to 'params'" in Composition().compile("params").error
    assert Composition(params=True).compile("params.a == 1", BOOL).error == ""


async def test_each_decision_is_asked_for_once() -> None:
    asked: list[str] = []

    async def authorize(attributes: Attributes) -> Decision:
        asked.append(attributes.verb)
        return Decision(attributes.verb == "get")

    decisions = Decisions(authorize)

    def step() -> list[bool]:
        verbs = ("get", "list", "get")
        return [decisions.decide(Attributes(ANN, verb)).allowed for verb in verbs]

    assert await decisions.run(step) == [True, False, True]
    assert await decisions.run(step) == [True, False, True]
    assert asked == ["get", "list"]
