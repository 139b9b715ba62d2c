"""Status and conditions of a Deployment: counts, Available, Progressing, deadline. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kutter.api.types.apps_v1 import Deployment, DeploymentCondition, ReplicaSet
from kutter.base.clock import parse_time, render_time
from kutter.controllers.deployment.rollout import limits_of, size_of, wanted

# The API's way to say "no deadline".
NO_DEADLINE = 2**31 - 1

TIMED_OUT = "ProgressDeadlineExceeded"
AVAILABLE = "NewReplicaSetAvailable"


@dataclass(frozen=True, slots=True)
class Progress:
    """A status body and when to look again."""

    status: dict[str, Any]
    requeue_after_s: float | None = None


class Conditions:
    """A list of conditions under change; keeps transition times of what stays the same."""

    def __init__(self, known: Sequence[DeploymentCondition], now: datetime) -> None:
        self._now = render_time(now)
        self._list = [
            {
                "type": c.type,
                "status": c.status,
                "lastUpdateTime": c.last_update_time,
                "lastTransitionTime": c.last_transition_time,
                "reason": c.reason,
                "message": c.message,
            }
            for c in known
        ]

    def get(self, kind: str) -> dict[str, Any] | None:
        return next((c for c in self._list if c["type"] == kind), None)

    def set(self, kind: str, status: str, reason: str, message: str) -> None:
        """Add or replace; an equal status and reason changes nothing."""
        known = self.get(kind)
        if known is not None and (known["status"], known["reason"]) == (status, reason):
            return
        fresh = {
            "type": kind,
            "status": status,
            "lastUpdateTime": self._now,
            "lastTransitionTime": self._now,
            "reason": reason,
            "message": message,
        }
        if known is not None:
            if known["status"] == status:
                fresh["lastTransitionTime"] = known["lastTransitionTime"] or self._now
            self._list.remove(known)
        self._list.append(fresh)

    def touch(self, kind: str, status: str, reason: str, message: str) -> None:
        """Like :meth:`set`, but also records that there was progress now."""
        known = self.get(kind)
        if known is not None and (known["status"], known["reason"]) == (status, reason):
            known["lastUpdateTime"], known["message"] = self._now, message
            return
        self.set(kind, status, reason, message)

    def remove(self, kind: str) -> None:
        self._list = [c for c in self._list if c["type"] != kind]

    def trees(self) -> list[dict[str, Any]]:
        """As they go on the wire. Clients may add conditions with no more than type and status;
        an empty time would be refused, so what is empty is left out.
        """
        return [{k: v for k, v in condition.items() if v} for condition in self._list]


def compute(
    deployment: Deployment,
    new: ReplicaSet | None,
    old: Sequence[ReplicaSet],
    conditions: Conditions,
    *,
    collision_count: int | None,
    now: datetime,
) -> Progress:
    """The status of a Deployment whose ReplicaSets are ``new`` and ``old``."""
    every = ([new] if new is not None else []) + list(old)
    available = sum(s.status.available_replicas for s in every)
    total = sum(size_of(s) for s in every)
    status: dict[str, Any] = {
        "observedGeneration": deployment.metadata.generation,
        "replicas": sum(s.status.replicas for s in every),
        "updatedReplicas": new.status.replicas if new is not None else 0,
        "readyReplicas": sum(s.status.ready_replicas for s in every),
        "availableReplicas": available,
        "unavailableReplicas": max(0, total - available),
        "terminatingReplicas": sum(s.status.terminating_replicas or 0 for s in every),
    }
    if collision_count is not None:
        status["collisionCount"] = collision_count
    if available >= wanted(deployment) - limits_of(deployment).unavailable:
        conditions.set(
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    else:
        conditions.set(
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    requeue = None
    if not deployment.spec.paused:
        requeue = _progressing(deployment, new, status, conditions, now)
    _copy_failure(new, old, conditions)
    status["conditions"] = conditions.trees()
    return Progress(status, requeue)


def is_complete(deployment: Deployment, status: dict[str, Any]) -> bool:
    size = wanted(deployment)
    return bool(
        status["updatedReplicas"] == size
        and status["replicas"] == size
        and status["availableReplicas"] == size
        and status["observedGeneration"] >= deployment.metadata.generation
    )


def has_progressed(deployment: Deployment, status: dict[str, Any]) -> bool:
    """Whether more is done than the last status says."""
    last = deployment.status
    last_old = last.replicas - last.updated_replicas
    now_old = status["replicas"] - status["updatedReplicas"]
    return bool(
        status["updatedReplicas"] > last.updated_replicas
        or now_old < last_old
        or status["readyReplicas"] > last.ready_replicas
        or status["availableReplicas"] > last.available_replicas
    )


def deadline_s(deployment: Deployment) -> int | None:
    """Seconds a rollout may stand still; None without a deadline."""
    seconds = deployment.spec.progress_deadline_seconds
    return None if seconds is None or seconds >= NO_DEADLINE else seconds


def _progressing(
    deployment: Deployment,
    new: ReplicaSet | None,
    status: dict[str, Any],
    conditions: Conditions,
    now: datetime,
) -> float | None:
    """Set the Progressing condition; answers seconds until the deadline strikes."""
    limit = deadline_s(deployment)
    if limit is None:
        conditions.remove("Progressing")
        return None
    known = conditions.get("Progressing")
    done_before = known is not None and known["reason"] == AVAILABLE
    if done_before and status["replicas"] == status["updatedReplicas"]:
        return None
    subject = (
        f'ReplicaSet "{new.metadata.name}"'
        if new is not None
        else f'Deployment "{deployment.metadata.name}"'
    )
    if is_complete(deployment, status):
        conditions.set("Progressing", "True", AVAILABLE, f"{subject} has successfully progressed.")
        return None
    if has_progressed(deployment, status):
        conditions.touch("Progressing", "True", "ReplicaSetUpdated", f"{subject} is progressing.")
    known = conditions.get("Progressing")
    if known is None or known["reason"] == TIMED_OUT:
        return None
    reported = known["lastUpdateTime"] or known["lastTransitionTime"]
    since = parse_time(reported) if reported else now
    left = limit - (now - since).total_seconds()
    if left > 0:
        # One second more, so that the deadline has passed for certain when we look again.
        return left + 1
    conditions.set("Progressing", "False", TIMED_OUT, f"{subject} has timed out progressing.")
    return None


def _copy_failure(
    new: ReplicaSet | None, old: Sequence[ReplicaSet], conditions: Conditions
) -> None:
    for item in ([new] if new is not None else []) + list(old):
        for condition in item.status.conditions:
            if condition.type == "ReplicaFailure" and condition.status == "True":
                conditions.set("ReplicaFailure", "True", condition.reason, condition.message)
                return
    conditions.remove("ReplicaFailure")
