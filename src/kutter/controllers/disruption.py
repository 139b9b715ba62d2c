"""PodDisruptionBudgets: how many pods of a set may be evicted right now.

Owns: the status of budgets. Reads: budgets, pods, the workloads that own the pods.
Invariants: the status is written against the version it was computed from, because evictions
take from ``disruptionsAllowed`` meanwhile; what cannot be computed allows no disruption.
Upstream: kubernetes.io/docs/concepts/workloads/pods/disruptions
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kutter.api.catalog import Catalog
from kutter.api.errors import ApiError, is_reason
from kutter.api.selectors import SelectorError, from_view
from kutter.api.types.core_v1 import Pod
from kutter.api.types.meta_v1 import Condition
from kutter.api.types.policy_v1 import PodDisruptionBudget
from kutter.base.clock import Clock, parse_time, render_time
from kutter.client.client import Client
from kutter.controllers.owned_scale import OwnerScales, ScaleUnknown
from kutter.controllers.percentages import resolve
from kutter.controllers.pods import is_ready
from kutter.machinery.controller import Change, Result, Source, own_key
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import InformerFactory, key_of, split_key

# An evicted pod that still exists after this long counts again (as upstream).
DELETION_TIMEOUT_S = 120.0
ALLOWED = "DisruptionAllowed"


@dataclass(frozen=True, slots=True)
class Expectation:
    """``pods`` the budget covers when its owners have their way, ``healthy`` it insists on."""

    pods: int
    healthy: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The status to write, when to look again, and evicted pods that did not go."""

    status: dict[str, Any]
    requeue_after_s: float | None = None
    overdue: list[Pod] = field(default_factory=list)


def needs_scale(budget: PodDisruptionBudget) -> bool:
    """Whether the budget speaks of a share, or of what may be missing from the whole."""
    spec = budget.spec
    return spec.max_unavailable is not None or isinstance(spec.min_available, str)


def expect(budget: PodDisruptionBudget, matched: int, scale: int) -> Expectation:
    """What the budget demands of ``matched`` pods whose owners want ``scale``. Pure."""
    spec = budget.spec
    if spec.max_unavailable is not None:
        missing = resolve(spec.max_unavailable, scale, round_up=True)
        return Expectation(scale, max(0, scale - missing))
    if isinstance(spec.min_available, str):
        return Expectation(scale, resolve(spec.min_available, scale, round_up=True))
    if spec.min_available is not None:
        return Expectation(matched, spec.min_available)
    return Expectation(0, 0)


def plan(
    budget: PodDisruptionBudget, pods: Sequence[Pod], expected: Expectation, now: datetime
) -> Plan:
    """The budget's status, from the pods it selects. Pure."""
    disrupted: dict[str, str] = {}
    overdue: list[Pod] = []
    wait_s: float | None = None
    for pod in pods:
        when = budget.status.disrupted_pods.get(pod.metadata.name)
        if when is None or pod.metadata.deletion_timestamp:
            continue
        left = DELETION_TIMEOUT_S - (now - parse_time(when)).total_seconds()
        if left <= 0:
            overdue.append(pod)
            continue
        disrupted[pod.metadata.name] = when
        wait_s = left if wait_s is None else min(wait_s, left)
    healthy = sum(
        1
        for pod in pods
        if not pod.metadata.deletion_timestamp
        and pod.metadata.name not in disrupted
        and is_ready(pod)
    )
    allowed = max(0, healthy - expected.healthy) if expected.pods > 0 else 0
    status: dict[str, Any] = {
        "currentHealthy": healthy,
        "desiredHealthy": expected.healthy,
        "expectedPods": expected.pods,
        "disruptionsAllowed": allowed,
        "observedGeneration": budget.metadata.generation,
        "conditions": compute_conditions(
            budget,
            budget.metadata.generation,
            now,
            allowed=allowed > 0,
            reason="SufficientPods" if allowed > 0 else "InsufficientPods",
        ),
    }
    gone = budget.status.disrupted_pods.keys() - disrupted.keys()
    if disrupted or gone:
        # A merge patch removes what it names null.
        status["disruptedPods"] = {**disrupted, **dict.fromkeys(gone)}
    return Plan(status, wait_s, overdue)


def compute_conditions(
    budget: PodDisruptionBudget,
    generation: int,
    now: datetime,
    *,
    allowed: bool,
    reason: str,
    message: str = "",
) -> list[dict[str, Any]]:
    """The budget's conditions with DisruptionAllowed set; others are kept. Pure."""
    value = "True" if allowed else "False"
    made: dict[str, Any] = {
        "type": ALLOWED,
        "status": value,
        "observedGeneration": generation,
        "lastTransitionTime": render_time(now),
        "reason": reason,
        "message": message,
    }
    kept: list[dict[str, Any]] = []
    found = False
    for condition in budget.status.conditions:
        if condition.type != ALLOWED:
            kept.append(_tree(condition))
            continue
        found = True
        if condition.status == value and condition.last_transition_time:
            made["lastTransitionTime"] = condition.last_transition_time
        kept.append(made)
    return kept if found else [*kept, made]


def _tree(condition: Condition) -> dict[str, Any]:
    """All fields a condition must have, also when empty."""
    return {"reason": "", "message": "", **condition.tree()}


class DisruptionController:
    name = "disruption"

    def __init__(
        self,
        client: Client,
        informers: InformerFactory,
        catalog: Catalog,
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._budgets = informers.informer(PodDisruptionBudget)
        self._pods = informers.informer(Pod)
        self._scales = OwnerScales(client, informers, catalog)

    def sources(self) -> Sequence[Source]:
        return [
            Source(self._budgets, own_key),
            Source(self._pods, self._pod_keys),
            *(Source(owners, self._owner_keys) for owners in self._scales.informers()),
        ]

    def _pod_keys(self, change: Change[Pod]) -> Sequence[str]:
        seen = [p for p in (change.old, change.new) if p is not None]
        return [
            key_of(budget)
            for budget in self._budgets.items(seen[0].metadata.namespace)
            if any(_selects(budget, pod) for pod in seen)
        ]

    def _owner_keys(self, change: Change[Any]) -> Sequence[str]:
        """A workload of another size changes what shares are worth."""
        old, new = change.old, change.new
        if old is None or new is None or old.spec.replicas == new.spec.replicas:
            return ()
        budgets = self._budgets.items(new.metadata.namespace)
        return [key_of(budget) for budget in budgets if needs_scale(budget)]

    async def reconcile(self, key: str) -> Result:
        budget = self._budgets.get(key)
        if budget is None:
            return Result()
        namespace, _ = split_key(key)
        pods = [p for p in self._pods.items(namespace) if _selects(budget, p)]
        if not pods:
            self._recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            expected = await self._expect(budget, pods)
        except ScaleUnknown as error:
            return await self._refuse(budget, str(error))
        planned = plan(budget, pods, expected, self._clock.now())
        for pod in planned.overdue:
            self._recorder.event(
                pod,
                "Warning",
                "NotDeleted",
                f"Pod was expected by PDB {key} to be deleted but it wasn't",
            )
        await self._write(budget, planned.status)
        allowed = planned.status["disruptionsAllowed"]
        return Result(f"{allowed} disruptions are allowed", planned.requeue_after_s)

    async def _expect(self, budget: PodDisruptionBudget, pods: Sequence[Pod]) -> Expectation:
        if not needs_scale(budget):
            return expect(budget, len(pods), 0)
        scale, unmanaged = await self._scales.total(pods)
        if unmanaged:
            self._recorder.event(
                budget,
                "Warning",
                "UnmanagedPods",
                "Pods selected by this PodDisruptionBudget were found to be unmanaged. As a "
                "result, the status of the PDB cannot be calculated correctly, which may result "
                "in undefined behavior. To account for these pods please set "
                '".spec.minAvailable" field of the PDB to an integer value.',
            )
        return expect(budget, len(pods), scale)

    async def _refuse(self, budget: PodDisruptionBudget, why: str) -> Result:
        """Allow nothing while the numbers cannot be had."""
        self._recorder.event(
            budget,
            "Warning",
            "CalculateExpectedPodCountFailed",
            f"Failed to calculate the number of expected pods: {why}",
        )
        conditions = compute_conditions(
            budget,
            budget.status.observed_generation,
            self._clock.now(),
            allowed=False,
            reason="SyncFailed",
            message=why,
        )
        await self._write(budget, {"disruptionsAllowed": 0, "conditions": conditions})
        return Result(why)

    async def _write(self, budget: PodDisruptionBudget, status: dict[str, Any]) -> None:
        """Patch the status if it differs. A Conflict is raised: an eviction came between."""
        old = budget.status
        known: dict[str, Any] = {
            "currentHealthy": old.current_healthy,
            "desiredHealthy": old.desired_healthy,
            "expectedPods": old.expected_pods,
            "disruptionsAllowed": old.disruptions_allowed,
            "observedGeneration": old.observed_generation,
            "disruptedPods": old.disrupted_pods,
            "conditions": [_tree(c) for c in old.conditions],
        }
        if all(known[k] == v for k, v in status.items()):
            return
        meta = budget.metadata
        identity = {"uid": meta.uid, "resourceVersion": meta.resource_version}
        try:
            await self._client.patch(
                PodDisruptionBudget,
                meta.name,
                {"metadata": identity, "status": status},
                meta.namespace,
                subresource="status",
            )
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise


def _selects(budget: PodDisruptionBudget, pod: Pod) -> bool:
    try:
        return from_view(budget.spec.selector).matches(pod.metadata.labels)
    except SelectorError:
        return False  # validation keeps these out
