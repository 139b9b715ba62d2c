"""How large each ReplicaSet of a Deployment should be next. Pure.

Rules as documented at kubernetes.io/docs/concepts/workloads/controllers/deployment: never more
than ``replicas + maxSurge`` pods, never fewer than ``replicas - maxUnavailable`` available ones;
unhealthy old pods go first; a change of size in the middle of a rollout is spread in proportion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kutter.api.types.apps_v1 import Deployment, ReplicaSet
from kutter.controllers.deployment.revisions import desired_of, max_of
from kutter.controllers.percentages import resolve


@dataclass(frozen=True, slots=True)
class Limits:
    """Absolute surge and unavailability."""

    surge: int
    unavailable: int


@dataclass(frozen=True, slots=True)
class Scale:
    """Change one set's size."""

    replica_set: ReplicaSet
    replicas: int


def size_of(item: ReplicaSet) -> int:
    return item.spec.replicas if item.spec.replicas is not None else 1


def limits_of(deployment: Deployment) -> Limits:
    """Surge and unavailability of a Deployment; Recreate has none."""
    if deployment.spec.strategy.type != "RollingUpdate":
        return Limits(0, 0)
    rolling = deployment.spec.strategy.rolling_update
    replicas = wanted(deployment)
    surge = resolve(rolling.max_surge if rolling else None, replicas, round_up=True)
    unavailable = resolve(rolling.max_unavailable if rolling else None, replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1  # both rounded to nothing: the rollout must still be able to move
    return Limits(surge, min(unavailable, replicas))


def wanted(deployment: Deployment) -> int:
    return deployment.spec.replicas if deployment.spec.replicas is not None else 1


def active(sets: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    """Sets that should have pods."""
    return [s for s in sets if size_of(s) > 0]


def is_scaling(deployment: Deployment, sets: Sequence[ReplicaSet]) -> bool:
    """Whether the Deployment's size changed since its sets were last scaled."""
    size = wanted(deployment)
    return any(desired_of(s) not in (None, size) for s in active(sets))


def is_saturated(deployment: Deployment, item: ReplicaSet) -> bool:
    """Whether the new set has all the pods it should and all are available."""
    size = wanted(deployment)
    return size_of(item) == size == item.status.available_replicas and desired_of(item) == size


def new_set_size(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> int:
    """How many replicas the new set may have now."""
    size, current = wanted(deployment), size_of(new) if new is not None else 0
    if deployment.spec.strategy.type != "RollingUpdate":
        return size
    if current >= size:
        return size
    total = current + sum(size_of(s) for s in old)
    room = size + limits_of(deployment).surge - total
    if room <= 0:
        return current
    return current + min(room, size - current)


def plan_old_sets(
    deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]
) -> list[Scale]:
    """Which old sets may shrink in a rolling update, and to what."""
    old = active(old)
    if not old:
        return []
    every = [new, *old]
    minimum = wanted(deployment) - limits_of(deployment).unavailable
    total = sum(size_of(s) for s in every)
    new_unavailable = size_of(new) - new.status.available_replicas
    budget = total - minimum - new_unavailable
    if budget <= 0:
        return []
    oldest_first = sorted(old, key=_age)
    sizes = {s.metadata.uid: size_of(s) for s in old}
    # Pods that serve nobody go first; they cost no availability.
    for item in oldest_first:
        unhealthy = sizes[item.metadata.uid] - item.status.available_replicas
        if unhealthy > 0 and budget > 0:
            gone = min(budget, unhealthy)
            sizes[item.metadata.uid] -= gone
            budget -= gone
    available = sum(s.status.available_replicas for s in every)
    spare = available - minimum
    for item in oldest_first:
        if spare <= 0:
            break
        gone = min(sizes[item.metadata.uid], spare)
        sizes[item.metadata.uid] -= gone
        spare -= gone
    return _changes(oldest_first, sizes)


def plan_scaling(
    deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]
) -> list[Scale]:
    """Spread a change of the Deployment's size over its sets."""
    every = ([new] if new is not None else []) + list(old)
    running = active(every)
    size = wanted(deployment)
    if len(running) <= 1:
        only = running[0] if running else (new or (max(every, key=_age) if every else None))
        if only is None or (size_of(only) == size and desired_of(only) == size):
            return []
        return [Scale(only, size)]
    if new is not None and is_saturated(deployment, new):
        return [Scale(s, 0) for s in active(old)]
    if deployment.spec.strategy.type != "RollingUpdate":
        return []
    allowed = size + limits_of(deployment).surge if size > 0 else 0
    change = allowed - sum(size_of(s) for s in running)
    # Larger sets take the larger share; of equals the newer grows and the older shrinks.
    newest_first = sorted(running, key=_age, reverse=True)
    ordered = sorted(newest_first if change > 0 else newest_first[::-1], key=lambda s: -size_of(s))
    sizes: dict[str, int] = {}
    spread = 0
    for item in ordered:
        share = _proportion(item, allowed, change, spread) if change else 0
        sizes[item.metadata.uid] = size_of(item) + share
        spread += share
    if ordered and spread != change:
        first = ordered[0].metadata.uid
        sizes[first] = max(0, sizes[first] + change - spread)
    return [Scale(s, sizes[s.metadata.uid]) for s in ordered]


def _proportion(item: ReplicaSet, allowed: int, change: int, spread: int) -> int:
    """The set's share of ``change``, of which ``spread`` is already given out."""
    size = size_of(item)
    if not size or change == spread:
        return 0
    before = max_of(item) or size
    share = round(size * allowed / before) - size
    if change > 0:
        return max(0, min(share, change - spread))
    return min(0, max(share, change - spread))


def _age(item: ReplicaSet) -> tuple[str, str]:
    return item.metadata.creation_timestamp, item.metadata.name


def _changes(sets: Sequence[ReplicaSet], sizes: Mapping[str, int]) -> list[Scale]:
    return [Scale(s, sizes[s.metadata.uid]) for s in sets if sizes[s.metadata.uid] != size_of(s)]
