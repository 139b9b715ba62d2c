"""From what is known of a pod to what to do next. Pure: no I/O, no clock, no client.

Owns the order of things in a pod's life: sandbox, images, init containers one after another,
sidecars, the other containers, restarts with back-off, the end. Laws: the same facts give the
same plan; a step whose operation is under way is never planned again; when nothing is to do the
plan is empty and says when to look again.
Upstream: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from dataclasses import dataclass

from kutter.node.facts import (
    NO_DELAY,
    REPLACE_QUIET_S,
    AnyContainerSpec,
    PodFacts,
    is_sidecar,
)
from kutter.node.restart import effective_policy, should_restart
from kutter.runtime.cri import Container, ContainerState, SandboxState

# A sidecar gets at least this long to stop, also when the others used up the grace.
MINIMUM_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Prepare:
    """Run the hooks: folders, cgroup, volumes, files."""

    key = "prepare"


@dataclass(frozen=True, slots=True)
class MakeSandbox:
    attempt: int
    key = "sandbox"


@dataclass(frozen=True, slots=True)
class StopSandbox:
    sandbox_id: str

    @property
    def key(self) -> str:
        return f"stop-sandbox/{self.sandbox_id}"


@dataclass(frozen=True, slots=True)
class EnsureImage:
    """Have the container's image, by its pull policy."""

    container: str

    @property
    def key(self) -> str:
        return f"image/{self.container}"


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Create and start one run. ``stale_id`` is a run that was created but never started.

    ``restart`` says that the container failed: it raises its back-off.
    """

    container: str
    attempt: int
    restart: bool = False
    stale_id: str = ""

    @property
    def key(self) -> str:
        return f"start/{self.container}"


@dataclass(frozen=True, slots=True)
class KillContainer:
    """``replace``: it is started anew once it has stopped, whatever its policy."""

    container_id: str
    container: str
    grace_s: float
    message: str
    reason: str = "Killing"
    replace: bool = False

    @property
    def key(self) -> str:
        return f"kill/{self.container_id}"


@dataclass(frozen=True, slots=True)
class Release:
    """Undo the hooks: everything has stopped."""

    key = "release"


@dataclass(frozen=True, slots=True)
class Forget:
    """The API object may go and whatever is left of the pod with it."""

    key = "forget"


Step = (
    Prepare
    | MakeSandbox
    | StopSandbox
    | EnsureImage
    | StartContainer
    | KillContainer
    | Release
    | Forget
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to begin now. ``requeue_at`` is when to look again (0: only when told).

    ``crash_loops`` maps containers that wait for their back-off to the delay in seconds.
    ``ended`` is set when the pod ended by itself and must be terminated.
    """

    steps: tuple[Step, ...] = ()
    why: str = ""
    requeue_at: float = 0.0
    crash_loops: tuple[tuple[str, float], ...] = ()
    ended: bool = False


class _Draft:
    """Collects steps, skipping those under way."""

    def __init__(self, facts: PodFacts) -> None:
        self._facts = facts
        self.steps: list[Step] = []
        self.requeue_at = 0.0
        self.crash_loops: list[tuple[str, float]] = []

    def add(self, step: Step) -> None:
        if step.key not in self._facts.busy:
            self.steps.append(step)

    def look_again(self, moment: float) -> None:
        if moment and (not self.requeue_at or moment < self.requeue_at):
            self.requeue_at = moment

    def plan(self, why: str, *, ended: bool = False) -> Plan:
        return Plan(tuple(self.steps), why, self.requeue_at, tuple(self.crash_loops), ended)


def plan_pod(facts: PodFacts) -> Plan:
    """What to do next for this pod."""
    draft = _Draft(facts)
    if facts.termination is not None:
        return _plan_end(facts, draft)
    if pod_has_ended(facts):
        return draft.plan("all containers have ended and none is to run again", ended=True)
    if facts.pod_problem is not None and facts.pod_problem.retry_at > facts.now:
        draft.look_again(facts.pod_problem.retry_at)
        return draft.plan(f"waiting to try again: {facts.pod_problem.message}")
    if not facts.sandbox_ready:
        return _plan_sandbox(facts, draft)
    if not facts.prepared:
        # Adopted after a restart of the agent: the hooks take over what is there.
        draft.add(Prepare())
        return draft.plan("preparing the pod's folders, cgroup and volumes")
    return _plan_containers(facts, draft)


def _plan_sandbox(facts: PodFacts, draft: _Draft) -> Plan:
    """The sandbox is missing or dead: stop what is left of the old, then make one."""
    left = [run for run in facts.running() if run.sandbox_id]
    for run in left:
        message = f"Stopping container {run.metadata.name}"
        draft.add(KillContainer(run.id, run.metadata.name, MINIMUM_GRACE_S, message))
    if left:
        return draft.plan("the sandbox died: stopping its containers")
    if not facts.prepared:
        draft.add(Prepare())
    # Volumes and sandbox are made side by side; containers wait for both.
    draft.add(MakeSandbox(0 if facts.sandbox is None else facts.sandbox.metadata.attempt + 1))
    first = next(iter(facts.pod.spec.init_containers), None)
    wanted = [first] if first is not None else list(facts.pod.spec.containers)
    for spec in wanted:
        _ensure_image(facts, draft, spec)
    return draft.plan("making the sandbox")


def _plan_containers(facts: PodFacts, draft: _Draft) -> Plan:
    why = _plan_init(facts, draft)
    if why:
        return draft.plan(why)
    # Containers start one after another, as the first one's postStart may expect.
    starting = any(key.startswith("start/") for key in facts.busy)
    waiting: list[str] = []
    specs: list[tuple[AnyContainerSpec, bool]] = [(s, False) for s in facts.pod.spec.containers]
    specs += [(s, True) for s in facts.pod.spec.ephemeral_containers]
    for spec, ephemeral in specs:
        wanted = _plan_one(facts, draft, spec, ephemeral=ephemeral)
        if wanted is None:
            continue
        waiting.append(spec.name)
        if _ensure_image(facts, draft, spec) and not starting:
            draft.add(wanted)
            starting = True
    if draft.steps or waiting:
        return draft.plan("starting " + ", ".join(waiting) if waiting else "stopping containers")
    if draft.crash_loops:
        names = ", ".join(name for name, _ in draft.crash_loops)
        return draft.plan(f"{names} ended and waits for its back-off")
    return draft.plan("everything runs as it should")


def _plan_init(facts: PodFacts, draft: _Draft) -> str:
    """Plan init containers; answers why the others must wait, or ``""``."""
    initialized = has_initialized(facts)
    for spec in facts.pod.spec.init_containers:
        run = facts.current(spec.name)
        if is_sidecar(spec):
            wanted = _plan_one(facts, draft, spec, ephemeral=False)
            if wanted is not None and _ensure_image(facts, draft, spec):
                draft.add(wanted)
            if initialized:
                continue
            if run is None or run.state is not ContainerState.RUNNING:
                return f"waiting for sidecar {spec.name} to run"
            if not facts.probe(run).started:
                return f"waiting for sidecar {spec.name} to have started"
            continue
        if initialized or (run is not None and _succeeded(run)):
            continue
        wanted = _plan_one(facts, draft, spec, ephemeral=False)
        if wanted is not None and _ensure_image(facts, draft, spec):
            draft.add(wanted)
        return f"waiting for init container {spec.name}"
    return ""


def _succeeded(run: Container) -> bool:
    return run.state is ContainerState.EXITED and run.exit_code == 0


def has_initialized(facts: PodFacts) -> bool:
    """Whether this sandbox is past its init containers: one of the others was made in it."""
    return any(facts.current(spec.name) is not None for spec in facts.pod.spec.containers)


def init_done(facts: PodFacts) -> bool:
    """Whether all init containers have done their part."""
    if has_initialized(facts):
        return True
    for spec in facts.pod.spec.init_containers:
        run = facts.current(spec.name)
        if run is None:
            return False
        if is_sidecar(spec):
            if run.state is not ContainerState.RUNNING or not facts.probe(run).started:
                return False
        elif not _succeeded(run):
            return False
    return True


def _plan_one(
    facts: PodFacts, draft: _Draft, spec: AnyContainerSpec, *, ephemeral: bool
) -> StartContainer | None:
    """What one container needs: a kill goes into the draft, a start is answered."""
    run = facts.current(spec.name)
    if run is None:
        latest = facts.latest(spec.name)
        if ephemeral and latest is not None:
            return None
        return StartContainer(spec.name, facts.next_attempt(spec.name))
    if run.state is ContainerState.RUNNING:
        if not ephemeral:
            _plan_kill(facts, draft, spec, run)
        return None
    if run.state is ContainerState.CREATED:
        if f"start/{spec.name}" in facts.busy or spec.name in facts.problems:
            return _after_problem(facts, draft, spec, run)
        return StartContainer(spec.name, run.metadata.attempt, stale_id=run.id)
    if f"kill/{run.id}" in facts.busy or ephemeral:
        return None
    if run.id in facts.replaced:
        if facts.being_replaced(spec.name):
            draft.look_again(facts.replaced[run.id] + REPLACE_QUIET_S)
        return StartContainer(spec.name, run.metadata.attempt + 1)
    if not should_restart(facts.pod, spec, run.exit_code):
        return None
    return _after_back_off(facts, draft, spec, run)


def _after_problem(
    facts: PodFacts, draft: _Draft, spec: AnyContainerSpec, run: Container
) -> StartContainer | None:
    problem = facts.problems.get(spec.name)
    if problem is None:
        return None
    if problem.retry_at > facts.now:
        draft.look_again(problem.retry_at)
        return None
    return StartContainer(spec.name, run.metadata.attempt + 1, restart=True, stale_id=run.id)


def _after_back_off(
    facts: PodFacts, draft: _Draft, spec: AnyContainerSpec, run: Container
) -> StartContainer | None:
    delay = facts.delays.get(spec.name, NO_DELAY)
    ended_at = run.finished_at_ns / 1e9
    if delay.delay_s and ended_at - delay.raised_at > 2 * delay.delay_s + 600:
        delay = NO_DELAY  # it ran long enough to be forgiven
    due = ended_at + delay.delay_s
    if delay.delay_s and facts.now < due:
        draft.crash_loops.append((spec.name, delay.delay_s))
        draft.look_again(due)
        return None
    return StartContainer(spec.name, run.metadata.attempt + 1, restart=True)


def _plan_kill(facts: PodFacts, draft: _Draft, spec: AnyContainerSpec, run: Container) -> None:
    """Kill a running container that changed or that a probe gave up on."""
    wanted = facts.spec_hashes.get(spec.name)
    known = run.annotations.get("io.kubernetes.container.hash")
    probe = facts.probe(run)
    grace: float = float(facts.pod.spec.termination_grace_period_seconds or 0)
    replace = True
    if wanted and known and wanted != known:
        message = f"Container {spec.name} definition changed, will be restarted"
    elif spec.name in facts.resize_restarts:
        message = f"Container {spec.name} resize requires restart"
    elif probe.failed:
        replace = False
        message = f"Container {spec.name} failed {probe.failed} probe"
        if effective_policy(facts.pod, spec) != "Never":
            message += ", will be restarted"
        if probe.failed_grace_s is not None:
            grace = float(probe.failed_grace_s)
    else:
        return
    draft.add(KillContainer(run.id, spec.name, grace, message, replace=replace))


def _ensure_image(facts: PodFacts, draft: _Draft, spec: AnyContainerSpec) -> bool:
    """Whether the container may be made now as far as image and earlier errors go."""
    problem = facts.problems.get(spec.name)
    if problem is not None and problem.retry_at > facts.now:
        draft.look_again(problem.retry_at)
        return False
    if spec.name in facts.images:
        return True
    # A start under way has taken the image with it; the next start looks for it anew.
    if f"start/{spec.name}" not in facts.busy:
        draft.add(EnsureImage(spec.name))
    return False


def pod_has_ended(facts: PodFacts) -> bool:
    """Whether no container runs and none will run again."""
    pod = facts.pod
    if facts.busy & {"sandbox", "prepare"}:
        return False
    for spec in pod.spec.init_containers:
        run = facts.latest(spec.name)
        if is_sidecar(spec) or run is None:
            continue
        if (
            run.state is ContainerState.EXITED
            and run.exit_code != 0
            and not should_restart(pod, spec, run.exit_code)
            and not has_initialized(facts)
        ):
            return True
    if not pod.spec.containers:
        return False
    for spec in pod.spec.containers:
        run = facts.latest(spec.name)
        if run is None or run.state is not ContainerState.EXITED:
            return False
        if run.id in facts.replaced or should_restart(pod, spec, run.exit_code):
            return False
    return True


def _plan_end(facts: PodFacts, draft: _Draft) -> Plan:
    """Stop the containers, then the sidecars in reverse, then the sandbox; then let go."""
    assert facts.termination is not None
    grace = max(facts.termination.grace_s, 0.0)
    sidecars = [spec.name for spec in facts.pod.spec.init_containers if is_sidecar(spec)]
    running = facts.running()
    first = [run for run in running if run.metadata.name not in sidecars]
    if first:
        for run in first:
            draft.add(_end_step(run, grace))
        return draft.plan("stopping the containers")
    if running:
        last = max(running, key=lambda run: sidecars.index(run.metadata.name))
        draft.add(_end_step(last, max(grace, MINIMUM_GRACE_S)))
        return draft.plan("stopping the sidecars, last one first")
    if any(key.startswith(("start/", "sandbox", "prepare", "kill/")) for key in facts.busy):
        return draft.plan("waiting for operations under way")
    for sandbox in (facts.sandbox, *facts.old_sandboxes):
        if sandbox is not None and sandbox.state is SandboxState.READY:
            draft.add(StopSandbox(sandbox.id))
    if draft.steps or any(key.startswith("stop-sandbox/") for key in facts.busy):
        return draft.plan("stopping the sandbox")
    if not facts.released:
        draft.add(Release())
        return draft.plan("taking back volumes and cgroup")
    if facts.termination.delete:
        draft.add(Forget())
        return draft.plan("the pod has stopped and may be forgotten")
    return draft.plan("the pod has ended")


def _end_step(run: Container, grace_s: float) -> KillContainer:
    name = run.metadata.name
    return KillContainer(run.id, name, grace_s, f"Stopping container {name}")
