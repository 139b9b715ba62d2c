"""ReplicaSets, replication controllers and revisions; what kinds with a template share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from kutter.api.errors import FieldError, invalid, required
from kutter.apiserver.kinds.pod_defaults import default_pod_spec
from kutter.apiserver.kinds.pod_warnings import pod_warnings
from kutter.apiserver.kinds.standard import SpecKind, Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import IMMUTABLE, immutable, non_negative
from kutter.apiserver.validation.workloads import (
    counts,
    name_warnings,
    shown_selector,
    validate_replica_status,
    validate_selector,
    validate_template,
)

Errors = list[FieldError]

_EMPTY = "empty selector is invalid for deployment"  # upstream says so for ReplicaSets too


def validate_replicated(errors: Errors, spec: Tree, path: str) -> None:
    """Selector and template of a ReplicaSet, or of a Deployment, which makes such."""
    if validate_selector(errors, spec, path, _EMPTY):
        validate_template(errors, spec, path, "ReplicaSet")
    else:
        here, shown = f"{path}.selector", shown_selector(spec.get("selector"))
        errors.append(invalid(here, shown, "invalid label selector"))


class TemplateKind(SpecKind):
    """A kind with a pod template."""

    selector_is_immutable: ClassVar[bool] = True
    # Whether pods are called after it, so that it should have a name fit for hosts.
    warns_of_names: ClassVar[bool] = False
    change_last: ClassVar[bool] = True

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        template = setdefault(spec, "template", {})
        default_pod_spec(setdefault(template, "spec", {}))

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        if not self.selector_is_immutable:
            return []
        after, before = new.get("spec") or {}, old.get("spec") or {}
        if equal(after.get("selector"), before.get("selector")):
            return []
        return [invalid("spec.selector", shown_selector(after.get("selector")), IMMUTABLE)]

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        template = (new.get("spec") or {}).get("template") or {}
        if old is not None and template == ((old.get("spec") or {}).get("template") or {}):
            return []
        texts = name_warnings(new) if old is None and self.warns_of_names else []
        return texts + pod_warnings(template, "spec.template")


class ReplicaSetKind(TemplateKind):
    warns_of_names: ClassVar[bool] = True
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
        validate_replicated(errors, spec, "spec")
        return errors

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        status = new.get("status") or {}
        validate_replica_status(
            errors,
            status,
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
            others=("observedGeneration", "terminatingReplicas"),
        )
        return errors

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        return {"status.replicas": str((tree.get("status") or {}).get("replicas") or 0)}


def _long_name(value: str) -> tuple[str, ...]:
    """Checked declaratively upstream, with a word of its own."""
    return tuple(
        problem.replace("253 characters", "253 bytes") for problem in text.dns_subdomain(value)
    )


class ReplicationControllerKind(ReplicaSetKind):
    name_check: ClassVar[text.Check] = staticmethod(_long_name)
    change_last: ClassVar[bool] = False
    selector_is_immutable: ClassVar[bool] = False

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        given = spec.get("template") is not None
        super().default(tree)
        if not given:
            del spec["template"]
            return
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
            chosen = {**spec, "selector": {"matchLabels": selector}}
            validate_template(errors, chosen, "spec", "ReplicationController")
        return errors

    def default_garbage_collection(self, tree: Tree) -> str:
        return "orphan"


class ControllerRevisionKind(Standard):
    has_status: ClassVar[bool] = False
    name_check: ClassVar[text.Check] = staticmethod(text.dns_subdomain)
    rechecks_metadata: ClassVar[bool] = True
    change_last: ClassVar[bool] = True

    def check(self, tree: Tree) -> list[FieldError]:
        return non_negative(tree.get("revision"), "revision")

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        errors = super().validate_create(context, tree)
        data = tree.get("data")
        if data is None:
            errors.append(required("data", "data is mandatory"))
        elif not isinstance(data, dict):
            errors.append(required("data", "data must be a valid JSON object"))
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return immutable(new.get("data"), old.get("data"), "data")
