"""StatefulSets."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.api.schema.loader import type_node
from kutter.api.schema.node import Node
from kutter.api.schema.wire import render
from kutter.apiserver.kinds.pod_defaults import default_claim_spec
from kutter.apiserver.kinds.pod_warnings import claim_warnings
from kutter.apiserver.kinds.standard import setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.kinds.workloads import TemplateKind
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import checked, validate_labels
from kutter.apiserver.validation.pod_spec import (
    validate_pod_template,
    validate_template_annotations,
)
from kutter.apiserver.validation.volumes import validate_claim_spec
from kutter.apiserver.validation.workloads import (
    at_most_whole,
    counts,
    int_or_percent,
    is_zero,
    mismatch,
    selector_matches,
    shown_selector,
    validate_collision_count,
    validate_endless,
    validate_replica_status,
    validate_selector,
)

Errors = list[FieldError]


# Names every pod is given by the controller.
_GIVEN = ("hostname", "subdomain")


def _type(name: str) -> Node:
    return type_node("apps/v1", name)


class StatefulSetKind(TemplateKind):
    name_check: ClassVar[text.Check] = staticmethod(text.dns_label)
    disabled_fields: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("spec", "updateStrategy", "rollingUpdate", "maxUnavailable"),
    )
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
        super().prepare_for_create(context, tree)
        tree["status"] = {"replicas": 0, "availableReplicas": 0}

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        spec = new.get("spec") or {}
        texts = super().warnings(context, new, old)
        for i, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            # Upstream's path of a change is said this way.
            below = "" if old is None else ".Spec"
            path = f"spec.volumeClaimTemplates[{i}]{below}"
            texts += claim_warnings(claim.get("spec") or {}, path)
        limit = spec.get("revisionHistoryLimit")
        if limit is not None and limit < 0:
            texts.append(
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; a "
                "value >= 0 is recommended"
            )
        return texts

    def check(self, tree: Tree) -> list[FieldError]:
        return self._spec(tree.get("spec") or {})

    def check_changed(self, new: Tree, old: Tree) -> list[FieldError]:
        # What is stored may be older than the rule, and cannot be changed.
        return self._spec(new.get("spec") or {}, changed=True)

    def _spec(self, spec: Tree, *, changed: bool = False) -> list[FieldError]:
        errors: Errors = []
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
        if not changed:
            for i, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
                here = f"spec.volumeClaimTemplates[{i}].spec"
                errors += validate_claim_spec(claim.get("spec") or {}, here)
        counts(errors, spec, "spec", "replicas", "minReadySeconds")
        counts(errors, spec.get("ordinals") or {}, "spec.ordinals", "start")
        if not changed and spec.get("serviceName"):
            errors += checked("spec.serviceName", spec["serviceName"], text.dns_label)
        self._template(errors, spec)
        return errors

    def _template(self, errors: Errors, spec: Tree) -> None:
        empty = "empty selector is invalid for statefulset"
        template, path = spec.get("template") or {}, "spec.template"
        if validate_selector(errors, spec, "spec", empty):
            labels = (template.get("metadata") or {}).get("labels") or {}
            selector = spec.get("selector")
            if selector is None or not selector_matches(selector, labels):
                errors.append(mismatch(template, path))
            validate_pod_template(errors, self._as_pods_have_it(spec), path)
            # Upstream looks at these once more.
            errors += validate_labels(labels, f"{path}.labels")
            validate_template_annotations(errors, template, path)
        else:
            errors.append(invalid("spec.selector", shown_selector(spec.get("selector")), ""))
        validate_endless(errors, template.get("spec") or {}, path, "StatefulSet")

    def _as_pods_have_it(self, spec: Tree) -> Tree:
        """The template with its claims as volumes, without the names pods are given."""
        template = spec.get("template") or {}
        pod = {k: v for k, v in (template.get("spec") or {}).items() if k not in _GIVEN}
        claims = spec.get("volumeClaimTemplates") or ()
        names = list(dict.fromkeys((c.get("metadata") or {}).get("name") or "" for c in claims))
        if names:
            volumes = [{"name": n, "persistentVolumeClaim": {"claimName": n}} for n in names]
            others = pod.get("volumes") or ()
            pod["volumes"] = volumes + [v for v in others if v.get("name") not in names]
        return {**template, "spec": pod}

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
                            render(
                                rolling, _type("RollingUpdateStatefulSetStrategy"), internal=True
                            ),
                            "only allowed for updateStrategy 'RollingUpdate'",
                        )
                    )
            case "RollingUpdate":
                if rolling is not None:
                    counts(errors, rolling, f"{path}.rollingUpdate", "partition")
                    value = rolling.get("maxUnavailable")
                    here = f"{path}.rollingUpdate.maxUnavailable"
                    int_or_percent(errors, value, here)
                    if value is not None and is_zero(value):
                        errors.append(invalid(here, value, "cannot be 0"))
                    at_most_whole(errors, value, here)
            case _:
                shown = render(strategy, _type("StatefulSetUpdateStrategy"), internal=True)
                errors.append(invalid(path, shown, "must be 'RollingUpdate' or 'OnDelete'"))

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
            others=("observedGeneration", "collisionCount"),
            ready="status.readyReplicas",
        )
        validate_collision_count(errors, status, old.get("status") or {})
        return errors
