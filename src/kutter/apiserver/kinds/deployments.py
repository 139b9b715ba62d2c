"""Deployments."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
from kutter.apiserver.kinds.standard import setdefault, spec_of
from kutter.apiserver.kinds.workloads import TemplateKind, validate_replicated
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation.workloads import (
    at_most_whole,
    counts,
    int_or_percent,
    is_zero,
    validate_collision_count,
    validate_replica_status,
)

Errors = list[FieldError]


class DeploymentKind(TemplateKind):
    warns_of_names: ClassVar[bool] = True

    def counts_generation(self, new: Tree, old: Tree) -> bool:
        # Annotations are copied to the ReplicaSets.
        after, before = (t["metadata"].get("annotations") for t in (new, old))
        return super().counts_generation(new, old) or (after or {}) != (before or {})

    def default(self, tree: Tree) -> None:
        super().default(tree)
        spec = spec_of(tree)
        setdefault(spec, "replicas", 1)
        strategy = setdefault(spec, "strategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = setdefault(strategy, "rollingUpdate", {})
            setdefault(rolling, "maxUnavailable", "25%")
            setdefault(rolling, "maxSurge", "25%")
        setdefault(spec, "revisionHistoryLimit", 10)
        setdefault(spec, "progressDeadlineSeconds", 600)

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        counts(errors, spec, "spec", "replicas")
        validate_replicated(errors, spec, "spec")
        self._strategy(errors, spec.get("strategy") or {}, "spec.strategy")
        counts(
            errors,
            spec,
            "spec",
            "minReadySeconds",
            "revisionHistoryLimit",
            "progressDeadlineSeconds",
        )
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
            errors.append(
                invalid(
                    "spec.progressDeadlineSeconds",
                    deadline,
                    "must be greater than minReadySeconds",
                )
            )
        return errors

    def _strategy(self, errors: Errors, strategy: Tree, path: str) -> None:
        rolling = strategy.get("rollingUpdate")
        match strategy.get("type"):
            case "Recreate":
                if rolling is not None:
                    errors.append(
                        forbidden_field(
                            f"{path}.rollingUpdate",
                            "may not be specified when strategy `type` is 'Recreate'",
                        )
                    )
            case "RollingUpdate":
                if rolling is None:
                    errors.append(
                        required(
                            f"{path}.rollingUpdate",
                            "this should be defaulted and never be nil",
                        )
                    )
                    return
                here = f"{path}.rollingUpdate"
                unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
                int_or_percent(errors, unavailable, f"{here}.maxUnavailable")
                int_or_percent(errors, surge, f"{here}.maxSurge")
                if is_zero(unavailable) and is_zero(surge):
                    errors.append(
                        invalid(
                            f"{here}.maxUnavailable",
                            unavailable,
                            "may not be 0 when `maxSurge` is 0",
                        )
                    )
                at_most_whole(errors, unavailable, f"{here}.maxUnavailable")
            case _:
                shown = render(strategy, type_node("apps/v1", "DeploymentStrategy"), internal=True)
                errors.append(not_supported(path, shown, ["Recreate", "RollingUpdate"]))

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        status = new.get("status") or {}
        validate_replica_status(
            errors,
            status,
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            others=(
                "observedGeneration",
                "unavailableReplicas",
                "terminatingReplicas",
                "collisionCount",
            ),
        )
        validate_collision_count(errors, status, old.get("status") or {})
        return errors
