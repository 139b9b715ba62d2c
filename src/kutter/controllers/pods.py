"""What several controllers ask of a pod: is it active, ready, available; which to delete first.

Pure functions over pod views. Follows kubernetes.io/docs/concepts/workloads/controllers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.core_v1 import Pod
from kutter.base.clock import parse_time
from kutter.client.client import Client

SLOW_START_INITIAL = 1
BURST = 500


def is_active(pod: Pod) -> bool:
    """Neither finished nor being deleted."""
    return pod.status.phase not in ("Succeeded", "Failed") and not pod.metadata.deletion_timestamp


def ready_since(pod: Pod) -> datetime | None:
    """When the pod became ready; None while it is not."""
    for condition in pod.status.conditions:
        if condition.type == "Ready" and condition.status == "True":
            when = condition.last_transition_time
            return parse_time(when) if when else datetime.fromtimestamp(0).astimezone()
    return None


def is_ready(pod: Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


def seconds_until_available(pod: Pod, min_ready_s: int, now: datetime) -> float | None:
    """0 when available, seconds to wait when only time is missing, None when not ready."""
    if not is_ready(pod):
        return None
    if not min_ready_s:
        return 0.0
    since = ready_since(pod)
    if since is None:
        return None
    return max(0.0, min_ready_s - (now - since).total_seconds())


def restart_count(pod: Pod) -> int:
    """The highest restart count of its containers."""
    counts = [s.restart_count for s in pod.status.container_statuses]
    return max(counts, default=0)


def deletion_order(pod: Pod, peers_on_node: int) -> tuple[Any, ...]:
    """Sort key: what should go first comes first.

    Unassigned before assigned, pending before unknown before running, not ready before ready,
    lower deletion cost first, crowded nodes first, recently ready first, more restarts first,
    younger first.
    """
    phase_rank = {"Pending": 0, "Unknown": 1, "Running": 2}.get(pod.status.phase, 0)
    ready = is_ready(pod)
    since = ready_since(pod)
    try:
        cost = int(pod.metadata.annotations.get("controller.kubernetes.io/pod-deletion-cost", "0"))
    except ValueError:
        cost = 0
    created = pod.metadata.creation_timestamp
    created_s = parse_time(created).timestamp() if created else 0.0
    return (
        bool(pod.spec.node_name),
        phase_rank,
        ready,
        cost,
        -peers_on_node,
        -(since.timestamp() if since else 0.0),
        -restart_count(pod),
        -created_s,
        pod.metadata.name,
    )


async def run_in_growing_batches(
    count: int, start: Callable[[int], Coroutine[Any, Any, None]]
) -> tuple[int, Exception | None]:
    """Run ``start(0) .. start(count-1)`` in batches of 1, 2, 4 ...

    Stops after the first batch with a failure, so that a quota or a bad template costs few
    requests. Answers how many succeeded and the first failure.
    """
    done, size, index = 0, SLOW_START_INITIAL, 0
    while index < count:
        size = min(size, count - index)
        results = await asyncio.gather(
            *(start(index + n) for n in range(size)), return_exceptions=True
        )
        failures = [r for r in results if isinstance(r, BaseException)]
        done += size - len(failures)
        index += size
        for failure in failures:
            if not isinstance(failure, Exception):
                raise failure
        if failures:
            assert isinstance(failures[0], Exception)
            return done, failures[0]
        size *= 2
    return done, None


async def write_pod_condition(
    client: Client, pod: Pod, condition: dict[str, Any] | None, *, phase: str = ""
) -> bool:
    """Set a condition and the phase of a pod, what is given of them.

    False when the pod is gone or another one.
    """
    status: dict[str, Any] = {"conditions": [condition]} if condition else {}
    if phase:
        status["phase"] = phase
    meta = pod.metadata
    try:
        await client.patch(
            Pod,
            meta.name,
            {"metadata": {"uid": meta.uid}, "status": status},
            meta.namespace,
            kind="strategic",
            subresource="status",
        )
    except ApiError as error:
        if is_reason(error, "NotFound", "Conflict"):
            return False
        raise
    return True


def is_namespace_terminating(error: Exception) -> bool:
    """Creating failed because the namespace is going: not worth a retry."""
    return (
        isinstance(error, ApiError)
        and is_reason(error, "Forbidden")
        and any(
            cause.get("reason") == "NamespaceTerminating"
            for cause in (error.details or {}).get("causes", [])
        )
    )
