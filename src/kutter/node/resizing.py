"""Resizes one pod in place: grants what fits, has containers changed, tells how far it is.

The acting half of :mod:`kutter.node.resize`, between a pod's worker, the other pods of the node
and the runtime. Laws: the worker only ever sees the pod with what was granted; what containers
have is the runtime's word, so an agent that was away carries on where another one stopped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from kutter.api.types.core_v1 import Container as ContainerSpec
from kutter.api.types.core_v1 import Pod, ResourceRequirements
from kutter.node.resize import (
    DEFERRED,
    NO_RESIZE,
    ResizeFacts,
    Stage,
    changed_resources,
    grants_of,
    grants_told,
    needs_restart,
    render_summary,
    resizable,
    with_grants,
)
from kutter.node.resources import container_resources, pod_cgroup, pod_resources
from kutter.runtime.cri import Container, ContainerState, CriError, Resources

if TYPE_CHECKING:
    from kutter.node.facts import PodFacts
    from kutter.node.pod_worker import PodWorker

RETRY_S = 5.0
# A deferred resize is judged again whenever a pod of the node ends, and this often besides.
JUDGE_AGAIN_S = 30.0


class PodResize:
    """One pod's. ``stage`` is what its conditions tell."""

    def __init__(self, worker: PodWorker, pod: Pod) -> None:
        self._worker = worker
        self._wanted = pod
        self._grants = grants_told(pod)
        # What containers were last seen to have as they should, by id.
        self._right: dict[str, tuple[ResourceRequirements, Resources]] = {}
        self.stage: ResizeFacts = NO_RESIZE

    @property
    def judge_at(self) -> float:
        """When a deferred resize wants to be judged again (0: there is none)."""
        return self._judge_at if self.stage.deferred else 0.0

    _judge_at = 0.0

    def take(self, pod: Pod) -> Pod:
        """The pod as the API has it now; answers what it may have of that."""
        self._wanted = pod
        return self.judge()

    def granted_pod(self) -> Pod:
        """The pod with what was granted to it so far."""
        return with_grants(self._wanted, self._grants)

    def judge(self) -> Pod:
        """Grant what is asked for if it fits; answers the pod with what it may have."""
        self._judge()
        return self.granted_pod()

    def judge_again(self, now: float) -> Pod | None:
        """The pod with more than before, if a deferred resize can be granted by now."""
        if not self.stage.deferred or now < self._judge_at:
            return None
        return self.judge()

    def room_came(self) -> None:
        """Another pod of the node ended."""
        if self.stage.deferred:
            self._judge_at = 0.0
            self._worker.wake()

    def _judge(self) -> None:
        worker, pod = self._worker, self._wanted
        wanted = grants_of(pod)
        if wanted == self._grants:
            if self.stage.waiting is not None:
                self.stage = ResizeFacts(acting=self.stage.acting)
            return
        if worker.terminating or worker.ended:
            return
        generation = pod.metadata.generation
        refusal = worker.kit.fits(pod)
        if refusal is None:
            self._grants = wanted
            self.stage = self.stage.granted(generation)
            self._tell("Normal", "ResizeStarted", "Pod resize started", generation)
            return
        self._judge_at = worker.kit.clock.now().timestamp() + JUDGE_AGAIN_S
        waiting = Stage(DEFERRED, refusal, generation)
        if waiting != self.stage.waiting:
            self.stage = ResizeFacts(waiting, self.stage.acting)
            self._tell("Warning", "ResizeDeferred", "Pod resize Deferred", generation, refusal)

    def _tell(self, kind: str, reason: str, text: str, generation: int, error: str = "") -> None:
        summary = render_summary(self._wanted, generation, error)
        self._worker.event(kind, reason, f"{text}: {summary}")

    # Carrying it out

    def lacking(
        self, containers: Mapping[str, tuple[Container, ...]]
    ) -> dict[str, tuple[str, ...]]:
        """Which running containers do not have what they should: cpu, memory, by name."""
        found = {}
        for spec in resizable(self._worker.pod):
            runs = containers.get(spec.name)
            if not runs or runs[0].state is not ContainerState.RUNNING:
                continue
            run = runs[0]
            known = self._right.get(run.id)
            if known is not None and known[0] is spec.resources and known[1] is run.resources:
                continue
            changed = changed_resources(self._resources(spec), run.resources)
            if changed:
                found[spec.name] = changed
            else:
                self._right[run.id] = (spec.resources, run.resources)
        return found

    def restarts(self, lacking: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
        """Those that are made anew for it."""
        if not lacking:
            return frozenset()
        specs = resizable(self._worker.pod)
        return frozenset(s.name for s in specs if needs_restart(s, lacking.get(s.name, ())))

    def follow(self, facts: PodFacts) -> None:
        """Begin what is to do; say when it is done."""
        worker = self._worker
        if facts.termination is not None:
            return
        for spec in resizable(worker.pod):
            key = f"resize/{spec.name}"
            run = facts.current(spec.name)
            if (
                run is None
                or spec.name not in facts.lacking
                or spec.name in facts.resize_restarts
                or key in facts.busy
            ):
                continue
            worker.operations.begin(key, self._change(spec, run))
        acting = self.stage.acting
        if acting is None or facts.lacking or _is_making(facts.busy):
            return
        self._size_pod()
        self.stage = ResizeFacts(self.stage.waiting)
        self._tell("Normal", "ResizeCompleted", "Pod resize completed", acting.generation)

    def forget(self, run: Container) -> None:
        """The run was removed."""
        self._right.pop(run.id, None)

    def _resources(self, spec: ContainerSpec) -> Resources:
        kit = self._worker.kit
        return container_resources(
            self._worker.pod,
            spec,
            memory_capacity_bytes=kit.memory_capacity_bytes,
            pids_limit=kit.options.pod_pids_limit,
        )

    async def _change(self, spec: ContainerSpec, run: Container) -> None:
        kit, wanted = self._worker.kit, self._resources(spec)
        try:
            await self._check_usage(spec.name, run, wanted)
            # Growing: the pod's group must have room first. Shrinking: the kernel refuses
            # (cgroup v1) until the container has shrunk.
            with contextlib.suppress(OSError):
                self._size_pod()
            await kit.runtime.update_resources(run.id, wanted)
            self._size_pod()
        except (CriError, OSError, ValueError) as error:
            self._fail(str(error))
            await kit.clock.sleep(RETRY_S)
        await kit.view.refresh(run.sandbox_id)

    async def _check_usage(self, name: str, run: Container, wanted: Resources) -> None:
        """Less memory than is used would end the container. Raises ValueError."""
        limit, before = wanted.memory_limit_bytes, run.resources.memory_limit_bytes
        if not limit or (before and limit >= before):
            return
        used = (await self._worker.kit.runtime.container_stats(run.id)).memory_usage_bytes
        if used >= limit:
            raise ValueError(
                f'attempting to set container "{name}" memory limit ({limit}) below current '
                f"usage ({used})"
            )

    def _size_pod(self) -> None:
        pod, kit = self._worker.pod, self._worker.kit
        kit.cgroups.create(pod_cgroup(pod, kit.options.cgroup_root), pod_resources(pod))

    def _fail(self, message: str) -> None:
        acting = self.stage.acting
        failed = self.stage.failed(message)
        if acting is not None and failed != self.stage:
            self._tell("Warning", "ResizeError", "Pod resize error", acting.generation, message)
        self.stage = failed


def _is_making(busy: Iterable[str]) -> bool:
    return any(key.startswith(("resize/", "kill/", "start/", "image/")) for key in busy)
