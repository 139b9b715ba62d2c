"""What a server goes through until it serves whole, by the names upstream's health checks have.

Who watches an API server asks for checks by name (``/readyz/poststarthook/rbac/bootstrap-roles``).
Upstream names the hooks of its start; here each name stands for the step of ours that does the same
work, so a check is well once that step is done and for as long as its tasks run. Names of work that
is not done here (a peer proxy, a loopback certificate) are missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from kutter.apiserver.health import Health

_HOOK = "poststarthook/"
STEPS: dict[str, tuple[str, ...]] = {
    "caches": (
        "generic-apiserver-start-informers",
        "storage-readiness",
        "storage-object-count-tracker-hook",
        "priority-and-fairness-filter",
        "start-apiextensions-informers",
        "crd-informer-synced",
        "start-kube-aggregator-informers",
    ),
    "admission": ("start-apiserver-admission-initializer",),
    "bootstrap": (
        "start-system-namespaces-controller",
        "rbac/bootstrap-roles",
        "scheduling/bootstrap-system-priority-classes",
    ),
    "service-addresses": (
        "start-kubernetes-service-cidr-controller",
        "start-service-ip-repair-controllers",
    ),
    "kubernetes-service": ("bootstrap-controller",),
    "authentication-config": ("start-cluster-authentication-info-controller",),
    "aggregation": (
        "apiservice-registration-controller",
        "apiservice-status-local-available-controller",
        "apiservice-status-remote-available-controller",
        "apiservice-wait-for-first-sync",
        "apiservice-discovery-controller",
        "apiservice-openapi-controller",
        "apiservice-openapiv3-controller",
        "kube-apiserver-autoregistration",
    ),
    "priority-and-fairness": (
        "priority-and-fairness-config-consumer",
        "priority-and-fairness-config-producer",
    ),
    "identity-lease": (
        "start-kube-apiserver-identity-lease-controller",
        "start-kube-apiserver-identity-lease-garbage-collector",
    ),
    "custom-resources": ("start-apiextensions-controllers",),
}
_ENDPOINTS = ("healthz", "livez", "readyz")


class StartSteps:
    """Made before the start with every step outstanding; ``reached`` is told of each."""

    def __init__(self, health: Health) -> None:
        self._tasks: dict[str, tuple[asyncio.Task[Any], ...]] = {}
        for step, names in STEPS.items():
            for name in names:
                health.add(_HOOK + name, partial(self.problem, step), _ENDPOINTS)

    def reached(self, step: str, *tasks: asyncio.Task[Any]) -> None:
        """The step is done; what goes on of it are ``tasks``."""
        assert step in STEPS
        self._tasks[step] = tasks

    def problem(self, step: str) -> str:
        """Why the step is not (or no longer) well; empty when it is."""
        tasks = self._tasks.get(step)
        if tasks is None:
            return "not finished"
        return problem_of(tasks)


def problem_of(tasks: Sequence[asyncio.Task[Any]]) -> str:
    """The names of tasks that have ended; empty when none has."""
    ended = [task.get_name() for task in tasks if task.done()]
    return f"ended: {', '.join(ended)}" if ended else ""
