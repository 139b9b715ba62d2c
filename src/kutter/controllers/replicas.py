"""ReplicaSet and ReplicationController: keep a number of equal pods.

Owns: pods with a controller reference to the set. Reads: the set, pods of its namespace.
Writes: pods (create, delete, adopt, release), the set's status, events.
Invariants: never more than 500 creations or deletions at a time; nothing is created or deleted
while earlier requests have not been seen in the informer.
Upstream: kubernetes.io/docs/concepts/workloads/controllers/replicaset
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.selectors import NOTHING, Selector, from_map, from_view
from kutter.api.types.apps_v1 import ReplicaSet
from kutter.api.types.core_v1 import Pod, ReplicationController
from kutter.base.clock import Clock, render_time
from kutter.client.client import Client
from kutter.controllers.pods import (
    BURST,
    deletion_order,
    is_active,
    is_namespace_terminating,
    is_ready,
    run_in_growing_batches,
    seconds_until_available,
)
from kutter.machinery.controller import Change, Result, Source, own_key
from kutter.machinery.events import EventRecorder
from kutter.machinery.expectations import Expectations
from kutter.machinery.informer import Informer, InformerFactory, split_key
from kutter.machinery.ownership import (
    apply_claim,
    controller_of,
    controller_reference,
    controller_uid,
    plan_claim,
)

ReplicaOwner = ReplicaSet | ReplicationController


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about one set: ``create`` new pods or delete ``delete``; never both."""

    create: int = 0
    delete: list[Pod] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    requeue_after_s: float | None = None
    why: str = ""


def plan(
    *,
    replicas: int,
    min_ready_s: int,
    template_labels: dict[str, str],
    pods: Sequence[Pod],
    peers_on_node: dict[str, int],
    may_change: bool,
    generation: int,
    now: datetime,
) -> Plan:
    """Compare what there is with what should be. Pure.

    ``may_change`` is False while the set is being deleted or earlier requests are unseen.
    ``peers_on_node`` counts active pods of the related sets per node.
    """
    active = [p for p in pods if is_active(p)]
    excess = len(active) - replicas
    create, delete, why = 0, [], f"{len(active)} of {replicas} replicas exist"
    if may_change and excess < 0:
        create = min(-excess, BURST)
        why = f"{len(active)} of {replicas} replicas exist, creating {create}"
    elif may_change and excess > 0:
        ranked = sorted(
            active, key=lambda p: deletion_order(p, peers_on_node.get(p.spec.node_name, 0))
        )
        delete = ranked[: min(excess, BURST)]
        why = f"{len(active)} replicas exist, {replicas} wanted, deleting {len(delete)}"
    ready = available = labelled = 0
    soonest: float | None = None
    for pod in active:
        if template_labels.items() <= pod.metadata.labels.items():
            labelled += 1
        if not is_ready(pod):
            continue
        ready += 1
        wait = seconds_until_available(pod, min_ready_s, now)
        if wait == 0:
            available += 1
        elif wait is not None:
            soonest = wait if soonest is None else min(soonest, wait)
    status: dict[str, Any] = {
        "replicas": len(active),
        "fullyLabeledReplicas": labelled,
        "readyReplicas": ready,
        "availableReplicas": available,
        "observedGeneration": generation,
    }
    terminating = sum(
        1
        for p in pods
        if p.metadata.deletion_timestamp and p.status.phase not in ("Succeeded", "Failed")
    )
    status["terminatingReplicas"] = terminating
    return Plan(create, delete, status, soonest, why)


class ReplicaController:
    """One of these for ReplicaSets, one for ReplicationControllers."""

    def __init__(
        self,
        view: type[ReplicaSet] | type[ReplicationController],
        client: Client,
        informers: InformerFactory,
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self.name = view.resource.singular or view.resource.kind.lower()
        self._view = view
        self._kind = view.resource.kind
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._expectations = Expectations(clock)
        self._sets: Informer[Any] = informers.informer(view)
        self._pods = informers.informer(Pod)
        self._pods.add_index("controller-uid", controller_uid)
        self._sets.add_index("controller-uid", controller_uid)

    def sources(self) -> Sequence[Source]:
        return [Source(self._sets, self._set_keys), Source(self._pods, self._pod_keys)]

    def _set_keys(self, change: Change[Any]) -> Sequence[str]:
        old, new = change.old, change.new
        if new is None or (old is not None and old.metadata.uid != new.metadata.uid):
            self._expectations.forget(change.key)
        return tuple(own_key(change))

    def _pod_keys(self, change: Change[Pod]) -> Sequence[str]:
        keys: list[str] = []
        for view in (change.old, change.new):
            if view is None:
                continue
            owner = controller_of(view)
            if owner is None or owner.kind != self._kind:
                continue
            key = f"{view.metadata.namespace}/{owner.name}"
            if key not in keys:
                keys.append(key)
            gone = change.new is None or bool(change.new.metadata.deletion_timestamp)
            if gone:
                self._expectations.deletion_observed(key, view.metadata.uid)
            elif change.old is None:
                self._expectations.creation_observed(key)
        new = change.new
        if new is not None and controller_of(new) is None and not new.metadata.deletion_timestamp:
            # An orphan: whichever sets select it may want to adopt it.
            labels_changed = change.old is None or change.old.metadata.labels != new.metadata.labels
            owner_changed = change.old is not None and controller_of(change.old) is not None
            if labels_changed or owner_changed:
                keys += [
                    f"{item.metadata.namespace}/{item.metadata.name}"
                    for item in self._sets.items(new.metadata.namespace)
                    if self._selector(item).matches(new.metadata.labels)
                ]
        return keys

    def _selector(self, item: ReplicaOwner) -> Selector:
        if isinstance(item, ReplicationController):
            # A controller without a selector selects nothing (never everything).
            return from_map(item.spec.selector) if item.spec.selector else NOTHING
        return from_view(item.spec.selector)

    async def reconcile(self, key: str) -> Result:
        item = self._sets.get(key)
        if item is None:
            self._expectations.forget(key)
            return Result("it is gone")
        namespace, _ = split_key(key)
        selector = self._selector(item)
        candidates = [
            p
            for p in self._pods.items(namespace)
            if (p.metadata.owner_references or selector.matches(p.metadata.labels))
        ]
        claim = plan_claim(item, candidates, lambda p: selector.matches(p.metadata.labels))
        pods = (
            await apply_claim(self._client, item, claim)
            if claim.adopt or claim.release
            else claim.owned
        )
        template_labels = item.spec.template.metadata.labels if item.spec.template else {}
        planned = plan(
            replicas=item.spec.replicas if item.spec.replicas is not None else 1,
            min_ready_s=item.spec.min_ready_seconds,
            template_labels=template_labels,
            pods=pods,
            peers_on_node=self._peers_on_node(item),
            may_change=not item.metadata.deletion_timestamp and self._expectations.satisfied(key),
            generation=item.metadata.generation,
            now=self._clock.now(),
        )
        failure = await self._apply(key, item, planned)
        await self._write_status(item, planned, failure)
        if failure is not None and not is_namespace_terminating(failure):
            raise failure
        return Result(planned.why, planned.requeue_after_s)

    def _peers_on_node(self, item: ReplicaOwner) -> dict[str, int]:
        """Active pods per node over all sets of the same owner (a Deployment's)."""
        owner = controller_of(item)
        uids = [item.metadata.uid]
        if owner is not None:
            uids = [s.metadata.uid for s in self._sets.by_index("controller-uid", owner.uid)]
        counts: Counter[str] = Counter()
        for uid in uids:
            for pod in self._pods.by_index("controller-uid", uid):
                if is_active(pod) and pod.spec.node_name:
                    counts[pod.spec.node_name] += 1
        return counts

    async def _apply(self, key: str, item: ReplicaOwner, planned: Plan) -> Exception | None:
        if planned.create:
            return await self._create(key, item, planned.create)
        if planned.delete:
            return await self._delete(key, item, planned.delete)
        return None

    async def _create(self, key: str, item: ReplicaOwner, count: int) -> Exception | None:
        namespace, name = split_key(key)
        # The view holds only what we read; the template is copied from the whole object.
        tree = await self._client.get_tree(self._view, name, namespace)
        template = tree["spec"]["template"]
        meta = template.get("metadata") or {}
        body = {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {
                **{k: v for k, v in meta.items() if k in ("labels", "annotations", "finalizers")},
                "generateName": f"{name}-",
                "ownerReferences": [controller_reference(item)],
            },
            "spec": template["spec"],
        }
        self._expectations.expect_creations(key, count)
        started = 0

        async def create(_: int) -> None:
            nonlocal started
            started += 1
            try:
                pod = await self._client.create(Pod, body, namespace)
            except ApiError as error:
                self._expectations.creation_observed(key)
                if not is_namespace_terminating(error):
                    self._recorder.event(
                        item, "Warning", "FailedCreate", f"Error creating: {error.message}"
                    )
                raise
            except BaseException:
                self._expectations.creation_observed(key)
                raise
            self._recorder.event(
                item, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}"
            )

        _, failure = await run_in_growing_batches(count, create)
        for _ in range(count - started):
            self._expectations.creation_observed(key)
        return failure

    async def _delete(self, key: str, item: ReplicaOwner, pods: list[Pod]) -> Exception | None:
        for pod in pods:
            self._expectations.expect_deletion(key, pod.metadata.uid)

        async def delete(index: int) -> None:
            meta = pods[index].metadata
            try:
                await self._client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
            except ApiError as error:
                self._expectations.deletion_observed(key, meta.uid)
                if is_reason(error, "NotFound", "Conflict"):
                    return  # already gone, or another pod of that name
                self._recorder.event(
                    item, "Warning", "FailedDelete", f"Error deleting: {error.message}"
                )
                raise
            except BaseException:
                self._expectations.deletion_observed(key, meta.uid)
                raise
            self._recorder.event(item, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name}")

        _, failure = await run_in_growing_batches(len(pods), delete)
        if failure is not None:
            for pod in pods:
                self._expectations.deletion_observed(key, pod.metadata.uid)
        return failure

    async def _write_status(
        self, item: ReplicaOwner, planned: Plan, failure: Exception | None
    ) -> None:
        status = dict(planned.status)
        if self._kind != "ReplicaSet":
            status.pop("terminatingReplicas")
        status["conditions"] = self._conditions(item, planned, failure)
        old = item.status
        same = (
            old.replicas == status["replicas"]
            and old.fully_labeled_replicas == status["fullyLabeledReplicas"]
            and old.ready_replicas == status["readyReplicas"]
            and old.available_replicas == status["availableReplicas"]
            and old.observed_generation == status["observedGeneration"]
            and _terminating(item) == status.get("terminatingReplicas", 0)
            and [(c.type, c.status, c.reason) for c in old.conditions]
            == [(c["type"], c["status"], c.get("reason", "")) for c in status["conditions"]]
        )
        if same:
            return
        meta = item.metadata
        try:
            await self._client.patch(
                self._view,
                meta.name,
                {"metadata": {"uid": meta.uid}, "status": status},
                meta.namespace,
                subresource="status",
            )
        except ApiError as error:
            if not is_reason(error, "NotFound", "Conflict"):
                raise

    def _conditions(
        self, item: ReplicaOwner, planned: Plan, failure: Exception | None
    ) -> list[dict[str, Any]]:
        kept = [c.tree() for c in item.status.conditions if c.type != "ReplicaFailure"]
        if failure is None:
            return kept
        reason = "FailedCreate" if planned.create else "FailedDelete"
        known = [c for c in item.status.conditions if c.type == "ReplicaFailure"]
        since = known[0].last_transition_time if known else ""
        return [
            *kept,
            {
                "type": "ReplicaFailure",
                "status": "True",
                "reason": reason,
                "message": str(failure),
                "lastTransitionTime": since or render_time(self._clock.now()),
            },
        ]


def _terminating(item: ReplicaOwner) -> int:
    """The reported count of terminating pods; ReplicationControllers do not report one."""
    return (item.status.terminating_replicas or 0) if isinstance(item, ReplicaSet) else 0
