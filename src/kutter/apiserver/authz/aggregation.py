"""Aggregated ClusterRoles: the rules of every ClusterRole a selector picks, in one role.

Pure: the authorizer resolves aggregation by itself through this, and the controller that writes
the result into the role's ``rules`` uses the same function.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kutter.apiserver.authz.rules import Rule, compact_rules

Tree = Mapping[str, Any]


def compute_aggregated_rules(role: Tree, others: Iterable[Tree]) -> list[Rule] | None:
    """What ``rules`` of ``role`` should be; None when it aggregates nothing.

    Roles contribute in order of their names, a role never contributes to itself.
    """
    selectors = selectors_of(role)
    if selectors is None:
        return None
    own = role["metadata"]["name"]
    picked = [
        other
        for other in others
        if other["metadata"]["name"] != own
        and any(selects(selector, other["metadata"].get("labels") or {}) for selector in selectors)
    ]
    picked.sort(key=lambda other: str(other["metadata"]["name"]))
    return compact_rules(rule for other in picked for rule in other.get("rules") or ())


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
