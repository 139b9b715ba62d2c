"""In-place resize: what a pod may have on this node, and what its containers still lack. Pure.

Between the API's wish (``spec`` as it is now) and what the node has granted. Laws: a pod runs,
is counted and is shown with what was *granted*; a wish is granted whole or not at all; one that
others leave no room for is deferred and judged again. (The API refuses what can never fit.)
Upstream: https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec

from kutter.api.types.core_v1 import Container as ContainerSpec
from kutter.api.types.core_v1 import ContainerStatus, Pod, ResourceRequirements
from kutter.runtime.cri import Resources

DEFERRED, ERROR = "Deferred", "Error"
PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"

Grants = Mapping[str, ResourceRequirements]


class Stage(NamedTuple):
    """One of the two resize conditions, for the generation of the spec it is about."""

    reason: str
    message: str
    generation: int


@dataclass(frozen=True, slots=True)
class ResizeFacts:
    """How far a pod's resize is. ``waiting``: asked for, not granted; ``acting``: granted."""

    waiting: Stage | None = None
    acting: Stage | None = None

    @property
    def deferred(self) -> bool:
        return self.waiting is not None and self.waiting.reason == DEFERRED

    def granted(self, generation: int) -> ResizeFacts:
        """The wish was granted and is to be carried out."""
        return ResizeFacts(acting=Stage("", "", generation))

    def failed(self, message: str) -> ResizeFacts:
        """Carrying it out went wrong; it is tried again."""
        if self.acting is None:
            return self
        return replace(self, acting=Stage(ERROR, message, self.acting.generation))


NO_RESIZE = ResizeFacts()


def resizable(pod: Pod) -> list[ContainerSpec]:
    """The containers whose resources may change while they run: the main ones and sidecars."""
    sidecars = [c for c in pod.spec.init_containers if c.restart_policy == "Always"]
    return [*sidecars, *pod.spec.containers]


def grants_of(pod: Pod) -> dict[str, ResourceRequirements]:
    """What the spec asks for, by container."""
    return {spec.name: spec.resources for spec in resizable(pod)}


def grants_told(pod: Pod) -> dict[str, ResourceRequirements]:
    """What had been granted by the agent before us, as the API's status tells it."""
    told = {
        s.name: s for s in (*pod.status.container_statuses, *pod.status.init_container_statuses)
    }
    return {spec.name: _told(told.get(spec.name), spec.resources) for spec in resizable(pod)}


def _told(status: ContainerStatus | None, wanted: ResourceRequirements) -> ResourceRequirements:
    if status is None or status.resources is None:
        return wanted
    requests = dict(status.allocated_resources or status.resources.requests)
    return msgspec.structs.replace(
        wanted,
        requests=_only_sized(wanted.requests, requests),
        limits=_only_sized(wanted.limits, status.resources.limits),
    )


def _only_sized(wanted: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
    """CPU and memory as told; nothing else can change in place."""
    kept = {name: text for name, text in wanted.items() if name not in ("cpu", "memory")}
    return kept | {name: text for name, text in told.items() if name in ("cpu", "memory")}


def with_grants(pod: Pod, grants: Grants) -> Pod:
    """The pod with what was granted to it instead of what it asks for."""
    if grants == grants_of(pod):
        return pod

    def granted(specs: Iterable[ContainerSpec]) -> tuple[ContainerSpec, ...]:
        return tuple(
            msgspec.structs.replace(spec, resources=grants.get(spec.name, spec.resources))
            for spec in specs
        )

    spec = msgspec.structs.replace(
        pod.spec,
        containers=granted(pod.spec.containers),
        init_containers=granted(pod.spec.init_containers),
    )
    return msgspec.structs.replace(pod, spec=spec)


def changed_resources(wanted: Resources, actual: Resources) -> tuple[str, ...]:
    """Which of cpu and memory a running container does not have as it should."""
    names = []
    if (wanted.cpu_shares, wanted.cpu_quota_us) != (actual.cpu_shares, actual.cpu_quota_us):
        names.append("cpu")
    if wanted.memory_limit_bytes != actual.memory_limit_bytes:
        names.append("memory")
    return tuple(names)


def needs_restart(spec: ContainerSpec, changed: Iterable[str]) -> bool:
    """Whether the container wants to be made anew for a change of one of these."""
    policies = {policy.resource_name: policy.restart_policy for policy in spec.resize_policy}
    return any(policies.get(name) == "RestartContainer" for name in changed)


def render_summary(pod: Pod, generation: int, error: str = "") -> str:
    """What an event about a resize says of the pod's resources."""
    tree: dict[str, Any] = {}
    for key, specs in (
        ("initContainers", pod.spec.init_containers),
        ("containers", pod.spec.containers),
    ):
        if specs:
            tree[key] = [{"name": s.name, "resources": s.resources.tree()} for s in specs]
    tree["generation"] = generation
    if error:
        tree["error"] = error
    return json.dumps(tree, separators=(",", ":"))
