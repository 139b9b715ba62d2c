"""Refusals of ingresses, network policies and disruption budgets, in upstream's words."""

from __future__ import annotations

from tests.unit.apiserver.fake_reader import FakeReader
from tests.unit.apiserver.kinds.samples import context, sample, strategy

LOOK = context(FakeReader())


def test_the_two_ways_to_name_an_ingress_class_agree() -> None:
    tree = sample("ingresses")
    tree["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "old"}
    tree["spec"]["ingressClassName"] = "new"
    (error,) = strategy("ingresses").validate_create(LOOK, tree)
    assert (error.path, error.message) == (
        "annotations.kubernetes.io/ingress.class",
        'Invalid value: "old": must match `ingressClassName` when both are specified',
    )
    tree["spec"]["ingressClassName"] = "old"
    assert strategy("ingresses").validate_create(LOOK, tree) == []


def test_exceptions_lie_within_their_block() -> None:
    tree = sample("networkpolicies")
    block = {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "11.0.0.0/16", "10.0.0.0/8"]}
    tree["spec"]["ingress"] = [{"from": [{"ipBlock": block}]}]
    errors = strategy("networkpolicies").validate_create(LOOK, tree)
    place = "spec.ingress[0].from[0].ipBlock.except"
    assert [(e.path, e.message) for e in errors] == [
        (f"{place}[1]", 'Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`'),
        (f"{place}[2]", 'Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`'),
    ]


def test_conditions_of_a_budget_are_whole() -> None:
    old = sample("poddisruptionbudgets")
    new = {**old, "status": {"disruptionsAllowed": -1, "conditions": [{"type": "A"}]}}
    errors = strategy("poddisruptionbudgets").validate_status_update(LOOK, new, old)
    found = {error.path for error in errors}
    assert "status.disruptionsAllowed" in found
    assert {"status.conditions[0].status", "status.conditions[0].reason"} <= found
