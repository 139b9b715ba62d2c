"""Affinity and anti-affinity between pods, required and preferred."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kutter.scheduler.framework import Verdict
from kutter.scheduler.snapshot import (
    Mask,
    NamespaceLookup,
    PodInfo,
    Scores,
    Snapshot,
    Term,
    compile_term,
)


def domain_of(snapshot: Snapshot, row: int, topology_key: str) -> str | None:
    """The value of a topology label on a row."""
    return snapshot.node_of(row).metadata.labels.get(topology_key)


def count_by_row(term: Term, snapshot: Snapshot) -> NDCounts:
    """For every row, how many pods of its domain match the term."""
    per_domain: dict[str, int] = {}
    for other in snapshot.pods.values():
        if other.row < 0 or other.deleting or not term.matches(other):
            continue
        domain = domain_of(snapshot, other.row, term.topology_key)
        if domain is not None:
            per_domain[domain] = per_domain.get(domain, 0) + 1
    counts = np.zeros(snapshot.length, dtype=np.int64)
    for domain, count in per_domain.items():
        counts[list(snapshot.label_values(term.topology_key).get(domain, ()))] = count
    return counts


NDCounts = np.ndarray[tuple[int], np.dtype[np.int64]]


class InterPodAffinity:
    name = "InterPodAffinity"

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup
    ) -> Sequence[Verdict]:
        verdicts = []
        existing = self._existing_anti(pod, snapshot, namespaces)
        if existing is not None:
            verdicts.append(
                Verdict(existing, "node(s) didn't satisfy existing pods anti-affinity rules")
            )
        affinity = pod.pod.spec.affinity
        wanted = affinity.pod_affinity if affinity else None
        if wanted is not None and wanted.required_during_scheduling_ignored_during_execution:
            mask = np.ones(snapshot.length, dtype=bool)
            for entry in wanted.required_during_scheduling_ignored_during_execution:
                term = compile_term(entry, pod.pod, namespaces)
                counts = count_by_row(term, snapshot)
                here = snapshot.with_label_key(term.topology_key)
                if not counts.any() and term.matches(pod):
                    # The first pod of a group that wants to be together may go anywhere.
                    mask &= here
                else:
                    mask &= here & (counts > 0)
            verdicts.append(Verdict(mask, "node(s) didn't match pod affinity rules"))
        if pod.required_anti:
            mask = np.ones(snapshot.length, dtype=bool)
            for entry in pod.required_anti:
                mask &= count_by_row(compile_term(entry, pod.pod, namespaces), snapshot) == 0
            verdicts.append(Verdict(mask, "node(s) didn't match pod anti-affinity rules"))
        return verdicts

    def _existing_anti(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup
    ) -> Mask | None:
        """Domains whose pods want nobody like ``pod`` beside them."""
        mask: Mask | None = None
        for other in snapshot.anti_affine.values():
            if other.row < 0:
                continue
            for entry in other.required_anti:
                term = compile_term(entry, other.pod, namespaces)
                if not term.matches(pod):
                    continue
                domain = domain_of(snapshot, other.row, term.topology_key)
                if domain is None:
                    continue
                if mask is None:
                    mask = np.ones(snapshot.length, dtype=bool)
                mask[list(snapshot.label_values(term.topology_key)[domain])] = False
        return mask


class InterPodAffinityScore:
    name = "InterPodAffinity"
    weight = 2.0

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup, feasible: Mask
    ) -> Scores | None:
        affinity = pod.pod.spec.affinity
        if affinity is None:
            return None
        total = np.zeros(snapshot.length)
        wanted, unwanted = affinity.pod_affinity, affinity.pod_anti_affinity
        entries = (
            [(e, 1) for e in wanted.preferred_during_scheduling_ignored_during_execution]
            if wanted
            else []
        )
        entries += (
            [(e, -1) for e in unwanted.preferred_during_scheduling_ignored_during_execution]
            if unwanted
            else []
        )
        if not entries:
            return None
        for entry, sign in entries:
            term = compile_term(entry.pod_affinity_term, pod.pod, namespaces, entry.weight)
            total += sign * entry.weight * count_by_row(term, snapshot)
        values = total[feasible]
        if not len(values) or values.max() == values.min():
            return None
        low, high = values.min(), values.max()
        scores: Scores = (total - low) * (100.0 / (high - low))
        return scores
