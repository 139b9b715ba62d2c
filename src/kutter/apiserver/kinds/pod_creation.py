"""What the server makes of a pod beside its defaults (``pkg/registry/core/pod/strategy.go``)."""

from __future__ import annotations

from typing import Any

from kutter.apiserver.kinds.pod_warnings import APP_ARMOR_TEXT, app_armor_profile
from kutter.apiserver.validation.pod_annotations import APP_ARMOR

Tree = dict[str, Any]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_KEYS = (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))


def merge_label_keys(spec: Tree, labels: Tree) -> None:
    """Keys of the pod's own labels become requirements with the values they have now."""
    for constraint in spec.get("topologySpreadConstraints") or ():
        _merge(constraint, labels)
    affinity = spec.get("affinity")
    if not affinity:
        return
    for field in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(field) or {}
        for term in rules.get(_REQUIRED) or ():
            _merge(term, labels)
        for weighted in rules.get(_PREFERRED) or ():
            _merge(weighted.get("podAffinityTerm") or {}, labels)


def _merge(tree: Tree, labels: Tree) -> None:
    selector = tree.get("labelSelector")
    if selector is None:
        return
    for field, operator in _KEYS:
        for key in tree.get(field) or ():
            if key in labels:
                expressions = selector.get("matchExpressions") or []
                made = {"key": key, "operator": operator, "values": [labels[key]]}
                selector["matchExpressions"] = [*expressions, made]


def take_app_armor(spec: Tree, annotations: Tree) -> list[str]:
    """Profiles in annotations become fields where there are none; answers what to tell."""
    texts: list[str] = []
    if (spec.get("os") or {}).get("name") == "windows" or not any(
        key.startswith(APP_ARMOR) for key in annotations
    ):
        return texts
    whole = (spec.get("securityContext") or {}).get("appArmorProfile")
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            key = f"{APP_ARMOR}{container.get('name') or ''}"
            context = container.get("securityContext") or {}
            if key not in annotations or context.get("appArmorProfile") is not None:
                continue
            profile = app_armor_profile(annotations[key])
            if profile is not None and profile == whole:
                continue
            if profile is not None:
                container["securityContext"] = {**context, "appArmorProfile": profile}
            texts.append(f"metadata.annotations[{key}]: {APP_ARMOR_TEXT}")
    return texts


def keep_all_but_resources(spec: Tree, old: Tree) -> None:
    """A resize changes resources and their policies; containers that moved are refused later."""
    fields = ("containers", "initContainers")
    if any(len(spec.get(f) or ()) != len(old.get(f) or ()) for f in fields):
        return
    for field in fields:
        after, before = spec.get(field) or [], old.get(field) or []
        if any(a.get("name") != b.get("name") for a, b in zip(after, before, strict=True)):
            continue
        if after:
            spec[field] = [_resized(a, b) for a, b in zip(after, before, strict=True)]


def _resized(container: Tree, previous: Tree) -> Tree:
    merged = dict(previous)
    for field in ("resources", "resizePolicy"):
        if container.get(field) is None:
            merged.pop(field, None)
        else:
            merged[field] = container[field]
    return merged
