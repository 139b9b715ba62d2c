"""One decision: which node for this pod, or why none. Pure and synchronous."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kutter.base.rng import SYSTEM_RNG, Rng
from kutter.scheduler.framework import Filter, Score
from kutter.scheduler.plugins.registry import FILTERS, SCORES
from kutter.scheduler.snapshot import NamespaceLookup, PodInfo, Snapshot


@dataclass(frozen=True, slots=True)
class Choice:
    """``node`` is empty when there is none; then ``reasons`` counts nodes per reason."""

    node: str
    total: int
    feasible: int
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """Upstream's sentence for a pod that fits nowhere."""
        if not self.total:
            return "no nodes available to schedule pods"
        parts = [f"{count} {reason}" for reason, count in self.reasons.items()]
        return f"0/{self.total} nodes are available: {', '.join(sorted(parts))}."


def choose(
    pod: PodInfo,
    snapshot: Snapshot,
    namespaces: NamespaceLookup,
    *,
    rng: Rng = SYSTEM_RNG,
    filters: Sequence[Filter] = FILTERS,
    scores: Sequence[Score] = SCORES,
) -> Choice:
    """Ask every filter about every node, then score what is left; equal scores are drawn."""
    total = snapshot.size
    if not total:
        return Choice("", 0, 0)
    feasible = snapshot.alive[: snapshot.length].copy()
    reasons: Counter[str] = Counter()
    for plugin in filters:
        before = feasible.copy()
        for verdict in plugin(pod, snapshot, namespaces):
            # One plugin may give a node several reasons (two resources short), a later
            # plugin is not asked about it any more.
            failed = before & ~verdict.passes
            count = int(np.count_nonzero(failed))
            if count:
                reasons[verdict.reason] += count
                feasible &= verdict.passes
        if not feasible.any():
            return Choice("", total, 0, dict(reasons))
    count = int(np.count_nonzero(feasible))
    if count == 1:
        return Choice(snapshot.name_of(int(np.argmax(feasible))), total, 1)
    totals = np.zeros(snapshot.length)
    for score in scores:
        values = score(pod, snapshot, namespaces, feasible)
        if values is not None:
            totals += np.floor(values) * score.weight
    totals[~feasible] = -1.0
    best = np.flatnonzero(totals == totals.max())
    row = int(best[rng.choice_index(len(best))]) if len(best) > 1 else int(best[0])
    return Choice(snapshot.name_of(row), total, count)
