"""What the apps and batch kinds share: selectors that match their template, rollout numbers."""

from __future__ import annotations

from typing import Any

from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import NEGATIVE, non_negative, validate_label_selector
from kutter.apiserver.validation.pod_spec import validate_pod_template

Tree = dict[str, Any]
Errors = list[FieldError]

MISMATCH = "`selector` does not match template `labels`"


def selector_matches(selector: Tree | None, labels: Tree) -> bool:
    """Whether a LabelSelector matches; an empty one matches everything."""
    if not selector:
        return True
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for requirement in selector.get("matchExpressions") or ():
        key, values = requirement.get("key"), requirement.get("values") or []
        match requirement.get("operator"):
            case "In":
                if labels.get(key) not in values:
                    return False
            case "NotIn":
                if key in labels and labels[key] in values:
                    return False
            case "Exists":
                if key not in labels:
                    return False
            case "DoesNotExist":
                if key in labels:
                    return False
    return True


def validate_selector(errors: Errors, spec: Tree, path: str, empty_text: str) -> None:
    """``selector`` is required, valid and selects something."""
    selector = spec.get("selector")
    here = f"{path}.selector"
    if selector is None:
        errors.append(required(here))
        return
    errors += validate_label_selector(selector, here)
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        errors.append(invalid(here, selector, empty_text))


def validate_template(
    errors: Errors, spec: Tree, path: str, kind: str, selector: Tree | None = None
) -> None:
    """``template`` of a kind whose pods run for ever."""
    template = spec.get("template") or {}
    here = f"{path}.template"
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not selector_matches(spec.get("selector") if selector is None else selector, labels):
        errors.append(invalid(f"{here}.metadata.labels", labels, MISMATCH))
    validate_pod_template(errors, template, here)
    pod = template.get("spec") or {}
    if pod.get("restartPolicy") != "Always":
        errors.append(
            not_supported(f"{here}.spec.restartPolicy", pod.get("restartPolicy") or "", ["Always"])
        )
    if pod.get("activeDeadlineSeconds") is not None:
        errors.append(
            forbidden_field(
                f"{here}.spec.activeDeadlineSeconds",
                f"activeDeadlineSeconds in {kind} is not Supported",
            )
        )


def counts(errors: Errors, tree: Tree, path: str, *fields: str) -> None:
    """Fields that may not be negative."""
    for field in fields:
        value = tree.get(field)
        if value is not None and value < 0:
            errors.append(invalid(f"{path}.{field}", value, NEGATIVE))


def int_or_percent(errors: Errors, value: int | str | None, path: str) -> None:
    if isinstance(value, str):
        problems = text.percent(value)
        errors += [invalid(path, value, p) for p in problems]
    elif value is not None:
        errors += non_negative(value, path)


def at_most_whole(errors: Errors, value: int | str | None, path: str) -> None:
    """A percentage is no more than 100 %."""
    if isinstance(value, str) and not text.percent(value) and int(value[:-1]) > 100:
        errors.append(invalid(path, value, "must not be greater than 100%"))


def is_zero(value: int | str | None) -> bool:
    if isinstance(value, str):
        return not text.percent(value) and int(value[:-1]) == 0
    return not value


def validate_replica_status(
    errors: Errors, status: Tree, *fields: str, top: str = "replicas"
) -> None:
    """Counts in a status: not negative, none above the whole."""
    whole = status.get(top) or 0
    counts(errors, status, "status", top, *fields, "observedGeneration", "collisionCount")
    for field in fields:
        value = status.get(field) or 0
        if value > whole:
            errors.append(invalid(f"status.{field}", value, f"cannot be greater than status.{top}"))
    available, ready = status.get("availableReplicas") or 0, status.get("readyReplicas") or 0
    if available > ready:
        errors.append(
            invalid("status.availableReplicas", available, "cannot be greater than readyReplicas")
        )


def validate_collision_count(errors: Errors, new: Tree, old: Tree) -> None:
    before, after = old.get("collisionCount"), new.get("collisionCount")
    if before is not None and (after is None or after < before):
        errors.append(invalid("status.collisionCount", after or 0, "cannot be decremented"))
