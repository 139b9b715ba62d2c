"""Pods nobody will finish: bound to nodes that are gone, or deleted before they were bound.

Reads: pods, nodes. Writes: pod deletions without grace, phase Failed for lost ones.
Upstream: kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-garbage-collection
"""

from __future__ import annotations

from collections.abc import Sequence

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.core_v1 import Node, Pod
from kutter.base.clock import Clock, parse_time, render_time
from kutter.client.client import Client
from kutter.controllers.pods import write_pod_condition
from kutter.machinery.controller import Change, Result, Source
from kutter.machinery.informer import InformerFactory

# A node must be gone this long before its pods are given up: it may be re-registering.
QUARANTINE_S = 40.0
TERMINATED_LIMIT = 12_500


class PodGarbageCollector:
    name = "podgc"

    def __init__(self, client: Client, informers: InformerFactory, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._pods = informers.informer(Pod)
        self._nodes = informers.informer(Node)
        self._missing_since: dict[str, float] = {}
        self._pods.add_index("node", lambda p: (p.spec.node_name,) if p.spec.node_name else ())

    def sources(self) -> Sequence[Source]:
        return [Source(self._pods, self._pod_keys), Source(self._nodes, self._node_keys)]

    def _pod_keys(self, change: Change[Pod]) -> Sequence[str]:
        """Those that may have to go: of most changes it is plain that nothing follows."""
        pod = change.new
        if pod is None:
            return ()
        if not pod.spec.node_name:
            return (change.key,) if pod.metadata.deletion_timestamp else ()
        if pod.status.phase in ("Succeeded", "Failed") or pod.spec.node_name not in self._nodes:
            return (change.key,)
        return ()

    def _node_keys(self, change: Change[Node]) -> Sequence[str]:
        name = change.key
        if change.new is not None:
            self._missing_since.pop(name, None)
            return ()
        return [
            f"{p.metadata.namespace}/{p.metadata.name}" for p in self._pods.by_index("node", name)
        ]

    async def reconcile(self, key: str) -> Result:
        pod = self._pods.get(key)
        if pod is None:
            return Result()
        node = pod.spec.node_name
        if not node:
            return await self._remove_unbound(pod)
        if pod.status.phase in ("Succeeded", "Failed") and len(self._pods) > TERMINATED_LIMIT:
            return await self._trim()
        if self._nodes.get(node) is not None:
            return Result()
        now = self._clock.monotonic()
        since = self._missing_since.setdefault(node, now)
        left = QUARANTINE_S - (now - since)
        if left > 0:
            return Result(f"its node {node} is gone, waiting a little", left)
        try:
            await self._client.get(Node, node)
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise
        else:
            return Result()
        await self._mark_failed(pod)
        await self._remove(pod)
        return Result(f"its node {node} is gone")

    async def _remove_unbound(self, pod: Pod) -> Result:
        """A deleted pod no node will ever finish. Raises ApiError."""
        meta = pod.metadata
        if not meta.deletion_timestamp:
            return Result()
        if pod.status.phase not in ("Succeeded", "Failed"):
            await write_pod_condition(self._client, pod, None, phase="Failed")
        if meta.deletion_grace_period_seconds == 0:
            return Result("it was deleted before it was bound; its finalizers are waited for")
        await self._remove(pod)
        return Result("it was deleted before it was bound")

    async def _trim(self) -> Result:
        done = [p for p in self._pods.items() if p.status.phase in ("Succeeded", "Failed")]
        excess = len(done) - TERMINATED_LIMIT
        if excess <= 0:
            return Result()
        done.sort(key=lambda p: parse_time(p.metadata.creation_timestamp))
        for pod in done[:excess]:
            await self._remove(pod)
        return Result(f"removed {excess} finished pods beyond {TERMINATED_LIMIT}")

    async def _mark_failed(self, pod: Pod) -> None:
        if pod.status.phase in ("Succeeded", "Failed"):
            return
        condition = {
            "type": "DisruptionTarget",
            "observedGeneration": pod.metadata.generation,
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
            "lastTransitionTime": render_time(self._clock.now()),
        }
        await write_pod_condition(self._client, pod, condition, phase="Failed")

    async def _remove(self, pod: Pod) -> None:
        meta = pod.metadata
        try:
            await self._client.delete(
                Pod, meta.name, meta.namespace, grace_period_s=0, uid=meta.uid
            )
        except ApiError as error:
            if not is_reason(error, "NotFound", "Conflict"):
                raise
