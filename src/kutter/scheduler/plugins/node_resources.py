"""Resource fit, least-allocated and balanced scoring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kutter.scheduler.framework import MAX_SCORE, Verdict
from kutter.scheduler.snapshot import (
    CPU,
    MEMORY,
    PODS,
    Mask,
    NamespaceLookup,
    PodInfo,
    Scores,
    Snapshot,
)


class NodeResourcesFit:
    name = "NodeResourcesFit"

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup
    ) -> Sequence[Verdict]:
        columns = {r: snapshot.column(r) for r in pod.requests}
        free = (snapshot.allocatable - snapshot.requested)[: snapshot.length]
        verdicts = []
        full = free[:, PODS] >= 1
        if not full.all():
            verdicts.append(Verdict(full, "Too many pods"))
        for resource, amount in pod.requests.items():
            if amount <= 0:
                continue
            enough = free[:, columns[resource]] >= amount
            if not enough.all():
                verdicts.append(Verdict(enough, f"Insufficient {resource}"))
        return verdicts


def _fractions(pod: PodInfo, snapshot: Snapshot) -> tuple[Scores, Scores]:
    """CPU and memory use with the pod on board, as fractions of what there is."""
    used = np.add(snapshot.scored[: snapshot.length], (pod.scored_cpu, pod.scored_memory))
    there = snapshot.allocatable[: snapshot.length, CPU : MEMORY + 1]
    fractions = used / np.maximum(there, 1)
    fractions[there <= 0] = 1.0
    return fractions[:, 0], fractions[:, 1]


def _bounded(values: Scores) -> Scores:
    """Between 0 and 1. (``np.clip`` looks at its arguments for longer than this takes.)"""
    bounded: Scores = np.minimum(np.maximum(values, 0.0), 1.0)
    return bounded


class LeastAllocated:
    name = "NodeResourcesFit"
    weight = 1.0

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup, feasible: Mask
    ) -> Scores | None:
        cpu, memory = _fractions(pod, snapshot)
        free = _bounded(1.0 - cpu) + _bounded(1.0 - memory)
        scores: Scores = free * (MAX_SCORE / 2)
        return scores


class BalancedAllocation:
    name = "NodeResourcesBalancedAllocation"
    weight = 1.0

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup, feasible: Mask
    ) -> Scores | None:
        if not pod.requests.get("cpu") and not pod.requests.get("memory"):
            return None
        cpu, memory = _fractions(pod, snapshot)
        spread = np.abs(_bounded(cpu) - _bounded(memory)) / 2
        scores: Scores = (1.0 - spread) * MAX_SCORE
        return scores
