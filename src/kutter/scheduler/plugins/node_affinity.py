"""Node selector and node affinity, required and preferred."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kutter.api.types.core_v1 import NodeSelectorRequirement, NodeSelectorTerm
from kutter.scheduler.framework import Verdict, normalize
from kutter.scheduler.snapshot import Mask, NamespaceLookup, PodInfo, Scores, Snapshot

REASON = "node(s) didn't match Pod's node affinity/selector"


def match_requirement(requirement: NodeSelectorRequirement, snapshot: Snapshot) -> Mask:
    """Rows whose labels meet one requirement."""
    key, operator, values = requirement.key, requirement.operator, requirement.values
    if operator == "In":
        return snapshot.with_label(key, values)
    if operator == "NotIn":
        return ~snapshot.with_label(key, values)
    if operator == "Exists":
        return snapshot.with_label_key(key)
    if operator == "DoesNotExist":
        return ~snapshot.with_label_key(key)
    mask = snapshot.blank_mask()
    if operator not in ("Gt", "Lt") or len(values) != 1:
        return mask
    try:
        bound = int(values[0])
    except ValueError:
        return mask
    for value, rows in snapshot.label_values(key).items():
        try:
            number = int(value)
        except ValueError:
            continue
        if (number > bound) if operator == "Gt" else (number < bound):
            mask[list(rows)] = True
    return mask


def match_fields(term: NodeSelectorTerm, snapshot: Snapshot) -> Mask:
    """``matchFields`` knows only ``metadata.name``."""
    mask = np.ones(snapshot.length, dtype=bool)
    for requirement in term.match_fields:
        named = snapshot.blank_mask()
        if requirement.key == "metadata.name":
            rows = [snapshot.by_name[v] for v in requirement.values if v in snapshot.by_name]
            named[rows] = True
            mask &= ~named if requirement.operator == "NotIn" else named
        else:
            mask &= False
    return mask


def match_term(term: NodeSelectorTerm, snapshot: Snapshot) -> Mask:
    """All of a term's requirements; a term without any matches nothing."""
    if not term.match_expressions and not term.match_fields:
        return snapshot.blank_mask()
    mask = match_fields(term, snapshot)
    for requirement in term.match_expressions:
        mask &= match_requirement(requirement, snapshot)
    return mask


def required_mask(pod: PodInfo, snapshot: Snapshot) -> Mask | None:
    """Rows the pod may run on by selector and required affinity; None for all."""
    mask: Mask | None = None
    for key, value in pod.pod.spec.node_selector.items():
        found = snapshot.with_label(key, (value,))
        mask = found if mask is None else mask & found
    affinity = pod.pod.spec.affinity
    node = affinity.node_affinity if affinity else None
    required = node.required_during_scheduling_ignored_during_execution if node else None
    if required is not None:
        any_term = snapshot.blank_mask()
        for term in required.node_selector_terms:
            any_term |= match_term(term, snapshot)
        mask = any_term if mask is None else mask & any_term
    return mask


class NodeAffinity:
    name = "NodeAffinity"

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup
    ) -> Sequence[Verdict]:
        mask = required_mask(pod, snapshot)
        return () if mask is None else [Verdict(mask, REASON)]


class NodeAffinityScore:
    name = "NodeAffinity"
    weight = 2.0

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup, feasible: Mask
    ) -> Scores | None:
        affinity = pod.pod.spec.affinity
        node = affinity.node_affinity if affinity else None
        preferred = node.preferred_during_scheduling_ignored_during_execution if node else ()
        if not preferred:
            return None
        scores = np.zeros(snapshot.length)
        for entry in preferred:
            scores[match_term(entry.preference, snapshot)] += entry.weight
        return normalize(scores, feasible)
