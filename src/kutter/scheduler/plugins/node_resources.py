"""Resource fit, least-allocated and balanced scoring.

What is asked of many rows at once is asked of one in plain numbers, too: numpy takes ten times as
long for one row as the arithmetic does. Both come to the very same numbers
(``tests/unit/scheduler/test_standing.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Room:
    """One row of a snapshot, and what the columns are called."""

    there: list[int]
    requested: list[int]
    scored_cpu: int
    scored_memory: int
    columns: Mapping[str, int]


class NodeResourcesFit:
    name = "NodeResourcesFit"

    def fits(self, pod: PodInfo, room: Room) -> bool:
        """Whether one row passes."""
        there, requested = room.there, room.requested
        if there[PODS] - requested[PODS] < 1:
            return False
        for resource, amount in pod.requests.items():
            column = room.columns[resource]
            if amount > 0 and there[column] - requested[column] < amount:
                return False
        return True

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


def _fractions_of(pod: PodInfo, room: Room) -> tuple[float, float]:
    """As :func:`_fractions`, of one row, between 0 and 1."""
    used = (room.scored_cpu + pod.scored_cpu, room.scored_memory + pod.scored_memory)
    found = []
    for amount, there in zip(used, room.there[CPU : MEMORY + 1], strict=True):
        fraction = float(amount) / float(there) if there > 0 else 1.0
        found.append(min(max(fraction, 0.0), 1.0))
    return found[0], found[1]


class LeastAllocated:
    name = "NodeResourcesFit"
    weight = 1.0

    def score(self, pod: PodInfo, room: Room) -> float:
        """One row's."""
        cpu, memory = _fractions_of(pod, room)
        return math.floor(((1.0 - cpu) + (1.0 - memory)) * (MAX_SCORE / 2))

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

    def score(self, pod: PodInfo, room: Room) -> float:
        """One row's."""
        if not pod.requests.get("cpu") and not pod.requests.get("memory"):
            return 0.0
        cpu, memory = _fractions_of(pod, room)
        return math.floor((1.0 - abs(cpu - memory) / 2) * MAX_SCORE)

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup, feasible: Mask
    ) -> Scores | None:
        if not pod.requests.get("cpu") and not pod.requests.get("memory"):
            return None
        cpu, memory = _fractions(pod, snapshot)
        spread = np.abs(_bounded(cpu) - _bounded(memory)) / 2
        scores: Scores = (1.0 - spread) * MAX_SCORE
        return scores
