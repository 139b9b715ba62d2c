"""What was found for one pod stands for the next of its kind, but where pods have come or gone.

Between the scheduler and :func:`kutter.scheduler.cycle.choose`. Pods of one template ask for the
same, and from one decision to the next only the rows change on which pods were placed. So what all
plug-ins said of all nodes is kept, and only those rows are asked about again. Laws: a decision is
exactly the one ``choose`` would have made, draws of equal scores included
(``tests/unit/scheduler/test_standing.py``); any change of a node, or a pod that others can notice
by more than its room, ends what stands; how much stands is bounded.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from kutter.base.rng import SYSTEM_RNG, Rng
from kutter.scheduler.cycle import Choice, choose
from kutter.scheduler.framework import Filter, Score
from kutter.scheduler.plugins.image_locality import ImageLocality
from kutter.scheduler.plugins.node_affinity import NodeAffinity, NodeAffinityScore
from kutter.scheduler.plugins.node_basics import NodeName, NodePorts, NodeUnschedulable
from kutter.scheduler.plugins.node_resources import (
    BalancedAllocation,
    LeastAllocated,
    NodeResourcesFit,
    Room,
)
from kutter.scheduler.plugins.pod_affinity import InterPodAffinity, InterPodAffinityScore
from kutter.scheduler.plugins.registry import FILTERS, SCORES
from kutter.scheduler.plugins.taint_toleration import TaintScore, TaintToleration
from kutter.scheduler.plugins.topology_spread import TopologySpread, TopologySpreadScore
from kutter.scheduler.snapshot import Mask, NamespaceLookup, PodInfo, Scores, Snapshot

# Templates that are being rolled out at the same time.
LIMIT = 16
# What looks at one row alone: its room, and the pod.
_BY_ROW = (NodeResourcesFit, LeastAllocated, BalancedAllocation)
# What looks at nodes, and in a plain pod at no more than ``_asked`` names; or has no opinion of it.
_BY_NODE = (
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    TopologySpread,
    InterPodAffinity,
    TaintScore,
    NodeAffinityScore,
    ImageLocality,
    TopologySpreadScore,
    InterPodAffinityScore,
)
# Of anybody else nothing is known, and nothing stands.
UNKNOWN = tuple(
    plugin for plugin in (*FILTERS, *SCORES) if not isinstance(plugin, (*_BY_ROW, *_BY_NODE))
)
_FIXED_FILTERS: tuple[Filter, ...] = tuple(f for f in FILTERS if not isinstance(f, _BY_ROW))
_ROW_FILTERS = tuple(f for f in FILTERS if isinstance(f, NodeResourcesFit))
_FIXED_SCORES: tuple[Score, ...] = tuple(s for s in SCORES if not isinstance(s, _BY_ROW))
_ROW_SCORES = tuple(s for s in SCORES if isinstance(s, (LeastAllocated, BalancedAllocation)))


class _Rows:
    """Some rows of a snapshot, for plug-ins that look at each row alone."""

    __slots__ = ("allocatable", "column", "length", "requested", "scored")

    def __init__(self, snapshot: Snapshot, rows: Any) -> None:
        self.allocatable = snapshot.allocatable[rows]
        self.requested = snapshot.requested[rows]
        self.scored = snapshot.scored[rows]
        self.column = snapshot.column
        self.length = len(self.scored)


def _is_plain(pod: PodInfo, snapshot: Snapshot) -> bool:
    """Whether only nodes and their room decide where the pod may go."""
    spec = pod.pod.spec
    return not (
        UNKNOWN
        or pod.ports
        or spec.affinity is not None
        or spec.topology_spread_constraints
        or spec.node_name
        or snapshot.anti_affine
    )


class _Standing:
    """What was found for pods that ask for the same as ``pod``."""

    def __init__(self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup) -> None:
        self._asked = _asked(pod)
        self._version = snapshot.nodes_version
        length = snapshot.length
        fixed = snapshot.alive[:length].copy()
        for plugin in _FIXED_FILTERS:
            for verdict in plugin(pod, snapshot, namespaces):
                fixed &= verdict.passes
        self._fixed: Mask = fixed
        # A score that looks at all feasible nodes to be told of one changes when they do.
        self.stands = all(s(pod, snapshot, namespaces, fixed) is None for s in _FIXED_SCORES)
        self.feasible: Mask = np.zeros(length, dtype=bool)
        self.totals: Scores = np.zeros(length)
        self.count = 0  # of feasible rows
        self._look_at(slice(0, length), pod, snapshot, namespaces)
        self._seen = len(snapshot.touched)

    def serves(self, pod: PodInfo, snapshot: Snapshot) -> bool:
        return self._version == snapshot.nodes_version and self._asked == _asked(pod)

    def catch_up(self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup) -> None:
        """Ask again about the rows whose pods have changed."""
        touched = snapshot.touched
        if self._seen < len(touched):
            rows = list(set(touched[self._seen :]))
            self._seen = len(touched)
            if len(rows) == 1:
                self._look_at_one(rows[0], pod, snapshot)
            else:
                self._look_at(rows, pod, snapshot, namespaces)

    def _look_at_one(self, row: int, pod: PodInfo, snapshot: Snapshot) -> None:
        """As :meth:`_look_at`; from one decision to the next mostly one row changes."""
        cpu, memory = snapshot.scored[row].tolist()
        room = Room(
            snapshot.allocatable[row].tolist(),
            snapshot.requested[row].tolist(),
            cpu,
            memory,
            snapshot.resource_columns,
        )
        total = -1.0
        fits = bool(self._fixed[row]) and all(f.fits(pod, room) for f in _ROW_FILTERS)
        if fits:
            total = sum([score.score(pod, room) * score.weight for score in _ROW_SCORES])
        if fits != bool(self.feasible[row]):
            self.feasible[row] = fits
            self.count += 1 if fits else -1
        self.totals[row] = total

    def _look_at(
        self, rows: Any, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup
    ) -> None:
        view: Any = _Rows(snapshot, rows)
        feasible = self._fixed[rows].copy()
        for plugin in _ROW_FILTERS:
            for verdict in plugin(pod, view, namespaces):
                feasible &= verdict.passes
        totals = np.zeros(view.length)
        for score in _ROW_SCORES:
            values = score(pod, view, namespaces, feasible)
            if values is not None:
                totals += np.floor(values) * score.weight
        totals[~feasible] = -1.0
        self.feasible[rows] = feasible
        self.totals[rows] = totals
        self.count = int(np.count_nonzero(self.feasible))


def _asked(pod: PodInfo) -> tuple[object, ...]:
    """All that the plug-ins above look at in a plain pod."""
    spec = pod.pod.spec
    return (
        pod.requests,
        pod.scored_cpu,
        pod.scored_memory,
        spec.tolerations,
        spec.node_selector,
        [container.image for container in (*spec.containers, *spec.init_containers)],
    )


class Standings:
    """Decides as ``choose`` does."""

    def __init__(
        self, snapshot: Snapshot, namespaces: NamespaceLookup, *, rng: Rng = SYSTEM_RNG
    ) -> None:
        self._snapshot = snapshot
        self._namespaces = namespaces
        self._rng = rng
        self._standings: deque[_Standing] = deque(maxlen=LIMIT)

    def __len__(self) -> int:
        return len(self._standings)

    def choose(self, pod: PodInfo) -> Choice:
        snapshot = self._snapshot
        standing = self._standing(pod) if _is_plain(pod, snapshot) else None
        if standing is None or not standing.stands:
            return choose(pod, snapshot, self._namespaces, rng=self._rng)
        count = standing.count
        if not count:
            # Nobody keeps the reasons: they are told once, and then the pod waits.
            return choose(pod, snapshot, self._namespaces, rng=self._rng)
        if count == 1:
            row = int(np.argmax(standing.feasible))
            return Choice(snapshot.name_of(row), snapshot.size, 1)
        best = np.flatnonzero(standing.totals == standing.totals.max())
        drawn = self._rng.choice_index(len(best)) if len(best) > 1 else 0
        return Choice(snapshot.name_of(int(best[drawn])), snapshot.size, count)

    def _standing(self, pod: PodInfo) -> _Standing | None:
        snapshot, namespaces = self._snapshot, self._namespaces
        if not snapshot.size:
            return None
        for resource in pod.requests:
            snapshot.column(resource)
        for standing in self._standings:
            if standing.serves(pod, snapshot):
                if standing.stands:
                    standing.catch_up(pod, snapshot, namespaces)
                return standing
        made = _Standing(pod, snapshot, namespaces)
        self._standings.appendleft(made)
        return made
