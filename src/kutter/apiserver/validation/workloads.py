"""What the apps and batch kinds share: selectors that match their template, rollout numbers."""

from __future__ import annotations

import re
from typing import Any

from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.api.quoting import Quoted
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
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


def validate_selector(errors: Errors, spec: Tree, path: str, empty_text: str) -> bool:
    """``selector`` is required, valid and selects something. Answers whether it can be used."""
    selector = spec.get("selector")
    here = f"{path}.selector"
    if selector is None:
        errors.append(required(here))
        return True
    wrong = validate_label_selector(selector, here)
    errors += wrong
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        errors.append(invalid(here, shown_selector(selector), empty_text))
    return not wrong


def shown_selector(selector: Tree | None) -> Quoted | None:
    """A LabelSelector as messages show it."""
    return None if selector is None else render(selector, type_node("meta/v1", "LabelSelector"))


def mismatch(template: Tree, path: str) -> FieldError:
    """The selector does not match the labels of the template at ``path``."""
    labels = (template.get("metadata") or {}).get("labels")
    shown = dict(sorted(labels.items())) if labels else None
    return invalid(f"{path}.metadata.labels", shown, MISMATCH)


def validate_template(errors: Errors, spec: Tree, path: str, kind: str) -> None:
    """``template`` of a kind whose pods run for ever; its selector can be used."""
    template = spec.get("template") or {}
    here = f"{path}.template"
    selector = spec.get("selector")
    labels = (template.get("metadata") or {}).get("labels") or {}
    if selector is None or not selector_matches(selector, labels):
        errors.append(mismatch(template, here))
    validate_pod_template(errors, template, here)
    validate_endless(errors, template.get("spec") or {}, here, kind)


def validate_endless(errors: Errors, pod: Tree, here: str, kind: str) -> None:
    """Pods of the kind run for ever."""
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
    """Whether it is none; a text that is no percentage counts as what number it is, or none."""
    if isinstance(value, str):
        if not text.percent(value):
            return int(value[:-1]) == 0
        return re.fullmatch(r"[+-]?[0-9]+", value) is None or int(value) == 0
    return not value


def validate_replica_status(
    errors: Errors,
    status: Tree,
    *fields: str,
    others: tuple[str, ...] = ("observedGeneration",),
    ready: str = "readyReplicas",
) -> None:
    """Counts in a status: not negative, none of ``fields`` above the whole."""
    whole = status.get("replicas") or 0
    counts(errors, status, "status", "replicas", *fields, *others)
    for field in fields:
        value = status.get(field) or 0
        if value > whole:
            detail = "cannot be greater than status.replicas"
            errors.append(invalid(f"status.{field}", value, detail))
    available = status.get("availableReplicas") or 0
    if available > (status.get("readyReplicas") or 0):
        detail = f"cannot be greater than {ready}"
        errors.append(invalid("status.availableReplicas", available, detail))


def validate_collision_count(errors: Errors, new: Tree, old: Tree) -> None:
    before, after = old.get("collisionCount"), new.get("collisionCount")
    if before is not None and (after is None or after < before):
        errors.append(invalid("status.collisionCount", after or 0, "cannot be decremented"))


def name_warnings(tree: Tree) -> list[str]:
    """Names that pods are called after should be good for host names."""
    problems = text.dns_label((tree.get("metadata") or {}).get("name") or "")
    if not problems:
        return []
    text_of = " ".join(problems)
    return [
        (
            "metadata.name: this is used in Pod names and hostnames, which can result in "
            f"surprising behavior; a DNS label is recommended: [{text_of}]"
        )
    ]
