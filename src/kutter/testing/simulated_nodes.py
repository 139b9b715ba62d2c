"""Nodes that run nothing: they take pods through a declared life cycle.

A life cycle is a list of :class:`Stage` values: which pods, after how long, what happens. Like
kwok's stages, but plain Python. The nodes keep their leases, so the node controller trusts them.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.selectors import parse_labels
from kutter.api.types.coordination_v1 import Lease
from kutter.api.types.core_v1 import Node, Pod
from kutter.base.clock import SYSTEM_CLOCK, Clock, render_micro_time, render_time
from kutter.base.rng import SYSTEM_RNG, Rng
from kutter.base.tasks import Scope
from kutter.client.client import Client
from kutter.machinery.informer import Change, Informer

LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
RENEW_EVERY_S = 10.0

StatusOf = Callable[[Pod, "PodFacts"], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a simulated node knows beside the pod itself."""

    node_address: str
    pod_address: str
    now: str


@dataclass(frozen=True, slots=True)
class Stage:
    """``status`` makes a status patch, or the pod is removed; the first that matches acts.

    ``phase`` is the pod's phase it applies to ("" for any), ``selector`` a label selector,
    ``deleting`` whether the pod is being deleted.
    """

    name: str
    phase: str = ""
    selector: str = ""
    deleting: bool = False
    delay_s: float = 0.0
    jitter_s: float = 0.0
    status: StatusOf | None = None
    remove: bool = False

    def matches(self, pod: Pod) -> bool:
        if bool(pod.metadata.deletion_timestamp) != self.deleting:
            return False
        if self.phase and pod.status.phase != self.phase:
            return False
        return not self.selector or parse_labels(self.selector).matches(pod.metadata.labels)


def running(pod: Pod, facts: PodFacts) -> dict[str, Any]:
    """Status of a pod whose containers all run and are ready."""
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
    return {
        "phase": "Running",
        "hostIP": facts.node_address,
        "hostIPs": [{"ip": facts.node_address}],
        "podIP": facts.pod_address,
        "podIPs": [{"ip": facts.pod_address}],
        "startTime": facts.now,
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": facts.now} for kind in conditions
        ],
        "containerStatuses": [
            {
                "name": c.name,
                "image": c.image,
                "imageID": f"simulated://{c.image}",
                "containerID": f"simulated://{pod.metadata.uid}/{c.name}",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": facts.now}},
                # Without these a node counts as one that cannot resize.
                "resources": c.resources.tree(),
                **({"allocatedResources": c.resources.requests} if c.resources.requests else {}),
            }
            for c in pod.spec.containers
        ],
    }


def finished(exit_code: int = 0) -> StatusOf:
    """Status of a pod whose containers have all ended with ``exit_code``."""
    succeeded = exit_code == 0

    def status(pod: Pod, facts: PodFacts) -> dict[str, Any]:
        ended = {
            "exitCode": exit_code,
            "reason": "Completed" if succeeded else "Error",
            "startedAt": facts.now,
            "finishedAt": facts.now,
        }
        return {
            "phase": "Succeeded" if succeeded else "Failed",
            "conditions": [
                {
                    "type": kind,
                    "status": "False",
                    "reason": "PodCompleted" if succeeded else "PodFailed",
                    "lastTransitionTime": facts.now,
                }
                for kind in ("Ready", "ContainersReady")
            ],
            "containerStatuses": [
                {
                    "name": c.name,
                    "image": c.image,
                    "imageID": f"simulated://{c.image}",
                    "ready": False,
                    "started": False,
                    "restartCount": 0,
                    "state": {"terminated": ended},
                }
                for c in pod.spec.containers
            ],
        }

    return status


# Pods start at once, run for ever and go at once when deleted.
DEFAULT_LIFE_CYCLE: tuple[Stage, ...] = (
    Stage("removed", deleting=True, remove=True),
    Stage("started", phase="Pending", status=running),
)


class SimulatedNodes:
    """``count`` nodes named ``<prefix>-0`` ...; run it in a scope."""

    def __init__(
        self,
        client: Client,
        count: int,
        *,
        prefix: str = "sim",
        life_cycle: Sequence[Stage] = DEFAULT_LIFE_CYCLE,
        capacity: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: Rng = SYSTEM_RNG,
    ) -> None:
        self.names = tuple(f"{prefix}-{index}" for index in range(count))
        self._client = client
        self._life_cycle = tuple(life_cycle)
        self._capacity = capacity or {"cpu": "32", "memory": "256Gi", "pods": "250"}
        self._labels = labels or {}
        self._clock = clock
        self._rng = rng
        self._members = frozenset(self.names)
        self._indexes = {name: index for index, name in enumerate(self.names)}
        self._addresses = iter(ipaddress.ip_network("10.128.0.0/9").hosts())
        self._pods: Informer[Pod] = Informer(client, Pod, clock=clock)
        self._pending: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._silent: set[str] = set()

    async def run(self) -> None:
        """Register the nodes, then serve until cancelled."""
        for name in self.names:
            await self._register(name)
        async with Scope("simulated-nodes") as scope:
            self._pods.on_event(lambda change: self._changed(scope, change))
            scope.start(self._pods.run(), "pods")
            scope.start(self._renew(), "leases")
            await scope.wait_failed()

    def silence(self, name: str) -> None:
        """Let one node stop renewing its lease and serving pods, as if it had lost power."""
        self._silent.add(name)

    def wake(self, name: str) -> None:
        """Undo :meth:`silence`."""
        self._silent.discard(name)

    def address_of(self, name: str) -> str:
        index = self._indexes[name]
        return f"192.168.{index // 250}.{index % 250 + 1}"

    async def _register(self, name: str) -> None:
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            **self._labels,
        }
        tree = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "labels": labels}}
        try:
            await self._client.create(Node, tree)
        except ApiError as error:
            if not is_reason(error, "AlreadyExists"):
                raise
        await self._write_lease(name)
        now = render_time(self._clock.now())
        healthy = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False"}
        status = {
            "capacity": self._capacity,
            "allocatable": self._capacity,
            "addresses": [
                {"type": "InternalIP", "address": self.address_of(name)},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {
                "machineID": name,
                "systemUUID": name,
                "bootID": name,
                "kubeProxyVersion": "",
                "kubeletVersion": "v1.36.0",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "containerRuntimeVersion": "simulated://1",
                "kernelVersion": "simulated",
                "osImage": "simulated",
            },
            "conditions": [
                {
                    "type": kind,
                    "status": value,
                    "reason": "Simulated",
                    "message": "this node runs nothing",
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": now,
                }
                for kind, value in (*healthy.items(), ("PIDPressure", "False"))
            ],
        }
        await self._client.patch(
            Node, name, {"status": status}, kind="strategic", subresource="status"
        )

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(RENEW_EVERY_S)
            for name in self.names:
                if name not in self._silent:
                    await self._write_lease(name)

    async def _write_lease(self, name: str) -> None:
        now = render_micro_time(self._clock.now())
        try:
            body = {"spec": {"renewTime": now}}
            await self._client.patch(Lease, name, body, LEASE_NAMESPACE)
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise
            tree = {
                "kind": "Lease",
                "apiVersion": "coordination.k8s.io/v1",
                "metadata": {"name": name, "namespace": LEASE_NAMESPACE},
                "spec": {
                    "holderIdentity": name,
                    "leaseDurationSeconds": LEASE_SECONDS,
                    "renewTime": now,
                },
            }
            await self._client.create(Lease, tree, LEASE_NAMESPACE)

    def _changed(self, scope: Scope, change: Change[Pod]) -> None:
        pod = change.new
        known = change.any
        uid = known.metadata.uid
        if pod is None or pod.spec.node_name not in self._members:
            self._cancel(uid)
            return
        stage = next((s for s in self._life_cycle if s.matches(pod)), None)
        planned = self._pending.get(uid)
        if planned is not None and (stage is None or planned[0] != stage.name):
            self._cancel(uid)
            planned = None
        if stage is not None and planned is None:
            task = scope.start(self._play(stage, change.key, uid), f"{stage.name}/{change.key}")
            self._pending[uid] = (stage.name, task)

    def _cancel(self, uid: str) -> None:
        planned = self._pending.pop(uid, None)
        if planned is not None:
            planned[1].cancel()

    async def _play(self, stage: Stage, key: str, uid: str) -> None:
        delay = stage.delay_s + (self._rng.uniform(0, stage.jitter_s) if stage.jitter_s else 0)
        if delay:
            await self._clock.sleep(delay)
        pod = self._pods.get(key)
        self._pending.pop(uid, None)
        if pod is None or pod.metadata.uid != uid or pod.spec.node_name in self._silent:
            return
        meta = pod.metadata
        try:
            if stage.remove:
                await self._client.delete(Pod, meta.name, meta.namespace, grace_period_s=0, uid=uid)
            if stage.status is not None:
                body = {"metadata": {"uid": uid}, "status": stage.status(pod, self._facts(pod))}
                await self._client.patch(
                    Pod, meta.name, body, meta.namespace, kind="strategic", subresource="status"
                )
        except ApiError as error:
            if not is_reason(error, "NotFound", "Conflict"):
                raise

    def _facts(self, pod: Pod) -> PodFacts:
        return PodFacts(
            node_address=self.address_of(pod.spec.node_name),
            pod_address=pod.status.pod_ip or str(next(self._addresses)),
            now=render_time(self._clock.now()),
        )
