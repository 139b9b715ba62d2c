"""Classes pods are of: how urgent they are, and what runs them."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    not_supported,
    required,
)
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
from kutter.apiserver.kinds.pod_warnings import NODE_LABELS
from kutter.apiserver.kinds.standard import Standard, setdefault
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import checked, immutable, validate_labels
from kutter.apiserver.validation.pod_resources import validate_requirements
from kutter.apiserver.validation.pod_scheduling import validate_tolerations

Errors = list[FieldError]

_HIGHEST = 1_000_000_000
_SYSTEM = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}
_PREEMPTION = ["PreemptLowerPriority", "Never"]


class PriorityClassKind(Standard):
    has_status: ClassVar[bool] = False
    generation_paths: ClassVar[tuple[str, ...]] = ("value",)

    def default(self, tree: Tree) -> None:
        setdefault(tree, "preemptionPolicy", "PreemptLowerPriority")

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        name = (tree.get("metadata") or {}).get("name") or ""
        value = tree.get("value") or 0
        if name.startswith("system-"):
            problem = _system_problem(name, value, default=bool(tree.get("globalDefault")))
            if problem:
                detail = (
                    "priority class names with 'system-' prefix are reserved for system use only. "
                    f"error: {problem}"
                )
                errors.append(forbidden_field("metadata.name", detail))
        elif value > _HIGHEST:
            detail = f"maximum allowed value of a user defined priority is {_HIGHEST}"
            errors.append(forbidden_field("value", detail))
        policy = tree.get("preemptionPolicy")
        if policy == "":
            errors.append(required("preemptionPolicy"))
        elif policy is not None and policy not in _PREEMPTION:
            errors.append(not_supported("preemptionPolicy", policy, _PREEMPTION))
        return errors

    def check_changed(self, new: Tree, old: Tree) -> list[FieldError]:
        return []

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        if (new.get("value") or 0) != (old.get("value") or 0):
            errors.append(forbidden_field("value", "may not be changed in an update."))
        field = "preemptionPolicy"
        return errors + immutable(new.get(field), old.get(field), field)


def _system_problem(name: str, value: int, *, default: bool) -> str:
    if name not in _SYSTEM:
        return f"{name} is not a known system priority class"
    if value != _SYSTEM[name]:
        return f"value of {name} PriorityClass must be {_SYSTEM[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if default else ""


class RuntimeClassKind(Standard):
    allow_create_on_update: ClassVar[bool] = True
    has_status: ClassVar[bool] = False
    rechecks_metadata: ClassVar[bool] = True
    change_last: ClassVar[bool] = True
    allow_unconditional_update: ClassVar[bool] = False

    def check(self, tree: Tree) -> list[FieldError]:
        handler = tree.get("handler") or ""
        errors = checked("handler", handler, text.dns_label) if handler else [required("handler")]
        overhead, scheduling = tree.get("overhead"), tree.get("scheduling")
        if overhead is not None:
            limits = {"limits": overhead.get("podFixed") or {}}
            validate_requirements(errors, limits, "overhead", set())
        if scheduling is not None:
            selector = scheduling.get("nodeSelector") or {}
            errors += validate_labels(selector, "scheduling.nodeSelector")
            self._tolerations(errors, scheduling.get("tolerations") or [])
        return errors

    def _tolerations(self, errors: Errors, tolerations: list[Tree]) -> None:
        path, node = "scheduling.tolerations", type_node("core/v1", "Toleration")
        validate_tolerations(errors, tolerations, path)
        seen: set[tuple[str, ...]] = set()
        for i, toleration in enumerate(tolerations):
            key = tuple(toleration.get(f) or "" for f in ("key", "operator", "value", "effect"))
            if key in seen:
                shown = render(toleration, node, internal=True)
                errors.append(duplicate(f"{path}[{i}]", shown))
            seen.add(key)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return immutable(new.get("handler") or "", old.get("handler") or "", "handler")

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        scheduling = new.get("scheduling") or {}
        return [
            f"scheduling.nodeSelector: {NODE_LABELS[key]}"
            for key in scheduling.get("nodeSelector") or ()
            if key in NODE_LABELS
        ]
