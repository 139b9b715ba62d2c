"""What all workers of one node share. A value without behaviour; made by the agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from kutter.api.types.core_v1 import Pod, Service
from kutter.base.clock import Clock
from kutter.base.rng import Rng
from kutter.base.tasks import Scope
from kutter.client.client import Client
from kutter.machinery.events import EventRecorder
from kutter.node.dns import NodeDns
from kutter.node.images import ImagePuller
from kutter.node.options import NodeOptions
from kutter.node.references import References
from kutter.node.runtime_view import RuntimeView
from kutter.node.volumes.pod_volumes import Mounts
from kutter.runtime.cri import ContainerRuntime, Resources


class PodCgroups(Protocol):
    """The cgroups of pods; :mod:`kutter.node.cgroups` makes them in the kernel."""

    def create(self, group: str, resources: Resources) -> None: ...
    def remove(self, group: str) -> None: ...


@dataclass(slots=True)
class NodeKit:
    """``services`` answers all services; ``allocatable`` are the node's amounts.

    ``drained(namespace, name, timeout_s)`` waits until no new connection is led to the pod.
    ``fits(pod)`` answers why a pod would not fit beside the node's others; None when it does.
    """

    options: NodeOptions
    client: Client
    runtime: ContainerRuntime
    view: RuntimeView
    puller: ImagePuller
    references: References
    mounts: Mounts
    cgroups: PodCgroups
    recorder: EventRecorder
    scope: Scope
    clock: Clock
    rng: Rng
    dns: NodeDns
    hostname: str
    services: Callable[[], tuple[Service, ...]]
    drained: Callable[[str, str, float], Awaitable[None]]
    fits: Callable[[Pod], str | None]
    allocatable: Mapping[str, Fraction] = field(default_factory=dict)
    memory_capacity_bytes: int = 0
