"""Disruption budgets."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.errors import FieldError, invalid, not_supported
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
from kutter.apiserver.kinds.standard import SpecKind
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.conditions import validate_conditions
from kutter.apiserver.validation.metadata import validate_label_selector
from kutter.apiserver.validation.workloads import at_most_whole, counts, int_or_percent

Errors = list[FieldError]


class PodDisruptionBudgetKind(SpecKind):
    allow_unconditional_update: ClassVar[bool] = False
    # Upstream's validator of the kind does not look at metadata; the general checks do.
    leaves_metadata: ClassVar[bool] = True
    known_finalizers: ClassVar[bool] = False
    name_check: ClassVar[text.Check] = staticmethod(text.path_segment)

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {
            "disruptionsAllowed": 0,
            "currentHealthy": 0,
            "desiredHealthy": 0,
            "expectedPods": 0,
        }

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
        if low is not None and high is not None:
            detail = "minAvailable and maxUnavailable cannot be both set"
            node = type_node("policy/v1", "PodDisruptionBudgetSpec")
            errors.append(invalid("spec", render(spec, node, internal=True), detail))
        for field, value in (("minAvailable", low), ("maxUnavailable", high)):
            int_or_percent(errors, value, f"spec.{field}")
            at_most_whole(errors, value, f"spec.{field}")
        errors += validate_label_selector(spec.get("selector"), "spec.selector")
        policy = spec.get("unhealthyPodEvictionPolicy")
        if policy is not None and policy not in ("AlwaysAllow", "IfHealthyBudget"):
            path = "spec.unhealthyPodEvictionPolicy"
            errors.append(not_supported(path, policy, ["AlwaysAllow", "IfHealthyBudget"]))
        return errors

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        status = new.get("status") or {}
        errors = validate_conditions(status.get("conditions") or [], "status.conditions")
        counts(
            errors,
            status,
            "status",
            "disruptionsAllowed",
            "currentHealthy",
            "desiredHealthy",
            "expectedPods",
        )
        return errors
