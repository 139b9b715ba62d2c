"""Topology spread constraints: hard ones filter, soft ones score.

Rules: kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kutter.api.selectors import Selector, from_view, requirement
from kutter.api.types.core_v1 import TopologySpreadConstraint
from kutter.scheduler.framework import Verdict, normalize
from kutter.scheduler.plugins.node_affinity import required_mask
from kutter.scheduler.plugins.taint_toleration import TaintToleration
from kutter.scheduler.snapshot import Mask, NamespaceLookup, PodInfo, Scores, Snapshot

REASON = "node(s) didn't match pod topology spread constraints"
MISSING_LABEL = f"{REASON} (missing required label)"


def selector_of(constraint: TopologySpreadConstraint, pod: PodInfo) -> Selector:
    base = from_view(constraint.label_selector)
    extra = [
        requirement(k, "in", (pod.labels[k],))
        for k in constraint.match_label_keys
        if k in pod.labels
    ]
    return Selector((*base.requirements, *extra)) if extra else base


def counted_rows(
    constraint: TopologySpreadConstraint,
    pod: PodInfo,
    snapshot: Snapshot,
    namespaces: NamespaceLookup,
) -> Mask:
    """Rows whose domains count: those the pod could use by affinity (and taints if asked)."""
    mask = snapshot.alive[: snapshot.length].copy()
    if constraint.node_affinity_policy != "Ignore":
        required = required_mask(pod, snapshot)
        if required is not None:
            mask &= required
    if constraint.node_taints_policy == "Honor":
        for verdict in TaintToleration()(pod, snapshot, namespaces):
            mask &= verdict.passes
    return mask


def domain_counts(
    constraint: TopologySpreadConstraint, pod: PodInfo, snapshot: Snapshot, counted: Mask
) -> dict[str, int]:
    """Matching pods per domain, domains without any included."""
    selector = selector_of(constraint, pod)
    counts: dict[str, int] = {}
    for value, rows in snapshot.label_values(constraint.topology_key).items():
        mine = [row for row in rows if counted[row]]
        if not mine:
            continue
        counts[value] = sum(
            1
            for row in mine
            for other in snapshot.pods_of(row)
            if not other.deleting
            and other.namespace == pod.namespace
            and selector.matches(other.labels)
        )
    return counts


class TopologySpread:
    name = "PodTopologySpread"

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup
    ) -> Sequence[Verdict]:
        verdicts = []
        for constraint in pod.pod.spec.topology_spread_constraints:
            if constraint.when_unsatisfiable != "DoNotSchedule":
                continue
            labelled = snapshot.with_label_key(constraint.topology_key)
            verdicts.append(Verdict(labelled, MISSING_LABEL))
            counted = counted_rows(constraint, pod, snapshot, namespaces)
            counts = domain_counts(constraint, pod, snapshot, counted)
            least = min(counts.values(), default=0)
            if constraint.min_domains and len(counts) < constraint.min_domains:
                least = 0
            itself = int(selector_of(constraint, pod).matches(pod.labels))
            mask = snapshot.blank_mask()
            values = snapshot.label_values(constraint.topology_key)
            for domain, count in counts.items():
                if count + itself - least <= constraint.max_skew:
                    mask[list(values[domain])] = True
            verdicts.append(Verdict(mask | ~labelled, REASON))
        return verdicts


class TopologySpreadScore:
    name = "PodTopologySpread"
    weight = 2.0

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup, feasible: Mask
    ) -> Scores | None:
        soft = [
            c
            for c in pod.pod.spec.topology_spread_constraints
            if c.when_unsatisfiable == "ScheduleAnyway"
        ]
        if not soft:
            return None
        crowd = np.zeros(snapshot.length)
        for constraint in soft:
            counted = counted_rows(constraint, pod, snapshot, namespaces)
            counts = domain_counts(constraint, pod, snapshot, counted)
            weight = np.log(len(counts) + 2)
            values = snapshot.label_values(constraint.topology_key)
            worst = max(counts.values(), default=0) + 1
            here = np.full(snapshot.length, float(worst))
            for domain, count in counts.items():
                here[list(values[domain])] = count
            crowd += here * weight
        return normalize(crowd, feasible, reverse=True)
