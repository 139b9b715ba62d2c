"""Events: kept for an hour, written in two ways.

The rows are the core group's. What comes through ``events.k8s.io/v1`` is held to more: it says
when, what and by whom, and but for its series it never changes. Rules and texts are
upstream's (``pkg/apis/core/validation/events.go``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kutter.api.errors import FieldError, invalid, required
from kutter.api.resources import Resource
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
from kutter.apiserver.kinds.standard import Standard
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import (
    IMMUTABLE,
    checked,
    validate_metadata,
    validate_metadata_update,
)

Errors = list[FieldError]

EVENT_TTL_S = 3600.0
_GROUP = "events.k8s.io"
_TEXT_MAX, _NOTE_MAX = 128, 1024
_REFERENCE = (
    "kind",
    "namespace",
    "name",
    "uid",
    "apiVersion",
    "resourceVersion",
    "fieldPath",
)
# Both faces' labels: the rows are the same.
_LABELS = frozenset(
    f"{about}.{f}" for about in ("involvedObject", "regarding") for f in _REFERENCE
) | {"reason", "reportingComponent", "reportingController", "source", "type"}
# Stored field, and what its errors call it, in upstream's order.
_IMMUTABLE = (
    ("involvedObject", "involvedObject"),
    ("reason", "reason"),
    ("message", "message"),
    ("source", "source"),
    ("firstTimestamp", "firstTimestamp"),
    ("lastTimestamp", "lastTimestamp"),
    ("count", "count"),
    ("reason", "reason"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingComponent", "reportingController"),
    ("reportingInstance", "reportingInstance"),
)


class EventKind(Standard):
    """Both faces of an event: ``v1`` and ``events.k8s.io/v1`` share the stored rows."""

    has_status: ClassVar[bool] = False
    allow_create_on_update: ClassVar[bool] = True
    leaves_metadata: ClassVar[bool] = True
    field_labels: ClassVar[frozenset[str]] = _LABELS

    def __init__(self, resource: Resource, ttl_s: float = EVENT_TTL_S) -> None:
        super().__init__(resource)
        self._ttl_s = ttl_s

    def default(self, tree: Tree) -> None:
        # Plain structs upstream: always written.
        tree.setdefault("involvedObject", {})
        tree.setdefault("source", {})
        tree.setdefault("reportingComponent", "")
        tree.setdefault("reportingInstance", "")

    def check(self, tree: Tree) -> list[FieldError]:
        """What every event keeps to."""
        namespace = (tree.get("involvedObject") or {}).get("namespace") or ""
        mine = (tree.get("metadata") or {}).get("namespace") or ""
        # Events about cluster-wide objects live in the default namespace.
        if tree.get("eventTime"):
            wrong = not namespace and mine not in ("default", "kube-system")
        elif namespace:
            wrong = namespace != mine
        else:
            wrong = mine not in ("", "default")
        errors: Errors = []
        if wrong:
            text_ = "does not match event.namespace"
            errors.append(invalid("involvedObject.namespace", namespace, text_))
        return errors

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        strict = _is_strict(context)
        errors = self.check(tree) + _check_reporter(tree, strict=strict)
        if strict:
            return errors + self.check_metadata(tree) + _check_new(tree)
        # Through the core group any name of a row will do.
        return errors or validate_metadata(
            tree.get("metadata") or {},
            namespaced=True,
            name_check=text.path_segment,
            known_finalizers=False,
        )

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        strict = _is_strict(context)
        errors = self.check(new) + _check_reporter(new, strict=strict)
        if not strict:
            return errors
        errors += validate_metadata_update(new.get("metadata") or {}, old.get("metadata") or {})
        if not equal(new.get("series"), old.get("series")):
            errors += _check_series(new)
        return errors + [
            invalid(name, _shown(new.get(field), field), IMMUTABLE)
            for field, name in _IMMUTABLE
            if not equal(new.get(field) or None, old.get(field) or None)
        ]

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        about = tree.get("involvedObject") or {}
        values: dict[str, str] = {}
        for field in _REFERENCE:
            value = str(about.get(field) or "")
            values[f"involvedObject.{field}"] = values[f"regarding.{field}"] = value
        reporting = tree.get("reportingComponent") or ""
        values |= {
            "reason": tree.get("reason") or "",
            "type": tree.get("type") or "",
            "source": (tree.get("source") or {}).get("component") or reporting,
            "reportingComponent": reporting,
            "reportingController": reporting,
        }
        return values

    def default_garbage_collection(self, tree: Tree) -> str:
        return "none"

    def ttl_s(self, tree: Tree) -> float | None:
        return self._ttl_s


def _is_strict(context: StrategyContext) -> bool:
    return context.requested is not None and context.requested.group == _GROUP


def _shown(value: Any, field: str) -> Any:
    if not isinstance(value, dict):
        return value
    return render(value, type_node("core/v1", "Event").fields[field], internal=True)


def _check_reporter(tree: Tree, *, strict: bool) -> list[FieldError]:
    """Events with an eventTime say who reports them, and are brief."""
    if not tree.get("eventTime"):
        return []
    errors: Errors = []
    reporter = tree.get("reportingComponent") or ""
    path = "reportingController" if strict else "reportingComponent"
    if not reporter:
        errors.append(required(path))
    errors += checked(path, reporter, text.qualified_name)
    for field in ("reportingInstance", "action", "reason"):
        value = tree.get(field) or ""
        if not value:
            errors.append(required(field))
        elif len(value) > _TEXT_MAX:
            errors.append(invalid(field, "", f"can have at most {_TEXT_MAX} characters"))
    if len(tree.get("message") or "") > _NOTE_MAX:
        errors.append(invalid("message", "", f"can have at most {_NOTE_MAX} characters"))
    return errors


def _check_new(tree: Tree) -> list[FieldError]:
    """What is asked of events that come through ``events.k8s.io/v1``."""
    errors = _check_series(tree)
    if not tree.get("eventTime"):
        errors.append(required("eventTime"))
    kind = tree.get("type") or ""
    if kind not in ("Normal", "Warning"):
        errors.append(invalid("type", "", f"has invalid value: {kind}"))
    for field in ("firstTimestamp", "lastTimestamp", "count", "source"):
        if tree.get(field):
            errors.append(invalid(field, "", "needs to be unset"))
    return errors


def _check_series(tree: Tree) -> list[FieldError]:
    series = tree.get("series")
    errors: Errors = []
    if series is not None:
        if (series.get("count") or 0) < 2:
            errors.append(invalid("series.count", "", "should be at least 2"))
        if not series.get("lastObservedTime"):
            errors.append(required("series.lastObservedTime"))
    return errors
