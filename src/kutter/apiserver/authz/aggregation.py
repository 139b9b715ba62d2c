"""Aggregated ClusterRoles: the rules of every ClusterRole a selector picks, in one role.

Pure: the authorizer resolves aggregation by itself through this. The result is written into the
role by :mod:`kutter.controllers.cluster_roles`, for who reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Tree = Mapping[str, Any]


def selectors_of(role: Tree) -> list[Tree] | None:
    """The role's ``aggregationRule.clusterRoleSelectors``; None without an aggregation rule."""
    rule = role.get("aggregationRule")
    if not rule:
        return None
    return list(rule.get("clusterRoleSelectors") or ())


def selects(selector: Tree, labels: Mapping[str, str]) -> bool:
    """A ``metav1.LabelSelector`` against labels; the empty one selects everything."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    return all(_meets(term, labels) for term in selector.get("matchExpressions") or ())


def _meets(term: Tree, labels: Mapping[str, str]) -> bool:
    value = labels.get(term["key"])
    match term["operator"]:
        case "In":
            return value in (term.get("values") or ())
        case "NotIn":
            return value not in (term.get("values") or ())
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False
