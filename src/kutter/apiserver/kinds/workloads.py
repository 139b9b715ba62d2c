"""ReplicaSets, Deployments, DaemonSets, StatefulSets, replication controllers and revisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.apiserver.kinds.pod_defaults import default_claim_spec, default_pod_spec
from kutter.apiserver.kinds.pod_warnings import pod_warnings
from kutter.apiserver.kinds.standard import SpecKind, Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import immutable, non_negative
from kutter.apiserver.validation.workloads import (
    at_most_whole,
    counts,
    int_or_percent,
    is_zero,
    validate_collision_count,
    validate_replica_status,
    validate_selector,
    validate_template,
)

Errors = list[FieldError]

_EMPTY = "empty selector is invalid for deployment"  # upstream says so for ReplicaSets too


class _TemplateKind(SpecKind):
    """A kind with a pod template."""

    selector_is_immutable: ClassVar[bool] = True

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        template = setdefault(spec, "template", {})
        default_pod_spec(setdefault(template, "spec", {}))

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        if not self.selector_is_immutable:
            return []
        after, before = new.get("spec") or {}, old.get("spec") or {}
        return immutable(after.get("selector"), before.get("selector"), "spec.selector")

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        template = (new.get("spec") or {}).get("template") or {}
        if old is not None and template == ((old.get("spec") or {}).get("template") or {}):
            return []
        return pod_warnings(template, "spec.template")


class ReplicaSetKind(_TemplateKind):
    field_labels: ClassVar[frozenset[str]] = frozenset({"status.replicas"})

    def default(self, tree: Tree) -> None:
        super().default(tree)
        setdefault(spec_of(tree), "replicas", 1)

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {"replicas": 0}

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        counts(errors, spec, "spec", "replicas", "minReadySeconds")
        validate_selector(errors, spec, "spec", _EMPTY)
        validate_template(errors, spec, "spec", "ReplicaSet")
        return errors

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        status = new.get("status") or {}
        validate_replica_status(
            errors, status, "fullyLabeledReplicas", "readyReplicas", "availableReplicas"
        )
        return errors

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        return {"status.replicas": str((tree.get("status") or {}).get("replicas") or 0)}


class ReplicationControllerKind(ReplicaSetKind):
    selector_is_immutable: ClassVar[bool] = False

    def default(self, tree: Tree) -> None:
        super().default(tree)
        spec = spec_of(tree)
        labels = (spec["template"].get("metadata") or {}).get("labels") or {}
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            metadata = tree.setdefault("metadata", {})
            if not metadata.get("labels"):
                metadata["labels"] = dict(labels)

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        counts(errors, spec, "spec", "minReadySeconds")
        selector = spec.get("selector") or {}
        if not selector:
            errors.append(required("spec.selector"))
        counts(errors, spec, "spec", "replicas")
        if spec.get("template") is None:
            errors.append(required("spec.template"))
        else:
            validate_template(
                errors, spec, "spec", "ReplicationController", {"matchLabels": selector}
            )
        return errors

    def default_garbage_collection(self, tree: Tree) -> str:
        return "orphan"


class DeploymentKind(_TemplateKind):
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
        validate_selector(errors, spec, "spec", _EMPTY)
        validate_template(errors, spec, "spec", "ReplicaSet")
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
                errors.append(not_supported(path, strategy, ["Recreate", "RollingUpdate"]))

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        status = new.get("status") or {}
        validate_replica_status(
            errors, status, "updatedReplicas", "readyReplicas", "availableReplicas"
        )
        validate_collision_count(errors, status, old.get("status") or {})
        return errors


class DaemonSetKind(_TemplateKind):
    def default(self, tree: Tree) -> None:
        super().default(tree)
        spec = spec_of(tree)
        strategy = setdefault(spec, "updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = setdefault(strategy, "rollingUpdate", {})
            setdefault(rolling, "maxUnavailable", 1)
            setdefault(rolling, "maxSurge", 0)
        setdefault(spec, "revisionHistoryLimit", 10)

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {
            "currentNumberScheduled": 0,
            "numberMisscheduled": 0,
            "desiredNumberScheduled": 0,
            "numberReady": 0,
        }

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        validate_selector(errors, spec, "spec", "empty selector is invalid for daemonset")
        validate_template(errors, spec, "spec", "DaemonSet")
        counts(errors, spec, "spec", "minReadySeconds", "revisionHistoryLimit")
        strategy = spec.get("updateStrategy") or {}
        path = "spec.updateStrategy"
        match strategy.get("type"):
            case "OnDelete":
                pass
            case "RollingUpdate":
                rolling = strategy.get("rollingUpdate")
                if rolling is None:
                    errors.append(required(f"{path}.rollingUpdate"))
                else:
                    self._rolling(errors, rolling, f"{path}.rollingUpdate")
            case _:
                errors.append(not_supported(path, strategy, ["RollingUpdate", "OnDelete"]))
        return errors

    def _rolling(self, errors: Errors, rolling: Tree, path: str) -> None:
        unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        int_or_percent(errors, unavailable, f"{path}.maxUnavailable")
        at_most_whole(errors, unavailable, f"{path}.maxUnavailable")
        int_or_percent(errors, surge, f"{path}.maxSurge")
        at_most_whole(errors, surge, f"{path}.maxSurge")
        if not is_zero(unavailable) and not is_zero(surge):
            errors.append(
                invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
            )
        elif is_zero(unavailable) and is_zero(surge):
            errors.append(required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0"))

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        status = new.get("status") or {}
        counts(
            errors,
            status,
            "status",
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
        )
        validate_collision_count(errors, status, old.get("status") or {})
        return errors


class StatefulSetKind(_TemplateKind):
    _changeable = (
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    )

    def default(self, tree: Tree) -> None:
        super().default(tree)
        spec = spec_of(tree)
        if not spec.get("podManagementPolicy"):
            spec["podManagementPolicy"] = "OrderedReady"
        strategy = setdefault(spec, "updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
            setdefault(setdefault(strategy, "rollingUpdate", {}), "partition", 0)
        elif strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
            setdefault(strategy["rollingUpdate"], "partition", 0)
        retention = setdefault(spec, "persistentVolumeClaimRetentionPolicy", {})
        for field in ("whenDeleted", "whenScaled"):
            if not retention.get(field):
                retention[field] = "Retain"
        setdefault(spec, "replicas", 1)
        setdefault(spec, "revisionHistoryLimit", 10)
        for claim in spec.get("volumeClaimTemplates") or ():
            claim["kind"], claim["apiVersion"] = "PersistentVolumeClaim", "v1"
            default_claim_spec(setdefault(claim, "spec", {}))
            setdefault(setdefault(claim, "status", {}), "phase", "Pending")

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {"replicas": 0, "availableReplicas": 0}

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        policy = spec.get("podManagementPolicy") or ""
        if policy not in ("OrderedReady", "Parallel"):
            here = "spec.podManagementPolicy"
            errors.append(
                invalid(here, policy, "must be 'OrderedReady' or 'Parallel'")
                if policy
                else required(here)
            )
        self._strategy(errors, spec.get("updateStrategy") or {}, "spec.updateStrategy")
        retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
        for field in ("whenDeleted", "whenScaled"):
            value = retention.get(field)
            if value not in ("Retain", "Delete"):
                errors.append(
                    not_supported(
                        f"spec.persistentVolumeClaimRetentionPolicy.{field}",
                        value or "",
                        ["Retain", "Delete"],
                    )
                )
        counts(errors, spec, "spec", "replicas", "minReadySeconds")
        counts(errors, spec.get("ordinals") or {}, "spec.ordinals", "start")
        validate_selector(errors, spec, "spec", "empty selector is invalid for statefulset")
        # Volumes of the claim templates are no volumes of the template: mounts would not be
        # found. The pods made from it are checked when they come.
        validate_template(errors, self._with_claims(spec), "spec", "StatefulSet")
        return errors

    def _with_claims(self, spec: Tree) -> Tree:
        claims = spec.get("volumeClaimTemplates")
        if not claims:
            return spec
        template = spec.get("template") or {}
        pod = template.get("spec") or {}
        names = [(c.get("metadata") or {}).get("name") or "" for c in claims]
        volumes = [v for v in pod.get("volumes") or () if v.get("name") not in names]
        volumes += [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]
        return {**spec, "template": {**template, "spec": {**pod, "volumes": volumes}}}

    def _strategy(self, errors: Errors, strategy: Tree, path: str) -> None:
        rolling = strategy.get("rollingUpdate")
        match strategy.get("type") or "":
            case "":
                errors.append(required(path))
            case "OnDelete":
                if rolling is not None:
                    errors.append(
                        invalid(
                            f"{path}.rollingUpdate",
                            rolling,
                            "only allowed for updateStrategy 'RollingUpdate'",
                        )
                    )
            case "RollingUpdate":
                if rolling is not None:
                    counts(errors, rolling, f"{path}.rollingUpdate", "partition")
                    value = rolling.get("maxUnavailable")
                    int_or_percent(errors, value, f"{path}.rollingUpdate.maxUnavailable")
                    at_most_whole(errors, value, f"{path}.rollingUpdate.maxUnavailable")
                    if value is not None and is_zero(value):
                        errors.append(
                            invalid(f"{path}.rollingUpdate.maxUnavailable", value, "cannot be 0")
                        )
            case _:
                errors.append(invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'"))

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        after, before = new.get("spec") or {}, old.get("spec") or {}
        fixed = (after.keys() | before.keys()) - set(self._changeable)
        if all(equal(after.get(f), before.get(f)) for f in fixed):
            return []
        return [
            forbidden_field(
                "spec",
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', "
                "'template', 'updateStrategy', 'revisionHistoryLimit', "
                "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            )
        ]

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        status = new.get("status") or {}
        validate_replica_status(
            errors,
            status,
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
        )
        validate_collision_count(errors, status, old.get("status") or {})
        return errors


class ControllerRevisionKind(Standard):
    has_status: ClassVar[bool] = False
    name_check: ClassVar[text.Check] = staticmethod(text.dns_subdomain)

    def check(self, tree: Tree) -> list[FieldError]:
        errors = [] if tree.get("data") is not None else [required("data", "data is mandatory")]
        return errors + non_negative(tree.get("revision"), "revision")

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return immutable(new.get("data"), old.get("data"), "data")
