"""Versions of a kind beside the stored one, with a conversion each way.

Between a path's group-version and the stored form. Two sorts: *older* workloads
(``extensions/v1beta1``, ``apps/v1beta1``, ``apps/v1beta2``), removed upstream in v1.16 and kept
here for the manifests of older tutorials, with a deprecation warning; and *parallel* versions
upstream serves today (``events.k8s.io``, ``autoscaling/v1``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import orjson

from kutter.api.catalog import Catalog
from kutter.api.resources import Resource, Subresource
from kutter.api.schema import KindSchema, schema_for
from kutter.apiserver.ports import Tree
from kutter.apiserver.served import Convert


class Version(NamedTuple):
    """How one served version relates to the stored one; None converts nothing but the head."""

    to_stored: Convert | None
    to_served: Convert | None
    deprecation: str = ""


_IDENTICAL = Version(None, None)

# Kinds upstream calls deprecated in the version it serves by default.
DEPRECATED: dict[tuple[str, str, str], str] = {
    ("", "v1", "componentstatuses"): "v1 ComponentStatus is deprecated in v1.19+",
    ("", "v1", "endpoints"): (
        "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    ),
}

# group-version → kinds it has.
_OLDER: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "v1beta2"): ("daemonsets", "deployments", "replicasets", "statefulsets"),
    ("apps", "v1beta1"): ("deployments", "statefulsets"),
    ("extensions", "v1beta1"): ("daemonsets", "deployments", "replicasets"),
}
_SINCE = {
    ("apps", "v1beta2"): "v1.9",
    ("apps", "v1beta1"): "v1.8",
    ("extensions", "v1beta1"): "v1.8",
}


def older_versions(catalog: Catalog) -> list[Resource]:
    """The older workloads' resources, made from today's; add them last: least preferred."""
    found = []
    for (group, version), plurals in _OLDER.items():
        for plural in plurals:
            today = catalog.find("apps", "v1", plural)
            if today is None:
                continue
            subresources = dict(today.subresources)
            if "scale" in subresources:
                verbs = subresources["scale"].verbs
                subresources["scale"] = Subresource("scale", "Scale", verbs, "autoscaling", "v1")
            # No short names, no categories: today's version owns them.
            found.append(
                replace(
                    today,
                    group=group,
                    version=version,
                    short_names=(),
                    categories=(),
                    subresources=subresources,
                    stored_as=today.api_version,
                )
            )
    return found


def version_of(resource: Resource, stored: Resource) -> Version:
    """The relation of a served resource to its stored one."""
    if resource is stored:
        return _IDENTICAL
    place = (resource.group, resource.version)
    if place in _OLDER:
        return Version(_workload_in, None, _deprecation(resource))
    if resource.kind == "Event":
        return _EVENTS[place == ("", "v1")]
    if resource.kind == "HorizontalPodAutoscaler":
        return Version(_autoscaler_in, _autoscaler_out)
    return _IDENTICAL


def schema_of(resource: Resource) -> KindSchema | None:
    """The schema of a served kind; an older workload is read with today's."""
    if (resource.group, resource.version) in _OLDER:
        return schema_for("apps", "v1", resource.kind)
    return schema_for(resource.group, resource.version, resource.kind)


def _deprecation(resource: Resource) -> str:
    since = _SINCE[resource.group, resource.version]
    return (
        f"{resource.api_version} {resource.kind} is deprecated in {since}+, unavailable in "
        f"v1.16+; use apps/v1 {resource.kind}"
    )


def _workload_in(tree: Tree) -> Tree:
    """An older workload as ``apps/v1``: its defaults were other ones."""
    spec = tree.get("spec")
    if not isinstance(spec, dict):
        return tree
    version = tree.get("apiVersion", "")
    template = spec.get("template")
    if not spec.get("selector") and isinstance(template, dict):
        labels = (template.get("metadata") or {}).get("labels")
        if labels:
            spec["selector"] = {"matchLabels": dict(labels)}
    spec.pop("rollbackTo", None)
    spec.pop("templateGeneration", None)
    if tree.get("kind") == "DaemonSet" and version == "extensions/v1beta1":
        spec.setdefault("updateStrategy", {"type": "OnDelete"})
    if tree.get("kind") == "StatefulSet" and version == "apps/v1beta1":
        spec.setdefault("updateStrategy", {"type": "OnDelete"})
    return tree


# core Event field ↔ events.k8s.io Event field.
_EVENT_FIELDS = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)


def _rename(tree: Tree, pairs: tuple[tuple[str, str], ...]) -> Tree:
    for old, new in pairs:
        if old in tree:
            tree[new] = tree.pop(old)
    return tree


def _event_to_core(tree: Tree) -> Tree:
    return _rename(tree, tuple((new, old) for old, new in _EVENT_FIELDS))


def _event_from_core(tree: Tree) -> Tree:
    return _rename(tree, _EVENT_FIELDS)


# Keyed by whether the served one is the core group's.
_EVENTS = {
    False: Version(_event_to_core, _event_from_core),
    True: Version(_event_from_core, _event_to_core),
}

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"


def _is_cpu(metric: Tree) -> bool:
    resource = metric.get("resource") or {}
    target = resource.get("target") or {}
    return resource.get("name") == "cpu" and target.get("type") == "Utilization"


def _autoscaler_out(tree: Tree) -> Tree:
    """v2 → v1: CPU becomes targetCPUUtilizationPercentage, what v1 lacks goes to annotations."""
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    kept: Tree = {}
    metrics = spec.pop("metrics", None) or []
    cpu = next((m for m in metrics if _is_cpu(m)), None)
    if cpu is not None:
        spec["targetCPUUtilizationPercentage"] = cpu["resource"]["target"].get("averageUtilization")
    others = [m for m in metrics if m is not cpu]
    if others:
        kept[_METRICS] = others
    if (behavior := spec.pop("behavior", None)) is not None:
        kept[_BEHAVIOR] = behavior
    if conditions := status.pop("conditions", None):
        kept[_CONDITIONS] = conditions
    for metric in status.pop("currentMetrics", None) or ():
        resource = metric.get("resource") or {}
        used = (resource.get("current") or {}).get("averageUtilization")
        if resource.get("name") == "cpu" and used is not None:
            status["currentCPUUtilizationPercentage"] = used
    status.setdefault("currentReplicas", 0)
    if kept:
        annotations = tree["metadata"].setdefault("annotations", {})
        annotations.update({key: orjson.dumps(value).decode() for key, value in kept.items()})
    return tree


def _autoscaler_in(tree: Tree) -> Tree:
    """v1 → v2, the reverse."""
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    annotations = (tree.get("metadata") or {}).get("annotations") or {}
    kept = {}
    for key in (_METRICS, _BEHAVIOR, _CONDITIONS):
        if (text := annotations.pop(key, None)) is not None:
            try:
                kept[key] = orjson.loads(text)
            except ValueError:
                continue  # as upstream: an annotation nobody can read is dropped
    if not annotations:
        (tree.get("metadata") or {}).pop("annotations", None)
    metrics = list(kept.get(_METRICS) or ())
    utilization = spec.pop("targetCPUUtilizationPercentage", None)
    if utilization is not None:
        target = {"type": "Utilization", "averageUtilization": utilization}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    if _BEHAVIOR in kept:
        spec["behavior"] = kept[_BEHAVIOR]
    if _CONDITIONS in kept:
        status["conditions"] = kept[_CONDITIONS]
    used = status.pop("currentCPUUtilizationPercentage", None)
    if used is not None:
        current = {"averageUtilization": used}
        status["currentMetrics"] = [
            {"type": "Resource", "resource": {"name": "cpu", "current": current}}
        ]
    return tree
