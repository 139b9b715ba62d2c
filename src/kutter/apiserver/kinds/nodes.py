"""Nodes: what they may say of themselves, and what of it may change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import orjson

from kutter.api import json_errors
from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import zero_of
from kutter.apiserver.kinds.standard import Standard
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.internal import shown
from kutter.apiserver.validation.metadata import checked
from kutter.apiserver.validation.pod_resources import validate_amount
from kutter.apiserver.validation.pod_scheduling import TAINT_EFFECTS

Errors = list[FieldError]

_AVOID = "scheduler.alpha.kubernetes.io/preferAvoidPods"
_TAINTS = "scheduler.alpha.kubernetes.io/taints"
_FEATURE_MAX = 253
_FEATURE = re.compile(r"[A-Z][a-zA-Z0-9]*(/[a-zA-Z][a-zA-Z0-9]*)*")
_FEATURE_FORM = (
    "must start with an UpperCamelCase segment, with subsequent segments separated by '/' "
    "(e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and "
    "slashes"
)


class NodeKind(Standard):
    field_labels: ClassVar[frozenset[str]] = frozenset({"spec.unschedulable"})
    disabled_fields: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("spec", "configSource"),
        ("status", "config"),
    )

    def default(self, tree: Tree) -> None:
        spec, status = tree.setdefault("spec", {}), tree.get("status") or {}
        single, many = spec.get("podCIDR"), spec.get("podCIDRs")
        if single and (not many or many[0] != single):
            spec["podCIDRs"] = [single]
        elif many and not single:
            spec["podCIDR"] = many[0]
        for field in ("capacity", "allocatable"):
            quantities.canonicalize_list(status.get(field))
        if status.get("capacity") and status.get("allocatable") is None:
            status["allocatable"] = dict(status["capacity"])

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        # A node tells its status when it registers.
        status = tree.get("status")
        super().prepare_for_create(context, tree)
        tree["status"] = status or zero_of(type_node("core/v1", "NodeStatus"))
        tree["status"].pop("config", None)

    def prepare_for_status_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_status_update(context, new, old)
        if not (old.get("status") or {}).get("config"):
            (new.get("status") or {}).pop("config", None)

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec, status = tree.get("spec") or {}, tree.get("status") or {}
        _annotations(errors, tree)
        if spec.get("taints"):
            validate_taints(errors, spec["taints"], "metadata.taints")
        _resources(errors, status)
        _swap(errors, status)
        _features(errors, status.get("declaredFeatures") or [])
        _pod_ranges(errors, spec.get("podCIDRs") or [])
        return errors

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        errors = self.check_metadata(new) + self.check(new)
        return errors + self.validate_status_update(context, new, old)

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        after, before = new.get("spec") or {}, old.get("spec") or {}
        status = new.get("status") or {}
        _annotations(errors, new)
        _resources(errors, status)
        _features(errors, status.get("declaredFeatures") or [])
        _addresses(errors, status.get("addresses") or [])
        held, ranges = before.get("podCIDRs") or [], after.get("podCIDRs") or []
        if held and len(held) != len(ranges):
            changes = 1
        else:
            changes = sum(a != b for a, b in zip(held, ranges, strict=False))
        detail = 'node updates may not change podCIDR except from "" to valid'
        errors += [forbidden_field("spec.podCIDRs", detail)] * changes
        if before.get("providerID") and before["providerID"] != after.get("providerID"):
            detail = 'node updates may not change providerID except from "" to valid'
            errors.append(forbidden_field("spec.providerID", detail))
        if after.get("taints"):
            validate_taints(errors, after["taints"], "metadata.taints")
        if (after.get("externalID") or "") != (before.get("externalID") or ""):
            errors.append(forbidden_field("spec.externalID", "may not be updated"))
        return errors

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        if (new.get("spec") or {}).get("externalID"):
            return ["spec.externalID: this field is deprecated, and is unused by Kubernetes"]
        return []

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        unschedulable = (tree.get("spec") or {}).get("unschedulable")
        return {"spec.unschedulable": "true" if unschedulable else "false"}


def _annotations(errors: Errors, tree: Tree) -> None:
    annotations = (tree.get("metadata") or {}).get("annotations")
    if not annotations:
        return
    path = "metadata.annotations"
    if annotations.get(_TAINTS):
        taints, problem = _listed(annotations[_TAINTS], list, "[]v1.Taint")
        if problem:
            errors.append(invalid(path, _TAINTS, problem))
        validate_taints(errors, taints or [], f"{path}.{_TAINTS}")
    if annotations.get(_AVOID):
        avoided, problem = _listed(annotations[_AVOID], dict, "v1.AvoidPods")
        if problem:
            errors.append(invalid(f"{path}.AvoidPods", _AVOID, problem))
        for i, entry in enumerate((avoided or {}).get("preferAvoidPods") or ()):
            here = f"{path}.{_AVOID}[{i}].PodSignature"
            controller = (entry.get("podSignature") or {}).get("podController")
            if controller is None:
                errors.append(required(here))
            elif not controller.get("controller"):
                detail = "must point to a controller"
                errors.append(invalid(f"{here}.PodController.Controller", False, detail))


def _listed(written: str, kind: type, go_type: str) -> tuple[Any, str]:
    try:
        found = orjson.loads(written)
    except orjson.JSONDecodeError:
        return None, json_errors.explain(written.encode())
    if found is None or isinstance(found, kind):
        return found, ""
    return None, json_errors.misfit(found, go_type)


def _resources(errors: Errors, status: Tree) -> None:
    for field in ("capacity", "allocatable"):
        for name, value in (status.get(field) or {}).items():
            validate_amount(errors, name, value, f"status.{field}.{name}")


def _swap(errors: Errors, status: Tree) -> None:
    capacity = ((status.get("nodeInfo") or {}).get("swap") or {}).get("capacity")
    if capacity is not None and capacity <= 0:
        detail = "must be greater than zero"
        errors.append(invalid("metadata.nodeSwapStatus.capacity", capacity, detail))


def _features(errors: Errors, features: list[str]) -> None:
    for i, feature in enumerate(features):
        here = f"status.declaredFeatures[{i}]"
        if i and features[i - 1] == feature:
            errors.append(duplicate(here, feature))
        elif i and features[i - 1] > feature:
            errors.append(invalid(here, feature, "list must be sorted alphabetically"))
        if len(feature) > _FEATURE_MAX:
            form = f"must be no more than {_FEATURE_MAX} characters"
        elif _FEATURE.fullmatch(feature) is None:
            form = _FEATURE_FORM
        else:
            continue
        errors.append(invalid(here, feature, f'invalid feature name "{feature}": {form}'))


def _pod_ranges(errors: Errors, ranges: list[str]) -> None:
    path = "spec.podCIDRs"
    for i, value in enumerate(ranges):
        errors += checked(f"{path}[{i}]", value, text.cidr)
    if len(ranges) < 2:
        return
    for i, value in enumerate(ranges):
        if text.cidr(value):
            detail = (
                "invalid PodCIDRs. failed to check with dual stack with error:invalid "
                f"CIDR[{i}]: <nil> (invalid CIDR address: {value})"
            )
            errors.append(FieldError(path, "InternalError", f"Internal error: {detail}"))
            break
    if len({":" in r for r in ranges}) != 2 or len(ranges) > 2:
        detail = "may specify no more than one CIDR for each IP family"
        errors.append(invalid(path, ranges, detail))


def _addresses(errors: Errors, addresses: list[Tree]) -> None:
    seen: list[Tree] = []
    for i, address in enumerate(addresses):
        if address in seen:
            errors.append(duplicate(f"status.addresses[{i}]", shown("NodeAddress", address)))
        seen.append(address)


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
            found = duplicate(here, shown("Taint", taint))
            detail = f"{found.message}: taints must be unique by key and effect pair"
            errors.append(FieldError(here, found.reason, detail))
        seen.add((effect, key))
