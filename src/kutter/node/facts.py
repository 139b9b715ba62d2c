"""What one pod's worker knows at one moment: the input of planning and of the status.

Between the worker, which gathers, and the pure functions :func:`kutter.node.plan.plan_pod` and
:func:`kutter.node.status.compute_status`, which judge. Laws: values only, nothing here changes
after it was made; times are seconds since the epoch (``now``, ``*_at``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kutter.api.types.core_v1 import Container as ContainerSpec
from kutter.api.types.core_v1 import EphemeralContainer, Pod
from kutter.node.resize import NO_RESIZE, ResizeFacts
from kutter.runtime.cri import Container, ContainerState, Sandbox, SandboxState

AnyContainerSpec = ContainerSpec | EphemeralContainer

# So long a container that is made anew is shown as it was: its successor is all but there.
REPLACE_QUIET_S = 10.0

BACKOFF_INITIAL_S = 10.0
BACKOFF_MAXIMUM_S = 300.0
BACKOFF_RESET_S = 2 * BACKOFF_MAXIMUM_S


class Problem(NamedTuple):
    """Why something could not be done, as a waiting state says it, and when to try again."""

    reason: str
    message: str
    retry_at: float = 0.0


class CrashDelay(NamedTuple):
    """The restart delay of one container and when it was last raised."""

    delay_s: float
    raised_at: float

    def next(self, now: float) -> CrashDelay:
        """The delay after one more restart at ``now``; forgotten after ten quiet minutes."""
        if not self.delay_s or now - self.raised_at > BACKOFF_RESET_S:
            return CrashDelay(BACKOFF_INITIAL_S, now)
        return CrashDelay(min(self.delay_s * 2, BACKOFF_MAXIMUM_S), now)


NO_DELAY = CrashDelay(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ProbeFacts:
    """What probes found for one running container (by container id).

    ``failed`` is the kind of a probe that wants the container killed: startup or liveness.
    """

    started: bool = False
    ready: bool = False
    failed: str = ""
    failed_grace_s: int | None = None


NO_PROBES = ProbeFacts()


@dataclass(frozen=True, slots=True)
class Termination:
    """The pod has to end. ``grace_s`` is what is left of its grace now.

    ``reason``/``message`` go into the status when the pod did not end by itself. ``delete``
    says that the API object waits for us to let it go.
    """

    grace_s: float
    reason: str = ""
    message: str = ""
    delete: bool = False
    phase: str = ""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """Everything known about one pod.

    ``containers`` maps a container's name to its runs, newest first, of all sandboxes.
    ``images`` maps a container's name to its image id once that is present.
    ``problems`` maps a container's name to why it cannot be made now; ``pod_problem`` is the
    same for the whole pod (volumes, sandbox). ``busy`` holds the keys of operations under way.
    ``told`` is the status offered to the API last; it is newer than ``pod.status``.
    ``prepared`` says whether the hooks (volumes, cgroups, folders) have run.
    ``lacking`` names the running containers that have other resources than they should, those of
    them in ``resize_restarts`` are made anew for it; ``resize`` is what conditions say of it.
    ``replaced`` maps runs that were stopped to be made anew (by id) to when that was.
    """

    pod: Pod
    now: float
    sandbox: Sandbox | None = None
    old_sandboxes: tuple[Sandbox, ...] = ()
    containers: Mapping[str, tuple[Container, ...]] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, Problem] = field(default_factory=dict)
    pod_problem: Problem | None = None
    probes: Mapping[str, ProbeFacts] = field(default_factory=dict)
    delays: Mapping[str, CrashDelay] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)
    busy: frozenset[str] = frozenset()
    prepared: bool = False
    released: bool = False
    termination: Termination | None = None
    spec_hashes: Mapping[str, str] = field(default_factory=dict)
    host_ips: tuple[str, ...] = ()
    told: Mapping[str, Any] | None = None
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    resize_restarts: frozenset[str] = frozenset()
    resize: ResizeFacts = NO_RESIZE
    replaced: Mapping[str, float] = field(default_factory=dict)

    def latest(self, name: str) -> Container | None:
        """The newest run of a container, whatever its sandbox."""
        runs = self.containers.get(name)
        return runs[0] if runs else None

    def current(self, name: str) -> Container | None:
        """The newest run of a container in the sandbox of now."""
        latest = self.latest(name)
        if latest is None or self.sandbox is None or latest.sandbox_id != self.sandbox.id:
            return None
        return latest

    def being_replaced(self, name: str) -> bool:
        """Whether a run was stopped to be made anew and its successor is not there yet."""
        if name in self.problems or self.termination is not None:
            return False
        runs = self.containers.get(name, ())
        if runs and runs[0].state is ContainerState.CREATED:
            runs = runs[1:]
        since = self.replaced.get(runs[0].id) if runs else None
        return since is not None and self.now < since + REPLACE_QUIET_S

    def running(self) -> list[Container]:
        """All containers that run, also those of older sandboxes."""
        return [
            run
            for runs in self.containers.values()
            for run in runs
            if run.state is ContainerState.RUNNING
        ]

    def next_attempt(self, name: str) -> int:
        """The attempt number (restart count) of the next run."""
        latest = self.latest(name)
        return 0 if latest is None else latest.metadata.attempt + 1

    @property
    def sandbox_ready(self) -> bool:
        return self.sandbox is not None and self.sandbox.state is SandboxState.READY

    def probe(self, run: Container) -> ProbeFacts:
        """What probes say about a run; nothing known is not started, not ready."""
        return self.probes.get(run.id, NO_PROBES)


def is_sidecar(spec: AnyContainerSpec) -> bool:
    """Whether an init container keeps running beside the others (KEP-753)."""
    return getattr(spec, "restart_policy", "") == "Always"
