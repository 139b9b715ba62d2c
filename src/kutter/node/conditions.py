"""The conditions of a pod. Pure.

Upstream: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions
"""

from __future__ import annotations

from typing import Any

from kutter.base.clock import render_time
from kutter.node.facts import PodFacts, is_sidecar
from kutter.node.moments import from_seconds
from kutter.node.plan import init_done
from kutter.node.resize import IN_PROGRESS, PENDING

RESIZE = (PENDING, IN_PROGRESS)

Tree = dict[str, Any]


def compute_conditions(
    facts: PodFacts, phase: str, statuses: list[Tree], init_statuses: list[Tree]
) -> list[Tree]:
    """Our four conditions, DisruptionTarget and those of a resize.

    Times are carried over where nothing changed.
    """
    terminal = phase in ("Succeeded", "Failed")
    wanted = [
        _sandbox(facts, terminal=terminal),
        _initialized(facts, phase, init_statuses),
    ]
    containers = _containers_ready(facts, phase, statuses, init_statuses)
    wanted += [containers, _ready(facts, containers)]
    termination = facts.termination
    if termination is not None and termination.reason in ("Evicted", "NodeShutdown"):
        wanted.append(("DisruptionTarget", "True", "TerminationByKubelet", termination.message))
    known = {c.type: (c.status, c.last_transition_time) for c in facts.pod.status.conditions}
    for told in (facts.told or {}).get("conditions", ()):
        known[told["type"]] = (told["status"], told["lastTransitionTime"])
    rendered = [_render(facts, known.get(kind), kind, *rest) for kind, *rest in wanted]
    for kind, stage in ((PENDING, facts.resize.waiting), (IN_PROGRESS, facts.resize.acting)):
        if stage is not None and not terminal:
            tree = _render(facts, known.get(kind), kind, "True", stage.reason, stage.message)
            rendered.append({**tree, "observedGeneration": stage.generation})
    return rendered


def _render(
    facts: PodFacts,
    known: tuple[str, str] | None,
    kind: str,
    *rest: str,
) -> Tree:
    status, reason, message = (*rest, "", "")[:3]
    since = (
        known[1]
        if known is not None and known[0] == status and known[1]
        else render_time(from_seconds(facts.now))
    )
    tree: Tree = {"type": kind, "status": status, "lastTransitionTime": since}
    if reason:
        tree["reason"] = reason
    if message:
        tree["message"] = message
    if facts.pod.metadata.generation:
        tree["observedGeneration"] = facts.pod.metadata.generation
    return tree


def _sandbox(facts: PodFacts, *, terminal: bool) -> tuple[str, ...]:
    ready = facts.sandbox_ready and not (terminal and facts.released)
    return ("PodReadyToStartContainers", "True" if ready else "False")


def _initialized(facts: PodFacts, phase: str, statuses: list[Tree]) -> tuple[str, ...]:
    if not facts.pod.spec.init_containers:
        return ("Initialized", "True")
    if phase == "Succeeded":
        return ("Initialized", "True", "PodCompleted")
    if init_done(facts) or phase == "Running":
        return ("Initialized", "True")
    sidecars = {c.name for c in facts.pod.spec.init_containers if is_sidecar(c)}
    open_names = [
        s["name"] for s in statuses if not s["started" if s["name"] in sidecars else "ready"]
    ]
    message = f"containers with incomplete status: [{' '.join(open_names)}]"
    return ("Initialized", "False", "ContainersNotInitialized", message)


def _containers_ready(
    facts: PodFacts, phase: str, statuses: list[Tree], init_statuses: list[Tree]
) -> tuple[str, ...]:
    if phase == "Succeeded":
        return ("ContainersReady", "False", "PodCompleted")
    if phase == "Failed":
        return ("ContainersReady", "False", "PodFailed")
    sidecars = {c.name for c in facts.pod.spec.init_containers if is_sidecar(c)}
    counted = [s for s in init_statuses if s["name"] in sidecars] + statuses
    known = {s["name"] for s in counted}
    unknown = [c.name for c in facts.pod.spec.containers if c.name not in known]
    unready = [s["name"] for s in counted if not s["ready"]]
    parts = []
    if unknown:
        parts.append(f"containers with unknown status: [{' '.join(unknown)}]")
    if unready:
        parts.append(f"containers with unready status: [{' '.join(unready)}]")
    if parts:
        return ("ContainersReady", "False", "ContainersNotReady", ", ".join(parts))
    return ("ContainersReady", "True")


def _ready(facts: PodFacts, containers: tuple[str, ...]) -> tuple[str, ...]:
    if containers[1] != "True":
        return ("Ready", *containers[1:])
    status = {c.type: c.status for c in facts.pod.status.conditions}
    parts = []
    for gate in facts.pod.spec.readiness_gates:
        kind = gate.condition_type
        if kind not in status:
            parts.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif status[kind] != "True":
            parts.append(
                f'the status of pod readiness gate "{kind}" is not "True", but {status[kind]}'
            )
    if parts:
        return ("Ready", "False", "ReadinessGatesNotReady", ", ".join(parts))
    return ("Ready", "True")
