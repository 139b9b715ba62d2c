"""Namespaces, nodes, service accounts, priority and runtime classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from kutter.apiserver.kinds.standard import Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.metadata import (
    checked,
    immutable,
    validate_finalizer_standing,
)
from kutter.apiserver.validation.pod_resources import (
    validate_amount,
)
from kutter.apiserver.validation.pod_scheduling import TAINT_EFFECTS

Errors = list[FieldError]

NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceKind(Standard):
    name_check: ClassVar[text.Check] = text.dns_label
    field_labels: ClassVar[frozenset[str]] = frozenset({"status.phase", "name"})

    def default(self, tree: Tree) -> None:
        metadata = tree.setdefault("metadata", {})
        if metadata.get("name"):
            setdefault(metadata, "labels", {})[NAME_LABEL] = metadata["name"]

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {"phase": "Active"}
        finalizers = setdefault(spec_of(tree), "finalizers", [])
        if "kubernetes" not in finalizers:
            finalizers.append("kubernetes")

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_update(context, new, old)
        _restore(new, old, "spec")

    def canonicalize(self, tree: Tree) -> None:
        # A generated name came after defaulting.
        self.default(tree)

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        for finalizer in (tree.get("spec") or {}).get("finalizers") or ():
            errors += checked("spec.finalizers", finalizer, text.qualified_name)
            errors += validate_finalizer_standing(finalizer, "spec.finalizers")
        return errors

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        deleted = bool((new.get("metadata") or {}).get("deletionTimestamp"))
        phase = (new.get("status") or {}).get("phase") or ""
        if not deleted and phase != "Active":
            detail = "may only be 'Active' if `deletionTimestamp` is empty"
            return [invalid("status.Phase", phase, detail)]
        if deleted and phase != "Terminating":
            detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
            return [invalid("status.Phase", phase, detail)]
        return []

    def holds_deletion(self, tree: Tree) -> bool:
        return bool((tree.get("spec") or {}).get("finalizers"))

    def begin_delete(self, context: StrategyContext, tree: Tree) -> None:
        setdefault(tree, "status", {})["phase"] = "Terminating"

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        return {
            "status.phase": (tree.get("status") or {}).get("phase") or "",
            "name": (tree.get("metadata") or {}).get("name") or "",
        }


def _restore(new: Tree, old: Tree, field: str) -> None:
    if old.get(field) is None:
        new.pop(field, None)
    else:
        new[field] = old[field]


class NodeKind(Standard):
    field_labels: ClassVar[frozenset[str]] = frozenset({"spec.unschedulable"})

    def default(self, tree: Tree) -> None:
        spec, status = tree.setdefault("spec", {}), tree.get("status") or {}
        single, many = spec.get("podCIDR"), spec.get("podCIDRs")
        if single and not many:
            spec["podCIDRs"] = [single]
        elif many and not single:
            spec["podCIDR"] = many[0]
        for field in ("capacity", "allocatable"):
            quantities.canonicalize_list(status.get(field))
        if status.get("capacity") and status.get("allocatable") is None:
            status["allocatable"] = dict(status["capacity"])

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        # A node tells its status when it registers.
        pass_through = tree.get("status")
        if pass_through is None:
            tree["status"] = {}

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec, status = tree.get("spec") or {}, tree.get("status") or {}
        if spec.get("taints"):
            validate_taints(errors, spec["taints"], "metadata.taints")
        for field in ("capacity", "allocatable"):
            for name, value in (status.get(field) or {}).items():
                validate_amount(errors, name, value, f"status.{field}.{name}")
        ranges = spec.get("podCIDRs") or []
        for i, value in enumerate(ranges):
            errors += checked(f"spec.podCIDRs[{i}]", value, text.cidr)
        if len(ranges) > 1:
            if len({":" in r for r in ranges}) != 2 or len(ranges) > 2:
                detail = "may specify no more than one CIDR for each IP family"
                errors.append(invalid("spec.podCIDRs", ranges, detail))
            for i, value in enumerate(ranges):
                if value in ranges[:i]:
                    errors.append(duplicate(f"spec.podCIDRs[{i}]", value))
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        after, before = new.get("spec") or {}, old.get("spec") or {}
        if before.get("podCIDRs") and before["podCIDRs"] != after.get("podCIDRs"):
            detail = 'node updates may not change podCIDR except from "" to valid'
            errors.append(forbidden_field("spec.podCIDRs", detail))
        if before.get("providerID") and before["providerID"] != after.get("providerID"):
            detail = 'node updates may not change providerID except from "" to valid'
            errors.append(forbidden_field("spec.providerID", detail))
        if (after.get("externalID") or "") != (before.get("externalID") or ""):
            errors.append(forbidden_field("spec.externalID", "may not be updated"))
        return errors

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors = self.check_change(new, old) + self.check(new)
        seen: list[Tree] = []
        for i, address in enumerate((new.get("status") or {}).get("addresses") or ()):
            if address in seen:
                errors.append(duplicate(f"status.addresses[{i}]", address))
            seen.append(address)
        return errors

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        unschedulable = (tree.get("spec") or {}).get("unschedulable")
        return {"spec.unschedulable": "true" if unschedulable else "false"}


def validate_taints(errors: Errors, taints: list[Tree], path: str) -> None:
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(taints):
        here, key = f"{path}[{i}]", taint.get("key") or ""
        value, effect = taint.get("value") or "", taint.get("effect") or ""
        errors += checked(f"{here}.key", key, text.qualified_name)
        problems = text.label_value(value)
        if problems:
            errors.append(invalid(f"{here}.value", value, ";".join(problems)))
        if not effect:
            errors.append(required(f"{here}.effect"))
        elif effect not in TAINT_EFFECTS:
            errors.append(not_supported(f"{here}.effect", effect, TAINT_EFFECTS))
        if (effect, key) in seen:
            found = duplicate(here, taint)
            detail = f"{found.message}: taints must be unique by key and effect pair"
            errors.append(FieldError(here, found.reason, detail))
        seen.add((effect, key))


class ServiceAccountKind(Standard):
    return_deleted_object: ClassVar[bool] = True
    has_status: ClassVar[bool] = False


class PriorityClassKind(Standard):
    has_status: ClassVar[bool] = False
    generation_paths: ClassVar[tuple[str, ...]] = ("value", "preemptionPolicy", "globalDefault")

    def default(self, tree: Tree) -> None:
        setdefault(tree, "preemptionPolicy", "PreemptLowerPriority")

    def check(self, tree: Tree) -> list[FieldError]:
        name = (tree.get("metadata") or {}).get("name") or ""
        value = tree.get("value") or 0
        system = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}
        if name.startswith("system-"):
            if system.get(name) != value:
                detail = (
                    "priority class names with 'system-' prefix are reserved for system use only. "
                    f"error: {name} is not a known system priority class"
                )
                return [forbidden_field("metadata.name", detail)]
            return []
        if value > 1_000_000_000:
            detail = "maximum allowed value of a user defined priority is 1000000000"
            return [forbidden_field("value", detail)]
        policy = tree.get("preemptionPolicy")
        if policy not in ("PreemptLowerPriority", "Never"):
            return [not_supported("preemptionPolicy", policy, ["PreemptLowerPriority", "Never"])]
        return []

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        if (new.get("value") or 0) != (old.get("value") or 0):
            errors.append(forbidden_field("value", "may not be changed in an update."))
        errors += immutable(
            new.get("preemptionPolicy"), old.get("preemptionPolicy"), "preemptionPolicy"
        )
        return errors


class RuntimeClassKind(Standard):
    allow_create_on_update: ClassVar[bool] = True
    has_status: ClassVar[bool] = False
    allow_unconditional_update: ClassVar[bool] = False

    def check(self, tree: Tree) -> list[FieldError]:
        return checked("handler", tree.get("handler") or "", text.dns_label)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return immutable(new.get("handler"), old.get("handler"), "handler")
