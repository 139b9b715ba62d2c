"""Autoscalers: what is scaled, by which metrics, how fast.

Stored as v2; v1 is converted on its way in and out (``apiserver/versions.py``). Texts and order are
upstream's (``pkg/apis/autoscaling/validation``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from kutter.api.errors import (
    FieldError,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from kutter.apiserver.kinds.standard import SpecKind, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.metadata import NEGATIVE, checked
from kutter.apiserver.validation.pod_resources import validate_container_name
from kutter.apiserver.validation.workloads import counts

Errors = list[FieldError]

_SELECTIONS = ["Disabled", "Max", "Min"]
_WINDOW_MAX_S, _PERIOD_MAX_S = 3600, 1800
_TARGETS = ("Utilization", "Value", "AverageValue")
_NOT_POSITIVE = "must be greater than zero"


class HorizontalPodAutoscalerKind(SpecKind):
    generation_paths: ClassVar[tuple[str, ...]] = ()

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {"desiredReplicas": 0, "currentMetrics": None}

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
        return self._spec(tree.get("spec") or {}, {})

    def check_changed(self, new: Tree, old: Tree) -> list[FieldError]:
        return self._spec(new.get("spec") or {}, old.get("spec") or {})

    def _spec(self, spec: Tree, old: Tree) -> Errors:
        errors: Errors = []
        low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
        # Scaling to zero is behind a gate: only who has it keeps it.
        least = 0 if old.get("minReplicas") == 0 else 1
        if low is not None and low < least:
            detail = f"must be greater than or equal to {least}"
            errors.append(invalid("spec.minReplicas", low, detail))
        path = "spec.maxReplicas"
        if high == 0:
            errors.append(required(path, "must be set and greater than 0"))
        elif high < 0:
            errors.append(invalid(path, high, "must be greater than or equal to 1"))
        if low is not None and high < low:
            detail = "must be greater than or equal to `minReplicas`"
            errors.append(invalid(path, high, detail))
        reference, before = spec.get("scaleTargetRef") or {}, old.get("scaleTargetRef") or {}
        # What is stored may be older than the rule.
        lenient = bool(before) and all(
            (reference.get(f) or "") == (before.get(f) or "") for f in ("apiVersion", "kind")
        )
        grouped = reference.get("kind") != "ReplicationController"
        _reference(errors, reference, "spec.scaleTargetRef", needs_group=grouped, lenient=lenient)
        metrics = spec.get("metrics") or []
        for i, metric in enumerate(metrics):
            _metric(errors, metric, f"spec.metrics[{i}]")
        if low == 0 and not any(m.get("type") in ("Object", "External") for m in metrics):
            detail = (
                "must specify at least one Object or External metric to support scaling to zero "
                "replicas"
            )
            errors.append(forbidden_field("spec.metrics", detail))
        for field in ("scaleUp", "scaleDown"):
            rules = (spec.get("behavior") or {}).get(field)
            if rules is not None:
                _scaling_rules(errors, rules, f"spec.behavior.{field}")
        return errors

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        counts(errors, new.get("status") or {}, "status", "currentReplicas", "desiredReplicas")
        return errors


def _api_version(value: str, *, needs_group: bool) -> str:
    """What is wrong with the apiVersion of a reference; empty: nothing."""
    if value.count("/") > 1:
        return f"unexpected GroupVersion string: {value}"
    group = value.partition("/")[0] if "/" in value else ""
    return "apiVersion must specify API group" if needs_group and not group else ""


def _reference(
    errors: Errors, reference: Tree, path: str, *, needs_group: bool = False, lenient: bool = False
) -> None:
    for field in ("kind", "name"):
        value, here = reference.get(field) or "", f"{path}.{field}"
        errors += checked(here, value, text.path_segment) if value else [required(here)]
    version = reference.get("apiVersion") or ""
    problem = "" if lenient else _api_version(version, needs_group=needs_group)
    if problem:
        errors.append(invalid(f"{path}.apiVersion", version, problem))


def _scaling_rules(errors: Errors, rules: Tree, path: str) -> None:
    window, here = rules.get("stabilizationWindowSeconds"), f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        errors.append(invalid(here, window, "must be greater than or equal to zero"))
    if window is not None and window > _WINDOW_MAX_S:
        errors.append(invalid(here, window, f"must be less than or equal to {_WINDOW_MAX_S}"))
    selection = rules.get("selectPolicy")
    if selection is not None and selection not in _SELECTIONS:
        errors.append(not_supported(f"{path}.selectPolicy", selection, _SELECTIONS))
    policies = rules.get("policies") or []
    if not policies:
        errors.append(required(f"{path}.policies", "must specify at least one Policy"))
    for i, policy in enumerate(policies):
        here, period = f"{path}.policies[{i}]", policy.get("periodSeconds") or 0
        if policy.get("type") not in ("Pods", "Percent"):
            kind = policy.get("type") or ""
            errors.append(not_supported(f"{here}.type", kind, ["Percent", "Pods"]))
        for field in ("value", "periodSeconds"):
            if (policy.get(field) or 0) <= 0:
                errors.append(invalid(f"{here}.{field}", policy.get(field) or 0, _NOT_POSITIVE))
        if period > _PERIOD_MAX_S:
            detail = f"must be less than or equal to {_PERIOD_MAX_S}"
            errors.append(invalid(f"{here}.periodSeconds", period, detail))
    tolerance = rules.get("tolerance")
    if tolerance is not None and quantities.amount(tolerance) < 0:
        errors.append(invalid(f"{path}.tolerance", quantities.canonical(tolerance), NEGATIVE))


def _metric(errors: Errors, metric: Tree, path: str) -> None:
    kind = metric.get("type") or ""
    if not kind:
        errors.append(required(f"{path}.type", "must specify a metric source type"))
    if kind not in _FIELDS:
        errors.append(not_supported(f"{path}.type", kind, sorted(_FIELDS)))
    present = [field for field in _CHECKS if metric.get(field) is not None]
    if present:
        _CHECKS[present[0]](errors, metric[present[0]], f"{path}.{present[0]}")
    wanted = _FIELDS.get(kind)
    if wanted is None:
        errors.append(not_supported(f"{path}.type", kind, sorted(_FIELDS)))
    elif wanted not in present:
        detail = "must populate information for the given metric source"
        errors.append(required(f"{path}.{wanted}", detail))
    if len(present) > 1:
        errors += [
            forbidden_field(f"{path}.{field}", "must populate the given metric source only")
            for field in present
            if field != wanted
        ]


def _identifier(errors: Errors, metric: Tree, path: str) -> None:
    name = metric.get("name") or ""
    if name:
        errors += checked(f"{path}.name", name, text.path_segment)
    else:
        errors.append(required(f"{path}.name", "must specify a metric name"))


def _target(errors: Errors, target: Tree, path: str) -> None:
    kind = target.get("type") or ""
    if not kind:
        errors.append(required(f"{path}.type", "must specify a metric target type"))
    if kind not in _TARGETS:
        detail = "must be either Utilization, Value, or AverageValue"
        errors.append(invalid(f"{path}.type", kind, detail))
    for field in ("value", "averageValue"):
        if target.get(field) is not None and quantities.amount(target[field]) <= 0:
            errors.append(invalid(f"{path}.{field}", target[field], "must be positive"))
    percent = target.get("averageUtilization")
    if percent is not None and percent < 1:
        errors.append(invalid(f"{path}.averageUtilization", percent, "must be greater than 0"))


def _object(errors: Errors, source: Tree, path: str) -> None:
    _reference(errors, source.get("describedObject") or {}, f"{path}.describedObject")
    _measured(errors, source, path)
    target = source.get("target") or {}
    if target.get("value") is None and target.get("averageValue") is None:
        detail = "must set either a target value or averageValue"
        errors.append(required(f"{path}.target.averageValue", detail))


def _measured(errors: Errors, source: Tree, path: str) -> None:
    _identifier(errors, source.get("metric") or {}, f"{path}.metric")
    _target(errors, source.get("target") or {}, f"{path}.target")


def _external(errors: Errors, source: Tree, path: str) -> None:
    _measured(errors, source, path)
    target = source.get("target") or {}
    given = [target.get(field) is not None for field in ("value", "averageValue")]
    if not any(given):
        detail = "must set either a target value for metric or a per-pod target"
        errors.append(required(f"{path}.target.averageValue", detail))
    if all(given):
        detail = "may not set both a target value for metric and a per-pod target"
        errors.append(forbidden_field(f"{path}.target.value", detail))


def _pods(errors: Errors, source: Tree, path: str) -> None:
    _measured(errors, source, path)
    if (source.get("target") or {}).get("averageValue") is None:
        detail = "must specify a positive target averageValue"
        errors.append(required(f"{path}.target.averageValue", detail))


def _resource(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("name"):
        errors.append(required(f"{path}.name", "must specify a resource name"))
    _used(errors, source.get("target") or {}, f"{path}.target")


def _used(errors: Errors, target: Tree, path: str) -> None:
    _target(errors, target, path)
    given = [target.get(field) is not None for field in ("averageUtilization", "averageValue")]
    if not any(given):
        detail = "must set either a target raw value or a target utilization"
        errors.append(required(f"{path}.averageUtilization", detail))
    if all(given):
        detail = "may not set both a target raw value and a target utilization"
        errors.append(forbidden_field(f"{path}.averageValue", detail))


def _container_resource(errors: Errors, source: Tree, path: str) -> None:
    if source.get("name"):
        validate_container_name(errors, source["name"], f"{path}.name")
    else:
        errors.append(required(f"{path}.name", "must specify a resource name"))
    container, here = source.get("container") or "", f"{path}.container"
    if container:
        errors += checked(here, container, text.dns_label)
    else:
        errors.append(required(here, "must specify a container"))
    _used(errors, source.get("target") or {}, f"{path}.target")


_FIELDS = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}
# In upstream's order: the first one there is looked at.
_CHECKS: dict[str, Callable[[Errors, Tree, str], None]] = {
    "object": _object,
    "external": _external,
    "pods": _pods,
    "resource": _resource,
    "containerResource": _container_resource,
}
_UP = [
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
]
_DOWN = [{"type": "Percent", "value": 100, "periodSeconds": 15}]


def _rules(rules: Tree, window_s: int | None, policies: list[dict[str, Any]]) -> None:
    if window_s is not None:
        setdefault(rules, "stabilizationWindowSeconds", window_s)
    setdefault(rules, "selectPolicy", "Max")
    if not rules.get("policies"):
        rules["policies"] = [dict(p) for p in policies]
