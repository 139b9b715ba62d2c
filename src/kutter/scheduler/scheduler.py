"""The scheduler: informers feed snapshot and queue, one loop decides, bindings run beside it.

Reads: pods, nodes, namespaces. Writes: bindings, the PodScheduled condition, events.
Invariants: a pod is decided on by one cycle at a time; a chosen pod counts on its node at once
and is taken off again if its binding fails.
Upstream: kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler
"""

from __future__ import annotations

import asyncio

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.core_v1 import Namespace, Node, Pod
from kutter.base.clock import SYSTEM_CLOCK, Clock, render_time
from kutter.base.log import get_logger
from kutter.base.metrics import Counter, Histogram, Registry
from kutter.base.rng import SYSTEM_RNG, Rng
from kutter.base.tasks import Scope
from kutter.client.client import Client
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import Change, InformerFactory
from kutter.scheduler.cycle import Choice
from kutter.scheduler.queue import SchedulingQueue, Waiting
from kutter.scheduler.snapshot import NamespaceLookup, PodInfo, Snapshot, describe_pod
from kutter.scheduler.standing import Standings

_log = get_logger("scheduler")

NAME = "default-scheduler"
# Bindings in flight; beyond that, deciding waits.
BINDINGS_LIMIT = 64


class Scheduler:
    """Serves pods whose ``schedulerName`` is ``name``."""

    def __init__(
        self,
        client: Client,
        informers: InformerFactory,
        recorder: EventRecorder,
        *,
        name: str = NAME,
        clock: Clock = SYSTEM_CLOCK,
        rng: Rng = SYSTEM_RNG,
        metrics: Registry | None = None,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._name = name
        self._clock = clock
        self._rng = rng
        self._snapshot = Snapshot()
        self._namespaces = NamespaceLookup()
        self._standings = Standings(self._snapshot, self._namespaces, rng=rng)
        self._queue = SchedulingQueue(clock)
        self._assumed: set[str] = set()
        self._slots = asyncio.Semaphore(BINDINGS_LIMIT)
        self._pods = informers.informer(Pod)
        self._nodes = informers.informer(Node)
        self._namespace_informer = informers.informer(Namespace)
        self.attempts = Counter(
            "scheduler_schedule_attempts_total", "Attempts to schedule pods.", ("result",)
        )
        self.duration = Histogram(
            "scheduler_scheduling_algorithm_duration_seconds", "Time to decide on one pod."
        )
        if metrics is not None:
            metrics.add(self.attempts)
            metrics.add(self.duration)
        self._nodes.on_event(self._node_changed)
        self._pods.on_event(self._pod_changed)
        self._namespace_informer.on_event(self._namespace_changed)

    @property
    def pending(self) -> int:
        """How many pods wait for a node."""
        return len(self._queue)

    async def run(self) -> None:
        """Serve until cancelled."""
        for informer in (self._nodes, self._namespace_informer, self._pods):
            await informer.wait_synced()
        async with Scope("scheduler") as scope:
            scope.start(self._decide_all(scope), "decide")
            await scope.wait_failed()

    # What happens in the cluster

    def _node_changed(self, change: Change[Node]) -> None:
        if change.new is None:
            self._snapshot.remove_node(change.key)
            return
        old, new = change.old, change.new
        if old is not None and _schedulable_part(old) == _schedulable_part(new):
            return
        self._snapshot.set_node(new)
        self._queue.wake_all()

    def _namespace_changed(self, change: Change[Namespace]) -> None:
        if change.new is None:
            self._namespaces.labels.pop(change.key, None)
        else:
            self._namespaces.labels[change.key] = change.new.metadata.labels

    def _pod_changed(self, change: Change[Pod]) -> None:
        pod = change.new
        if pod is None:
            assert change.old is not None
            self._forget(change.old.metadata.uid)
            return
        uid = pod.metadata.uid
        if change.old is not None and change.old.metadata.uid != uid:
            self._forget(change.old.metadata.uid)
        if pod.status.phase in ("Succeeded", "Failed"):
            self._forget(uid)
        elif pod.spec.node_name:
            self._queue.remove(uid)
            self._assumed.discard(uid)
            known = self._snapshot.pods.get(uid)
            if (
                known is None
                or self._snapshot.node_name_of(known) != pod.spec.node_name
                or _placed_part(known.pod) != _placed_part(pod)
            ):
                self._snapshot.add_pod(describe_pod(pod), pod.spec.node_name)
            else:
                # Mostly it is where it was assumed to be, and asks for what it asked for.
                known.pod = pod
        elif self._is_mine(pod):
            if uid in self._assumed:
                return
            old = change.old
            if (
                old is not None
                and uid in self._queue
                and old.spec == pod.spec
                and (old.metadata.labels == pod.metadata.labels)
            ):
                self._queue.refresh(describe_pod(pod))
            else:
                self._queue.add(describe_pod(pod))
        else:
            self._queue.remove(uid)

    def _is_mine(self, pod: Pod) -> bool:
        return (
            pod.spec.scheduler_name in (self._name, "")
            and not pod.metadata.deletion_timestamp
            and not pod.spec.scheduling_gates
        )

    def _forget(self, uid: str) -> None:
        self._queue.remove(uid)
        self._assumed.discard(uid)
        if uid in self._snapshot.pods:
            self._snapshot.remove_pod(uid)
            self._queue.wake_all()

    # Deciding

    async def _decide_all(self, scope: Scope) -> None:
        while True:
            waiting = await self._queue.pop()
            await self._slots.acquire()
            started = self._clock.monotonic()
            choice = self._standings.choose(waiting.info)
            self.duration.observe(self._clock.monotonic() - started)
            if choice.node:
                self._assume(waiting.info, choice.node)
                scope.start(self._bind(waiting, choice), f"bind/{waiting.info.key}")
            else:
                self._queue.park(waiting)
                scope.start(self._report(waiting.info, choice), f"report/{waiting.info.key}")

    def _assume(self, info: PodInfo, node: str) -> None:
        self._assumed.add(info.uid)
        self._snapshot.add_pod(info, node)
        self._queue.settle(info.uid)

    async def _bind(self, waiting: Waiting, choice: Choice) -> None:
        info = waiting.info
        meta = info.pod.metadata
        body = {
            "kind": "Binding",
            "apiVersion": "v1",
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"kind": "Node", "name": choice.node},
        }
        try:
            await self._client.create(
                Pod, body, meta.namespace, name=meta.name, subresource="binding"
            )
        except (ApiError, OSError, TimeoutError) as error:
            self._unassume(waiting, error)
        else:
            self.attempts.inc("scheduled")
            self._recorder.event(
                info.pod,
                "Normal",
                "Scheduled",
                f"Successfully assigned {meta.namespace}/{meta.name} to {choice.node}",
            )
        finally:
            self._slots.release()

    def _unassume(self, waiting: Waiting, error: Exception) -> None:
        """The binding failed: the room is free again, the pod tries once more or is gone."""
        uid = waiting.info.uid
        self.attempts.inc("error")
        if uid not in self._assumed:
            return  # bound or deleted in the meantime
        self._assumed.discard(uid)
        self._snapshot.remove_pod(uid)
        self._queue.wake_all()
        if is_reason(error, "NotFound"):
            self._queue.remove(uid)
            return
        _log.warning("binding failed, will retry", pod=waiting.info.key, error=str(error))
        self._queue.retry(waiting)

    async def _report(self, info: PodInfo, choice: Choice) -> None:
        """Tell the pod why it waits: an event and its PodScheduled condition."""
        self.attempts.inc("unschedulable")
        try:
            message = choice.message
            self._recorder.event(info.pod, "Warning", "FailedScheduling", message)
            known = next((c for c in info.pod.status.conditions if c.type == "PodScheduled"), None)
            meta = info.pod.metadata
            told = ("False", "Unschedulable", message, meta.generation)
            if known is not None and told == (
                known.status,
                known.reason,
                known.message,
                known.observed_generation,
            ):
                return
            now = render_time(self._clock.now())
            since = (
                known.last_transition_time if known is not None and known.status == "False" else ""
            )
            condition = {
                "type": "PodScheduled",
                "observedGeneration": meta.generation,
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
                "lastTransitionTime": since or now,
            }
            await self._client.patch(
                Pod,
                meta.name,
                {"metadata": {"uid": meta.uid}, "status": {"conditions": [condition]}},
                meta.namespace,
                kind="strategic",
                subresource="status",
            )
        except (ApiError, OSError, TimeoutError) as error:
            # The condition is for people; the pod is parked and will be decided on again.
            _log.debug("condition not written", pod=info.key, error=str(error))
        finally:
            self._slots.release()


def _schedulable_part(node: Node) -> tuple[object, ...]:
    """What about a node can change a decision; heartbeats do not."""
    return (
        node.metadata.labels,
        node.spec.taints,
        node.spec.unschedulable,
        node.status.allocatable,
        node.status.images,
    )


def _placed_part(pod: Pod) -> tuple[object, ...]:
    """What about a placed pod others can notice, beside its node."""
    return (
        pod.metadata.labels,
        bool(pod.metadata.deletion_timestamp),
        tuple(c.resources for c in pod.spec.containers),
    )
