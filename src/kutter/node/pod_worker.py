"""One pod's worker: gathers facts, plans, begins the steps, tells the API. Serial per pod.

Between the API's wish, the runtime and the pure functions (:mod:`plan`, :mod:`status`). Laws: it
sleeps until woken (a change of the pod, the runtime, a probe, an operation's end) or until the
plan's own time; the memory it keeps is a cache, all that must survive a restart of the agent is
in the runtime's labels and the API.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.core_v1 import Container as ContainerSpec
from kutter.api.types.core_v1 import Pod
from kutter.base.log import get_logger
from kutter.base.tasks import Scope
from kutter.node.container_config import log_folder, spec_hash
from kutter.node.facts import (
    NO_DELAY,
    AnyContainerSpec,
    CrashDelay,
    PodFacts,
    ProbeFacts,
    Problem,
    Termination,
    is_sidecar,
)
from kutter.node.hooks import POD_HOOKS, HookFailure, PodWork
from kutter.node.hooks.base import memory_folder, pod_folder
from kutter.node.kit import NodeKit
from kutter.node.messages import TerminationMessages
from kutter.node.moments import to_seconds
from kutter.node.operations import Operations
from kutter.node.plan import MINIMUM_GRACE_S, KillContainer, Plan, plan_pod
from kutter.node.pod_steps import PodSteps
from kutter.node.probe_runs import PodProbes
from kutter.node.resizing import PodResize
from kutter.node.status import compute_status
from kutter.node.status_writer import StatusWriter
from kutter.node.volumes.pod_volumes import PodVolumes, VolumeError
from kutter.node.volumes.tokens import PodTokens
from kutter.runtime.cri import Container, ContainerState, Image

_log = get_logger("node.pod")

TURN_RETRY_S = 5.0


class PodWorker:
    """Runs one pod from its first sight to its forgetting. ``on_gone`` is called at the end."""

    def __init__(self, kit: NodeKit, pod: Pod, on_gone: Callable[[str], None]) -> None:
        self.kit = kit
        self.uid = pod.metadata.uid
        self.resize = PodResize(self, pod)
        self.pod = self.resize.granted_pod()
        self._on_gone = on_gone
        self._scope = Scope(f"pod/{pod.metadata.namespace}/{pod.metadata.name}")
        self._woken = asyncio.Event()
        self.operations = Operations(self._scope, self.wake, kit.clock)
        tokens = PodTokens(kit.client, clock=kit.clock)
        folder, memory = pod_folder(kit, self.uid), memory_folder(kit, self.uid)
        volumes = PodVolumes(folder, memory, kit.mounts, tokens, kit.clock)
        self.work = PodWork(kit, pod, volumes)
        self.status = StatusWriter(kit, self.wake)
        self.probes = PodProbes(kit, self._scope, self.wake)
        self.messages = TerminationMessages()
        self.steps = PodSteps(self)
        # The worker's memory, by container name.
        self.images: dict[str, Image] = {}
        self.told_killing: set[str] = set()
        self._prepared_event = asyncio.Event()
        self.problems: dict[str, Problem] = {}
        self.delays: dict[str, CrashDelay] = {}
        self.pod_problem: Problem | None = None
        self.prepared = False
        self.released = False
        self.deleted = False  # the API object is gone
        self._api_gone = asyncio.Event()
        self.forgotten = False
        self._told_crash: set[str] = set()
        self._replaced: dict[str, float] = {}  # by container id
        self._stop_reason: Termination | None = None
        self._deadline = 0.0
        self.volumes_stale = False
        self.last_plan = Plan()

    # From outside

    def wake(self) -> None:
        self._woken.set()

    def update(self, pod: Pod) -> None:
        """The API object changed."""
        if pod.spec.ephemeral_containers != self.pod.spec.ephemeral_containers:
            self.prepared = False  # new references may have come
        if pod.metadata.labels != self.pod.metadata.labels or (
            pod.metadata.annotations != self.pod.metadata.annotations
        ):
            self.volumes_stale = True
        self._set_pod(self.resize.take(pod))
        self.wake()

    def _set_pod(self, pod: Pod) -> None:
        self.pod = self.work.pod = pod

    def mark_deleted(self) -> None:
        """The API object is gone: stop without grace and forget."""
        self.deleted = True
        self._api_gone.set()
        self.wake()

    def references_changed(self) -> None:
        """A config map or secret the pod refers to changed."""
        self.volumes_stale = True
        for name, problem in list(self.problems.items()):
            if problem.reason == "CreateContainerConfigError":
                self.problems[name] = problem._replace(retry_at=0.0)
        if self.pod_problem is not None:
            self.pod_problem = self.pod_problem._replace(retry_at=0.0)
        self.wake()

    def terminate(self, *, reason: str, message: str, grace_s: float | None, phase: str) -> None:
        """End the pod for the node's own reasons (eviction, rejection, deadline)."""
        if self._stop_reason is not None and self._stop_reason.reason:
            return
        grace = self._own_grace() if grace_s is None else grace_s
        self._stop_reason = Termination(grace, reason, message, phase=phase)
        self._shorten(grace)
        self.wake()

    @property
    def terminating(self) -> bool:
        """Whether the pod is on its way out."""
        return (
            self.deleted
            or self._stop_reason is not None
            or self.pod.metadata.deletion_timestamp is not None
        )

    @property
    def ended(self) -> bool:
        """Whether nothing of the pod uses the node any more (its logs may still be here)."""
        return self.released or self.pod.status.phase in ("Succeeded", "Failed")

    # The loop

    async def run(self) -> None:
        """Serve until the pod is forgotten or the agent stops."""
        self._set_pod(self.resize.judge())
        try:
            while not self.forgotten:
                self._woken.clear()
                try:
                    self._turn()
                except AssertionError:
                    raise
                except Exception as error:
                    await self._survive(error)
                    continue
                if self.forgotten:
                    break
                await self._wait()
        finally:
            self.probes.close()
            await self._scope.close()
            if self.forgotten:
                self._on_gone(self.uid)

    async def _survive(self, error: Exception) -> None:
        """One pod nobody foresaw must not take the node's other pods with it."""
        meta = self.pod.metadata
        _log.error(
            "pod not synced", pod=f"{meta.namespace}/{meta.name}", error=repr(error), exc_info=error
        )
        self.event("Warning", "FailedSync", f"error determining status: {error}")
        await self.kit.clock.sleep(TURN_RETRY_S)

    def _turn(self) -> None:
        now = self.kit.clock.now().timestamp()
        self._check_deadline(now)
        if (grown := self.resize.judge_again(now)) is not None:
            self._set_pod(grown)
        facts = self.facts(now)
        plan = self.last_plan = plan_pod(facts)
        if plan.ended and self._stop_reason is None:
            self._stop_reason = Termination(self._own_grace())
            self._shorten(self._own_grace())
            facts = self.facts(now)
            plan = self.last_plan = plan_pod(facts)
        if facts.termination is not None:
            self.operations.interrupt(("image/", "start/"))
        for step in plan.steps:
            if isinstance(step, KillContainer) and step.replace:
                self._replaced[step.container_id] = now
            self.operations.begin(step.key, self.steps.work_of(step))
        self._tell_crash_loops(plan)
        self.resize.follow(facts)
        self._follow_probes(facts)
        if self.volumes_stale and self.prepared and facts.termination is None:
            self._begin_refresh()
        if not self.deleted:
            self.status.offer(self.pod, compute_status(facts, plan))

    def _begin_refresh(self) -> None:
        if "refresh" not in self.operations.busy():
            self.volumes_stale = False
            self.operations.begin("refresh", self._refresh_volumes())

    async def _wait(self) -> None:
        due = self.last_plan.requeue_at
        renew = self.work.volumes.renew_at if self.prepared else 0.0
        if renew and (not due or renew < due):
            due = renew
        for moment in (self._active_deadline(), self.resize.judge_at):
            if moment and not self.terminating and (not due or moment < due):
                due = moment
        if not due:
            await self._woken.wait()
            return
        now = self.kit.clock.now().timestamp()
        if renew and renew <= now:
            self.volumes_stale = True
            due = now + 1.0
        timer = asyncio.ensure_future(self.kit.clock.sleep(max(due - now, 0.001)))
        woken = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            woken.cancel()

    # Facts

    def facts(self, now: float) -> PodFacts:
        """What is known right now."""
        sandboxes = self.kit.view.sandboxes(self.uid)
        sandbox = sandboxes[0] if sandboxes else None
        containers = self.kit.view.containers(self.uid)
        busy = self.operations.busy()
        if sandbox is not None and sandbox.ips:
            self.work.pod_ips = sandbox.ips
        elif self.pod.spec.host_network:
            self.work.pod_ips = self.kit.options.node_addresses
        self.probes.pod_ip = self.work.pod_ips[0] if self.work.pod_ips else ""
        containers = {n: self._masked(n, runs, busy) for n, runs in containers.items()}
        specs: list[AnyContainerSpec] = [*self.pod.spec.init_containers, *self.pod.spec.containers]
        lacking = self.resize.lacking(containers)
        self.messages.read(run for runs in containers.values() for run in runs[:2])
        return PodFacts(
            pod=self.pod,
            now=now,
            sandbox=sandbox,
            old_sandboxes=tuple(sandboxes[1:]),
            containers=containers,
            images=dict.fromkeys(self.images, ""),
            problems=dict(self.problems),
            pod_problem=self.pod_problem,
            probes=self._probe_facts(containers),
            delays=dict(self.delays),
            messages=self.messages.known,
            busy=busy,
            prepared=self.prepared,
            released=self.released,
            termination=self._termination(now),
            spec_hashes={spec.name: spec_hash(spec) for spec in specs},
            host_ips=self.kit.options.node_addresses,
            told=self.status.offered,
            lacking=lacking,
            resize_restarts=self.resize.restarts(lacking),
            resize=self.resize.stage,
            replaced=dict(self._replaced),
        )

    def _masked(
        self, name: str, runs: tuple[Container, ...], busy: frozenset[str]
    ) -> tuple[Container, ...]:
        """While its start (with postStart) is under way, a container counts as not started."""
        first = runs[0]
        if first.state is ContainerState.RUNNING and f"start/{name}" in busy:
            return (replace(first, state=ContainerState.CREATED), *runs[1:])
        return runs

    def _probe_facts(self, containers: dict[str, tuple[Container, ...]]) -> dict[str, ProbeFacts]:
        known = self.probes.facts()
        for runs in containers.values():
            run = runs[0]
            if run.state is ContainerState.RUNNING and run.id not in known:
                spec = self.spec_of(run.metadata.name)
                probed = spec is not None and (spec.readiness_probe or spec.startup_probe)
                known[run.id] = ProbeFacts(started=not probed, ready=not probed)
        return known

    def _follow_probes(self, facts: PodFacts) -> None:
        if facts.termination is not None:
            self.probes.stop_liveness()
            if not facts.running():
                self.probes.close()
            return
        probed: dict[str, tuple[ContainerSpec, Container]] = {}
        specs = list(self.pod.spec.containers)
        specs += [s for s in self.pod.spec.init_containers if is_sidecar(s)]
        for spec in specs:
            run = facts.current(spec.name)
            if run is not None and run.state is ContainerState.RUNNING:
                if f"kill/{run.id}" in facts.busy:
                    continue
                probed[run.id] = (spec, run)
        self.probes.follow(self.pod, probed)

    def spec_of(self, name: str) -> AnyContainerSpec | None:
        """A container's spec by name."""
        spec = self.pod.spec
        members: list[AnyContainerSpec] = [*spec.containers, *spec.init_containers]
        members += spec.ephemeral_containers
        return next((s for s in members if s.name == name), None)

    # The end

    def _own_grace(self) -> float:
        grace = self.pod.spec.termination_grace_period_seconds
        return 30.0 if grace is None else float(grace)

    def _shorten(self, grace_s: float) -> None:
        """The grace may only get shorter; a kill under way is begun anew with the rest."""
        # As upstream, a process gets at least a second between TERM and KILL.
        deadline = self.kit.clock.monotonic() + max(grace_s, MINIMUM_GRACE_S)
        if not self._deadline or deadline < self._deadline - 0.5:
            if self._deadline:
                self.operations.interrupt(("kill/",))
            self._deadline = deadline

    def _termination(self, now: float) -> Termination | None:
        meta = self.pod.metadata
        delete = self.deleted or meta.deletion_timestamp is not None
        if self.deleted:
            self._shorten(0.0)
        elif meta.deletion_timestamp is not None:
            grace = meta.deletion_grace_period_seconds
            self._shorten(self._own_grace() if grace is None else float(grace))
        elif self.pod.status.phase in ("Succeeded", "Failed") and self._stop_reason is None:
            self._shorten(0.0)
            return Termination(0.0)
        if self._stop_reason is None and not delete:
            return None
        left = max(self._deadline - self.kit.clock.monotonic(), 0.0)
        reason = self._stop_reason or Termination(left)
        return replace(reason, grace_s=left, delete=delete)

    def _active_deadline(self) -> float:
        seconds = self.pod.spec.active_deadline_seconds
        if not seconds or not self.pod.status.start_time:
            return 0.0
        return to_seconds(self.pod.status.start_time) + seconds

    def _check_deadline(self, now: float) -> None:
        deadline = self._active_deadline()
        if deadline and now >= deadline and not self.terminating and not self.ended:
            message = "Pod was active on the node longer than the specified deadline"
            self.kit.recorder.event(self.pod, "Normal", "DeadlineExceeded", message)
            self.terminate(reason="DeadlineExceeded", message=message, grace_s=None, phase="Failed")

    def _tell_crash_loops(self, plan: Plan) -> None:
        waiting = {name for name, _ in plan.crash_loops}
        for name in waiting - self._told_crash:
            meta = self.pod.metadata
            self.event(
                "Warning",
                "BackOff",
                f"Back-off restarting failed container {name} in pod "
                f"{meta.name}_{meta.namespace}({meta.uid})",
                container=name,
            )
        self._told_crash = waiting

    # Doing

    def event(self, kind: str, reason: str, message: str, *, container: str = "") -> None:
        """An event about the pod or one of its containers."""
        path = ""
        if container:
            spec = self.pod.spec
            listing = "containers"
            if any(s.name == container for s in spec.init_containers):
                listing = "initContainers"
            elif any(s.name == container for s in spec.ephemeral_containers):
                listing = "ephemeralContainers"
            path = f"spec.{listing}{{{container}}}"
        self.kit.recorder.event(self.pod, kind, reason, message, field_path=path)

    async def _refresh_volumes(self) -> None:
        try:
            await self.kit.references.acquire(self.pod)
            await self.work.volumes.refresh(self.work.context())
        except VolumeError as error:
            self.event("Warning", "FailedMount", str(error))

    async def prepare(self) -> None:
        """Run the hooks in order; a failure is the pod's problem for a while."""
        for hook in POD_HOOKS:
            try:
                await hook.prepare(self.work)
            except HookFailure as error:
                self.event("Warning", error.reason, str(error))
                self.pod_problem = Problem(error.reason, str(error), self.retry_at())
                return
        self.pod_problem = None
        self._pod_failures = 0
        self.prepared = True
        self._prepared_event.set()

    async def wait_prepared(self) -> None:
        """Wait until the hooks have run (pull secrets are watched by one of them)."""
        await self._prepared_event.wait()

    _pod_failures = 0

    def retry_at(self) -> float:
        """Retry pod-wide problems after 0.5 s, doubled up to about two minutes."""
        self._pod_failures = min(self._pod_failures + 1, 9)
        return self.kit.clock.now().timestamp() + min(0.25 * float(2**self._pod_failures), 122.0)

    async def release(self) -> None:
        """Undo the hooks, last first."""
        for hook in reversed(POD_HOOKS):
            await hook.release(self.work)
        self.released = True

    def forget_run(self, run: Container) -> None:
        """A dead run was removed."""
        self.told_killing.discard(run.id)
        self._replaced.pop(run.id, None)
        self.resize.forget(run)

    def raise_delay(self, name: str) -> None:
        """One more restart of a container."""
        now = self.kit.clock.now().timestamp()
        self.delays[name] = self.delays.get(name, NO_DELAY).next(now)

    async def forget(self) -> None:
        """Let the API object go once its last status is written, then remove what is left."""
        meta = self.pod.metadata
        if not self.deleted:
            await self.status.wait_settled()
        if not self.deleted and not self.status.gone:
            try:
                await self.kit.client.delete(
                    Pod, meta.name, meta.namespace, grace_period_s=0, uid=meta.uid
                )
            except (ApiError, OSError, TimeoutError) as error:
                if not is_reason(error, "NotFound", "Conflict"):
                    _log.warning("pod not deleted", pod=meta.name, error=str(error))
                    await self.kit.clock.sleep(1.0)
                    return
        if meta.finalizers and not self.deleted:
            # Others still hold the object; it goes when they let go.
            await self._api_gone.wait()
        for sandbox in self.kit.view.sandboxes(self.uid):
            await self.kit.runtime.remove_sandbox(sandbox.id)
            await self.kit.view.refresh(sandbox.id)
        self.kit.puller.forget(self.uid)
        await asyncio.to_thread(self._remove_folders)
        self.forgotten = True

    def _remove_folders(self) -> None:
        shutil.rmtree(pod_folder(self.kit, self.uid), ignore_errors=True)
        shutil.rmtree(log_folder(self.kit.options, self.pod), ignore_errors=True)
        root = self.kit.options.container_log_root
        if root is None:
            return
        meta = self.pod.metadata
        for link in Path(root).glob(f"{meta.name}_{meta.namespace}_*.log"):
            if link.is_symlink() and not link.exists():
                link.unlink(missing_ok=True)
