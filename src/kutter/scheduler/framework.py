"""What a scheduling plugin is: a filter gives a mask over all nodes, a score an array.

Plugins are pure functions of pod and snapshot. ``None`` means "no opinion" and costs nothing.
A filter answers which nodes *pass*, with one reason for those that do not; a filter with several
reasons answers several masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kutter.scheduler.snapshot import Mask, NamespaceLookup, PodInfo, Scores, Snapshot

MAX_SCORE = 100.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """``passes`` over all rows; ``reason`` is upstream's text for the others."""

    passes: Mask
    reason: str


class Filter(Protocol):
    name: str

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup
    ) -> Sequence[Verdict]: ...


class Score(Protocol):
    name: str
    weight: float

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup, feasible: Mask
    ) -> Scores | None:
        """Scores from 0 to 100 over all rows; only those of ``feasible`` rows count."""


def normalize(raw: Scores, feasible: Mask, *, reverse: bool = False) -> Scores:
    """Scale so that the highest feasible value becomes 100 (or 0 when reversed)."""
    values = raw[feasible]
    top = values.max() if len(values) else 0.0
    if top <= 0:
        return np.full(len(raw), MAX_SCORE if reverse else 0.0)
    scaled = raw * (MAX_SCORE / top)
    return MAX_SCORE - scaled if reverse else scaled
