"""Eviction by taint: pods leave nodes whose NoExecute taints they do not tolerate.

Reads: pods, nodes. Writes: pod deletions, the DisruptionTarget condition.
Invariants: a pod that tolerates all taints without limit is never touched; one with limits goes
after the shortest, counted from when the taint was added.
Upstream: kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kutter.api.errors import ApiError, is_reason
from kutter.api.taints import tolerates
from kutter.api.types.core_v1 import Node, Pod, Taint, Toleration
from kutter.base.clock import Clock, parse_time, render_time
from kutter.client.client import Client
from kutter.controllers.pods import write_pod_condition
from kutter.machinery.controller import Change, Result, Source, own_key
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import InformerFactory, key_of


def eviction_deadline(
    taints: Sequence[Taint], tolerations: Sequence[Toleration], now: datetime
) -> datetime | None:
    """When a pod has to go: now, later, or never (None). Pure."""
    deadline: datetime | None = None
    for taint in taints:
        if taint.effect != "NoExecute":
            continue
        matching = [t for t in tolerations if tolerates(t, taint)]
        if not matching:
            return now
        limits = [t.toleration_seconds for t in matching if t.toleration_seconds is not None]
        if not limits:
            continue
        added = parse_time(taint.time_added) if taint.time_added else now
        goes = datetime.fromtimestamp(added.timestamp() + max(0, min(limits)), tz=added.tzinfo)
        deadline = goes if deadline is None else min(deadline, goes)
    return deadline


class TaintEvictionController:
    name = "taint-eviction"

    def __init__(
        self, client: Client, informers: InformerFactory, recorder: EventRecorder, clock: Clock
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._pods = informers.informer(Pod)
        self._nodes = informers.informer(Node)
        self._pods.add_index("node", lambda p: (p.spec.node_name,) if p.spec.node_name else ())

    def sources(self) -> Sequence[Source]:
        return [Source(self._pods, self._pod_keys), Source(self._nodes, self._node_keys)]

    def _pod_keys(self, change: Change[Pod]) -> Sequence[str]:
        new = change.new
        if new is None or not new.spec.node_name:
            return ()
        node = self._nodes.get(new.spec.node_name)
        if node is None or not any(t.effect == "NoExecute" for t in node.spec.taints):
            return ()
        return tuple(own_key(change))

    def _node_keys(self, change: Change[Node]) -> Sequence[str]:
        new, old = change.new, change.old
        if new is None or (old is not None and old.spec.taints == new.spec.taints):
            return ()
        if not any(t.effect == "NoExecute" for t in new.spec.taints):
            return ()
        return [key_of(p) for p in self._pods.by_index("node", new.metadata.name)]

    async def reconcile(self, key: str) -> Result:
        pod = self._pods.get(key)
        if pod is None or pod.metadata.deletion_timestamp or not pod.spec.node_name:
            return Result()
        node = self._nodes.get(pod.spec.node_name)
        if node is None:
            return Result()
        now = self._clock.now()
        deadline = eviction_deadline(node.spec.taints, pod.spec.tolerations, now)
        if deadline is None:
            return Result()
        left = (deadline - now).total_seconds()
        if left > 0:
            return Result("it tolerates its node's taints a little longer", left)
        await self._evict(pod)
        return Result("its node has a taint it does not tolerate")

    async def _evict(self, pod: Pod) -> None:
        meta = pod.metadata
        self._recorder.event(
            pod,
            "Normal",
            "TaintManagerEviction",
            f"Marking for deletion Pod {meta.namespace}/{meta.name}",
        )
        condition = {
            "type": "DisruptionTarget",
            "observedGeneration": pod.metadata.generation,
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": render_time(self._clock.now()),
        }
        if not await write_pod_condition(self._client, pod, condition):
            return
        try:
            await self._client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
        except ApiError as error:
            if not is_reason(error, "NotFound", "Conflict"):
                raise
