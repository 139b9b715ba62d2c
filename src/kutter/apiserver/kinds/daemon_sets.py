"""DaemonSets."""

from __future__ import annotations

import re
from typing import ClassVar

from kutter.api.errors import FieldError, bad_request, invalid, not_supported, required
from kutter.api.quoting import quote
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
from kutter.apiserver.kinds.standard import setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.kinds.workloads import TemplateKind
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import validate_label_selector
from kutter.apiserver.validation.pod_spec import validate_pod_template
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
)

Errors = list[FieldError]

_GENERATION = "deprecated.daemonset.template.generation"


def _generation(tree: Tree) -> int:
    """How often the template has changed; 0 where nobody has counted yet. Raises 400."""
    text = ((tree.get("metadata") or {}).get("annotations") or {}).get(_GENERATION)
    if text is None:
        return 0
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII) is None:
        raise bad_request(
            'DaemonSet in version "v1" cannot be handled as a DaemonSet: '
            f"strconv.ParseInt: parsing {quote(text)}: invalid syntax"
        )
    return int(text)


def _show_generation(tree: Tree, count: int) -> None:
    setdefault(tree["metadata"], "annotations", {})[_GENERATION] = str(count)


class DaemonSetKind(TemplateKind):
    """Upstream counts the changes of the template, too, and shows the count as an annotation."""

    change_last: ClassVar[bool] = False

    def default(self, tree: Tree) -> None:
        _generation(tree)
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
        _show_generation(tree, max(_generation(tree), 1))
        tree["status"] = {
            "currentNumberScheduled": 0,
            "numberMisscheduled": 0,
            "desiredNumberScheduled": 0,
            "numberReady": 0,
        }

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_update(context, new, old)
        after, before = ((t.get("spec") or {}).get("template") for t in (new, old))
        _show_generation(new, _generation(old) + (0 if equal(after, before) else 1))

    def prepare_for_status_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_status_update(context, new, old)
        _show_generation(new, _generation(old))

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        self._selector(errors, spec)
        template = spec.get("template") or {}
        validate_pod_template(errors, template, "spec.template")
        validate_endless(errors, template.get("spec") or {}, "spec.template", "DaemonSet")
        counts(errors, spec, "spec", "minReadySeconds")
        self._update_strategy(errors, spec.get("updateStrategy") or {}, "spec.updateStrategy")
        counts(errors, spec, "spec", "revisionHistoryLimit")
        return errors

    def _selector(self, errors: Errors, spec: Tree) -> None:
        selector, template = spec.get("selector"), spec.get("template") or {}
        wrong = validate_label_selector(selector, "spec.selector")
        errors += wrong
        labels = (template.get("metadata") or {}).get("labels") or {}
        if not wrong and (selector is None or not selector_matches(selector, labels)):
            errors.append(mismatch(template, "spec.template"))
        if selector is not None and not (
            selector.get("matchLabels") or selector.get("matchExpressions")
        ):
            detail = "empty selector is invalid for daemonset"
            errors.append(invalid("spec.selector", shown_selector(selector), detail))

    def _update_strategy(self, errors: Errors, strategy: Tree, path: str) -> None:
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
                node = type_node("apps/v1", "DaemonSetUpdateStrategy")
                shown = render(strategy, node, internal=True)
                errors.append(not_supported(path, shown, ["RollingUpdate", "OnDelete"]))

    def _rolling(self, errors: Errors, rolling: Tree, path: str) -> None:
        unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        int_or_percent(errors, unavailable, f"{path}.maxUnavailable")
        int_or_percent(errors, surge, f"{path}.maxSurge")
        at_most_whole(errors, unavailable, f"{path}.maxUnavailable")
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
            "collisionCount",
        )
        validate_collision_count(errors, status, old.get("status") or {})
        return errors
