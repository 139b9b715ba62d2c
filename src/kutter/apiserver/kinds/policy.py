"""Disruption budgets and autoscalers."""

from __future__ import annotations

from typing import Any, ClassVar

from kutter.api.errors import FieldError, invalid, not_supported, required
from kutter.apiserver.kinds.standard import SpecKind, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.conditions import validate_conditions
from kutter.apiserver.validation.metadata import checked, validate_label_selector
from kutter.apiserver.validation.workloads import at_most_whole, counts, int_or_percent

Errors = list[FieldError]


class PodDisruptionBudgetKind(SpecKind):
    allow_unconditional_update: ClassVar[bool] = False

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
            errors.append(invalid("spec", spec, detail))
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


class HorizontalPodAutoscalerKind(SpecKind):
    """v2 as stored; v1 has the same path through it minus metrics."""

    generation_paths: ClassVar[tuple[str, ...]] = ()

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {"desiredReplicas": 0}

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        setdefault(spec, "minReplicas", 1)
        if self.resource.version == "v1":
            return
        if not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": 80}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        behavior = spec.get("behavior")
        if behavior is None:
            return
        _rules(setdefault(behavior, "scaleUp", {}), 0, _UP)
        _rules(setdefault(behavior, "scaleDown", {}), None, _DOWN)

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
        if low is not None and low < 1:
            detail = "must be greater than or equal to 1"
            errors.append(invalid("spec.minReplicas", low, detail))
        if high < 1:
            errors.append(invalid("spec.maxReplicas", high, "must be greater than 0"))
        if low is not None and high < low:
            detail = "must be greater than or equal to `minReplicas`"
            errors.append(invalid("spec.maxReplicas", high, detail))
        reference = spec.get("scaleTargetRef") or {}
        for field in ("kind", "name"):
            value, path = reference.get(field) or "", f"spec.scaleTargetRef.{field}"
            if not value:
                errors.append(required(path))
            else:
                errors += checked(path, value, text.path_segment)
        for i, metric in enumerate(spec.get("metrics") or ()):
            self._metric(errors, metric, f"spec.metrics[{i}]")
        return errors

    def _metric(self, errors: Errors, metric: Tree, path: str) -> None:
        kind = metric.get("type") or ""
        fields = {
            "Object": "object",
            "Pods": "pods",
            "Resource": "resource",
            "ContainerResource": "containerResource",
            "External": "external",
        }
        if not kind:
            errors.append(required(f"{path}.type", "must specify a metric source type"))
            return
        if kind not in fields:
            errors.append(not_supported(f"{path}.type", kind, sorted(fields)))
            return
        source = metric.get(fields[kind])
        if source is None:
            detail = "must populate information for the given metric source"
            errors.append(required(f"{path}.{fields[kind]}", detail))
            return
        target = source.get("target") or {}
        here = f"{path}.{fields[kind]}.target"
        if not target.get("type"):
            errors.append(required(f"{here}.type", "must specify a metric target type"))
        elif target["type"] not in ("Utilization", "Value", "AverageValue"):
            detail = "must be either Utilization, Value, or AverageValue"
            errors.append(invalid(f"{here}.type", target["type"], detail))
        for field in ("value", "averageValue"):
            if target.get(field) is not None and quantities.amount(target[field]) <= 0:
                errors.append(invalid(f"{here}.{field}", target[field], "must be positive"))
        percent = target.get("averageUtilization")
        if percent is not None and percent < 1:
            errors.append(invalid(f"{here}.averageUtilization", percent, "must be greater than 0"))


_UP = [
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
]
_DOWN = [{"type": "Percent", "value": 100, "periodSeconds": 15}]


def _rules(rules: Tree, window_s: int | None, policies: list[dict[str, Any]]) -> None:
    if window_s is not None:
        setdefault(rules, "stabilizationWindowSeconds", window_s)
    if not rules.get("selectPolicy"):
        rules["selectPolicy"] = "Max"
    if not rules.get("policies"):
        rules["policies"] = [dict(p) for p in policies]
