"""Taints and tolerations. Pure; shared by scheduler, controllers and node agent.

Rules: kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kutter.api.types.core_v1 import Taint, Toleration


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether one toleration matches one taint."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if not toleration.key and toleration.operator != "Exists":
        return False
    if toleration.operator in ("Lt", "Gt"):
        return _compares(toleration, taint)
    return toleration.operator == "Exists" or toleration.value == taint.value


def _compares(toleration: Toleration, taint: Taint) -> bool:
    try:
        have, bound = int(taint.value), int(toleration.value)
    except ValueError:
        return False
    return have < bound if toleration.operator == "Lt" else have > bound


def untolerated(
    taints: Iterable[Taint], tolerations: Sequence[Toleration], effects: Sequence[str]
) -> Taint | None:
    """The first taint with one of ``effects`` that nothing tolerates."""
    for taint in taints:
        if taint.effect in effects and not any(tolerates(t, taint) for t in tolerations):
            return taint
    return None
