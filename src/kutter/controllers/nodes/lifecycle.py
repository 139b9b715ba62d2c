"""Node health: a lease that is not renewed makes a node unknown; conditions become taints.

Owns: health conditions of silent nodes, the ``node.kubernetes.io/*`` condition taints. Reads:
nodes, leases, pods. Writes: nodes, Ready=False on pods of nodes that are down.
Invariants: time is counted from when *we* saw the last renewal, so clocks need not agree; while
every node is down nothing is marked for eviction (then it is us who are cut off).
Upstream: kubernetes.io/docs/concepts/architecture/nodes
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.coordination_v1 import Lease
from kutter.api.types.core_v1 import Node, Pod
from kutter.base.clock import Clock, render_time
from kutter.client.client import Client
from kutter.controllers.pods import write_pod_condition
from kutter.machinery.controller import Change, Result, Source, own_key
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import InformerFactory

GRACE_S = 50.0
STARTUP_GRACE_S = 60.0
LEASES = "kube-node-lease"
# Evictions are paced: one node in ten seconds gets its NoExecute taint.
PACE_S = 10.0

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_CONDITION_TAINTS = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_MANAGED = frozenset({*_CONDITION_TAINTS.values(), NOT_READY, UNREACHABLE, UNSCHEDULABLE})
_HEALTH = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def ready_status(node: Node) -> str:
    """True, False, Unknown; Unknown if the condition is missing."""
    return next((c.status for c in node.status.conditions if c.type == "Ready"), "Unknown")


def plan_taints(node: Node, *, evict: bool, now: str) -> list[dict[str, Any]] | None:
    """The taint list the node should have; None if it has it. Pure.

    ``evict`` allows the NoExecute taint to be added (it is kept where it is).
    """
    ready = ready_status(node)
    wanted: list[tuple[str, str]] = []
    if node.spec.unschedulable:
        wanted.append((UNSCHEDULABLE, "NoSchedule"))
    wanted += [
        (_CONDITION_TAINTS[c.type], "NoSchedule")
        for c in node.status.conditions
        if c.type in _CONDITION_TAINTS and c.status == "True"
    ]
    down = {"False": NOT_READY, "Unknown": UNREACHABLE}.get(ready)
    if down is not None:
        wanted.append((down, "NoSchedule"))
        was_there = any(
            t.effect == "NoExecute" and t.key in (NOT_READY, UNREACHABLE) for t in node.spec.taints
        )
        if evict or was_there:
            wanted.append((down, "NoExecute"))
    have = {(t.key, t.effect): t for t in node.spec.taints}
    mine = {k for k in have if k[0] in _MANAGED}
    if mine == set(wanted):
        return None
    taints = [t.tree() for k, t in have.items() if k not in mine or k in wanted]
    for key, effect in wanted:
        if (key, effect) not in have:
            taint = {"key": key, "effect": effect}
            if effect == "NoExecute":
                taint["timeAdded"] = now
            taints.append(taint)
    return taints


class NodeLifecycleController:
    name = "node-lifecycle"

    def __init__(
        self, client: Client, informers: InformerFactory, recorder: EventRecorder, clock: Clock
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._nodes = informers.informer(Node)
        self._leases = informers.informer(Lease, namespace=LEASES)
        self._pods = informers.informer(Pod)
        self._pods.add_index("node", lambda p: (p.spec.node_name,) if p.spec.node_name else ())
        self._seen: dict[str, float] = {}
        self._next_eviction = 0.0

    def sources(self) -> Sequence[Source]:
        return [Source(self._nodes, self._node_keys), Source(self._leases, self._lease_keys)]

    def _node_keys(self, change: Change[Node]) -> Sequence[str]:
        if change.new is None:
            self._seen.pop(change.key, None)
        elif change.key not in self._seen:
            self._seen[change.key] = self._clock.monotonic() + STARTUP_GRACE_S - GRACE_S
        return tuple(own_key(change))

    def _lease_keys(self, change: Change[Lease]) -> Sequence[str]:
        """A renewal only moves the deadline; the node is looked at when it is marked silent."""
        if change.new is None:
            return ()
        name = change.new.metadata.name
        old = change.old.spec.renew_time if change.old is not None else None
        if change.new.spec.renew_time != old:
            self._seen[name] = self._clock.monotonic()
        return ()

    async def reconcile(self, key: str) -> Result:
        node = self._nodes.get(key)
        if node is None:
            return Result()
        left = self._seen.get(key, 0.0) + GRACE_S - self._clock.monotonic()
        if left <= 0 and ready_status(node) != "Unknown":
            node = await self._mark_silent(node)
        elif left <= 0:
            left = GRACE_S
        ready = ready_status(node)
        wait = await self._taint(node)
        if ready != "True":
            await self._mark_pods(node)
        delays = [d for d in (wait, left if left > 0 else None) if d is not None]
        return Result(
            f"it is {'ready' if ready == 'True' else 'not ready'}", min(delays, default=None)
        )

    async def _mark_silent(self, node: Node) -> Node:
        now = render_time(self._clock.now())
        known = {c.type: c for c in node.status.conditions}
        conditions = []
        for kind in _HEALTH:
            before = known.get(kind)
            heard = before is not None
            conditions.append(
                {
                    "type": kind,
                    "status": "Unknown",
                    "reason": "NodeStatusUnknown" if heard else "NodeStatusNeverUpdated",
                    "message": "Kubelet stopped posting node status."
                    if heard
                    else "Kubelet never posted node status.",
                    "lastHeartbeatTime": before.last_heartbeat_time if before else now,
                    "lastTransitionTime": now,
                }
            )
        await self._client.patch(
            Node,
            node.metadata.name,
            {"status": {"conditions": conditions}},
            kind="strategic",
            subresource="status",
        )
        self._recorder.event(
            node, "Normal", "NodeNotReady", f"Node {node.metadata.name} status is now: NodeNotReady"
        )
        return await self._client.get(Node, node.metadata.name)

    async def _taint(self, node: Node) -> float | None:
        """Bring the taints in line; answers seconds to wait for the pace of evictions."""
        now = self._clock.monotonic()
        # Only of a node that is down the others are of interest: asking costs a look at each.
        wants_evict = ready_status(node) != "True" and any(
            ready_status(n) == "True"
            for n in self._nodes.items()
            if n.metadata.name != node.metadata.name
        )
        evict = wants_evict and now >= self._next_eviction
        taints = plan_taints(node, evict=evict, now=render_time(self._clock.now()))
        if taints is not None:
            meta = node.metadata
            try:
                await self._client.patch(
                    Node,
                    meta.name,
                    {
                        "metadata": {"resourceVersion": meta.resource_version},
                        "spec": {"taints": taints or None},
                    },
                )
            except ApiError as error:
                if not is_reason(error, "NotFound"):
                    raise
            if evict:
                self._next_eviction = now + PACE_S
        has_mark = any(t.effect == "NoExecute" for t in node.spec.taints)
        if wants_evict and not evict and not has_mark:
            return self._next_eviction - now
        return None

    async def _mark_pods(self, node: Node) -> None:
        """Pods of a node that is down are not ready, whatever they last said."""
        now = render_time(self._clock.now())
        for pod in self._pods.by_index("node", node.metadata.name):
            if not any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions):
                continue
            condition = {"type": "Ready", "status": "False", "lastTransitionTime": now}
            if await write_pod_condition(self._client, pod, condition):
                self._recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")
