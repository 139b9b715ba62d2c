"""The status of one pod from what is known of it. Pure.

Owns ``status`` of pods on this node, except conditions of others (PodScheduled, readiness
gates). Laws: the same facts give the same status; a terminal phase is never left; what the API
knows of runs that are gone (``lastState``, restart count) is carried over.
Upstream: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from typing import Any

from kutter.api.types.core_v1 import Container as ContainerSpec
from kutter.api.types.core_v1 import ContainerStatus
from kutter.base.clock import render_time
from kutter.node.conditions import compute_conditions
from kutter.node.facts import AnyContainerSpec, PodFacts, is_sidecar
from kutter.node.moments import from_seconds, render_duration, render_ns
from kutter.node.plan import Plan, has_initialized
from kutter.node.resources import qos_class
from kutter.node.restart import should_restart
from kutter.runtime.cri import Container, ContainerState

Tree = dict[str, Any]
RUNTIME = "kutter"


def container_id(run: Container) -> str:
    """A container's id as the API writes it."""
    return f"{RUNTIME}://{run.id}"


def compute_status(facts: PodFacts, plan: Plan) -> Tree:
    """The whole ``status`` this node has to say about the pod."""
    pod = facts.pod
    crash_loops = dict(plan.crash_loops)
    known = {
        s.name: s
        for s in (
            *pod.status.container_statuses,
            *pod.status.init_container_statuses,
            *pod.status.ephemeral_container_statuses,
        )
    }

    def statuses(specs: tuple[Any, ...]) -> list[Tree]:
        return [_container(facts, s, known.get(s.name), crash_loops) for s in specs]

    init = statuses(pod.spec.init_containers)
    main = statuses(pod.spec.containers)
    ephemeral = [s for s in statuses(pod.spec.ephemeral_containers) if s is not None]
    phase = compute_phase(facts)
    tree: Tree = {"phase": phase}
    tree["conditions"] = compute_conditions(facts, phase, main, init)
    if pod.metadata.generation:
        tree["observedGeneration"] = pod.metadata.generation
    if facts.host_ips:
        tree["hostIP"] = facts.host_ips[0]
        tree["hostIPs"] = [{"ip": ip} for ip in facts.host_ips]
    ips = pod_ips(facts)
    if ips:
        tree["podIP"] = ips[0]
        tree["podIPs"] = [{"ip": ip} for ip in ips]
    told = facts.told or {}
    tree["startTime"] = (
        pod.status.start_time or told.get("startTime") or render_time(from_seconds(facts.now))
    )
    tree["qosClass"] = pod.status.qos_class or qos_class(pod)
    if _was_rejected(facts):
        # Refused at the door: upstream tells phase, reason and message alone.
        del tree["conditions"]
        init, main, ephemeral = [], [], []
    if init:
        tree["initContainerStatuses"] = init
    if main:
        tree["containerStatuses"] = main
    if ephemeral:
        tree["ephemeralContainerStatuses"] = ephemeral
    reason, message = pod.status.reason, pod.status.message
    if facts.termination is not None and facts.termination.reason:
        reason, message = facts.termination.reason, facts.termination.message
    if reason:
        tree["reason"] = reason
    if message:
        tree["message"] = message
    return tree


def _was_rejected(facts: PodFacts) -> bool:
    termination = facts.termination
    return (
        termination is not None
        and termination.phase == "Failed"
        and facts.sandbox is None
        and not facts.containers
        and not facts.pod.status.container_statuses
    )


def pod_ips(facts: PodFacts) -> tuple[str, ...]:
    """The pod's addresses; those of a sandbox that is gone stay until there is another."""
    if facts.pod.spec.host_network:
        return facts.host_ips if facts.sandbox is not None else ()
    if facts.sandbox_ready and facts.sandbox is not None and facts.sandbox.ips:
        return facts.sandbox.ips
    return tuple(p.ip for p in facts.pod.status.pod_ips)


def compute_phase(facts: PodFacts) -> str:
    """Pending, Running, Succeeded or Failed."""
    old: str = (facts.told or {}).get("phase") or facts.pod.status.phase
    if old in ("Succeeded", "Failed"):
        return old
    termination = facts.termination
    if termination is not None and termination.phase and not facts.running():
        return termination.phase
    phase = _natural_phase(facts)
    if termination is not None and facts.running() and phase in ("Succeeded", "Failed"):
        return "Running"  # sidecars still stop
    if termination is not None and facts.released and phase in ("Pending", "Running"):
        # Everything was stopped: what never ran or was cut off has failed.
        return _ended_phase(facts)
    return phase


def _ended_phase(facts: PodFacts) -> str:
    runs = [facts.latest(c.name) for c in facts.pod.spec.containers]
    if runs and all(
        r is not None and r.state is ContainerState.EXITED and r.exit_code == 0 for r in runs
    ):
        return "Succeeded"
    return "Failed"


def _natural_phase(facts: PodFacts) -> str:
    pod = facts.pod
    if not has_initialized(facts) and pod.spec.init_containers:
        for spec in pod.spec.init_containers:
            run = facts.latest(spec.name)
            if run is None or is_sidecar(spec):
                continue
            failed = run.state is ContainerState.EXITED and run.exit_code != 0
            if failed and not should_restart(pod, spec, run.exit_code):
                return "Failed"
        if not any(facts.latest(c.name) for c in pod.spec.containers):
            return "Pending"
    unknown = waiting = running = stopped = failed_count = succeeded = 0
    for spec in pod.spec.containers:
        run = facts.latest(spec.name)
        if run is None or run.state is ContainerState.CREATED:
            if run is not None and run.metadata.attempt > 0:
                stopped += 1
            else:
                waiting += 1
        elif run.state is ContainerState.RUNNING:
            running += 1
        elif run.state is ContainerState.EXITED:
            if run.id in facts.replaced or should_restart(pod, spec, run.exit_code):
                stopped += 1
            elif run.exit_code == 0:
                succeeded += 1
            else:
                failed_count += 1
        else:
            unknown += 1
    if waiting:
        return "Pending"
    if running or unknown or stopped:
        return "Running"
    if failed_count:
        return "Failed"
    return "Succeeded" if succeeded else "Pending"


def _container(
    facts: PodFacts,
    spec: AnyContainerSpec,
    known: ContainerStatus | None,
    crash_loops: dict[str, float],
) -> Tree:
    if facts.being_replaced(spec.name) and (told := _told(facts, spec.name)) is not None:
        return told
    run = facts.latest(spec.name)
    is_init = any(spec is c for c in facts.pod.spec.init_containers)
    tree: Tree = {"name": spec.name, "image": spec.image, "imageID": ""}
    state, last = _states(facts, spec, known, crash_loops)
    tree["state"] = state
    tree["lastState"] = last
    tree["restartCount"] = _restart_count(run, known)
    started = ready = False
    if run is not None:
        tree["imageID"] = run.image_ref or run.image_id
        tree["containerID"] = container_id(run)
        probe = facts.probe(run)
        running = run.state is ContainerState.RUNNING
        started = running and probe.started
        if is_init and not is_sidecar(spec):
            ready = run.state is ContainerState.EXITED and run.exit_code == 0
            started = running
        else:
            ready = running and started and probe.ready
    elif known is not None and known.container_id:
        tree["imageID"] = known.image_id
        tree["containerID"] = known.container_id
    tree["ready"] = ready
    tree["started"] = started
    if run is not None and isinstance(spec, ContainerSpec):
        if spec.resources.requests:
            tree["allocatedResources"] = dict(spec.resources.requests)
        tree["resources"] = _actual_resources(facts, spec, run)
    if run is not None and run.user is not None:
        uid, gid, groups = run.user
        tree["user"] = {"linux": {"uid": uid, "gid": gid, "supplementalGroups": list(groups)}}
    mounts = [_mount_status(mount) for mount in spec.volume_mounts]
    if mounts:
        tree["volumeMounts"] = mounts
    return tree


def _told(facts: PodFacts, name: str) -> Tree | None:
    """What was told of a container last."""
    told = facts.told or {}
    listed = (*told.get("containerStatuses", ()), *told.get("initContainerStatuses", ()))
    return next((status for status in listed if status["name"] == name), None)


def _actual_resources(facts: PodFacts, spec: ContainerSpec, run: Container) -> Tree:
    """What the container was granted, or still has until it was given that."""
    if spec.name in facts.lacking:
        before = _told(facts, spec.name) or {}
        if before.get("containerID") == container_id(run) and "resources" in before:
            resources: Tree = before["resources"]
            return resources
    return spec.resources.tree()


def _mount_status(mount: Any) -> Tree:
    tree: Tree = {"name": mount.name, "mountPath": mount.mount_path}
    if mount.read_only:
        tree["readOnly"] = True
        tree["recursiveReadOnly"] = mount.recursive_read_only or "Disabled"
    return tree


def _restart_count(run: Container | None, known: ContainerStatus | None) -> int:
    if run is not None:
        return run.metadata.attempt
    return known.restart_count if known is not None else 0


def _states(
    facts: PodFacts,
    spec: AnyContainerSpec,
    known: ContainerStatus | None,
    crash_loops: dict[str, float],
) -> tuple[Tree, Tree]:
    """(state, lastState)."""
    runs = facts.containers.get(spec.name, ())
    run = runs[0] if runs else None
    previous = next(
        (r for r in runs[1:] if r.state is ContainerState.EXITED),
        None,
    )
    last: Tree = {}
    if previous is not None:
        last = {"terminated": _terminated(facts, previous)}
    elif known is not None and known.last_state.terminated is not None:
        last = known.last_state.tree()
    problem = facts.problems.get(spec.name)
    ending = facts.termination is not None
    if run is None:
        if ending and known is not None and known.state.terminated is not None:
            return known.state.tree(), last
        # Whose turn never came because an init container failed is shown as still waiting.
        if ending and facts.released and has_initialized(facts):
            return _never_ran(facts, known), last
        return {"waiting": _waiting(facts, spec)}, last
    if run.state is ContainerState.RUNNING:
        return {"running": {"startedAt": render_ns(run.started_at_ns)}}, last
    if run.state is ContainerState.CREATED:
        if ending and facts.released:
            return _never_ran(facts, known), last
        return {"waiting": _waiting(facts, spec)}, last
    ended = _terminated(facts, run)
    if ending:
        return {"terminated": ended}, last
    if problem is not None and should_restart(facts.pod, spec, run.exit_code):
        waiting = {"reason": problem.reason, "message": problem.message}
        return {"waiting": waiting}, {"terminated": ended}
    if spec.name in crash_loops:
        meta = facts.pod.metadata
        delay = render_duration(crash_loops[spec.name])
        message = (
            f"back-off {delay} restarting failed container={spec.name} "
            f"pod={meta.name}_{meta.namespace}({meta.uid})"
        )
        return (
            {"waiting": {"reason": "CrashLoopBackOff", "message": message}},
            {"terminated": ended},
        )
    return {"terminated": ended}, last


def _never_ran(facts: PodFacts, known: ContainerStatus | None) -> Tree:
    if known is not None and known.state.terminated is not None:
        return known.state.tree()
    return {
        "terminated": {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was terminated",
        }
    }


def _waiting(facts: PodFacts, spec: AnyContainerSpec) -> Tree:
    problem = facts.problems.get(spec.name)
    if problem is not None:
        return {"reason": problem.reason, "message": problem.message}
    if facts.pod.spec.init_containers:
        return {"reason": "PodInitializing"}
    return {"reason": "ContainerCreating"}


def _terminated(facts: PodFacts, run: Container) -> Tree:
    reason = run.reason or ("Completed" if run.exit_code == 0 else "Error")
    tree: Tree = {"exitCode": run.exit_code, "reason": reason}
    if run.signal:
        tree["signal"] = run.signal
    message = facts.messages.get(run.id) or run.message
    if message:
        tree["message"] = message
    if run.started_at_ns:
        tree["startedAt"] = render_ns(run.started_at_ns)
    if run.finished_at_ns:
        tree["finishedAt"] = render_ns(run.finished_at_ns)
    tree["containerID"] = container_id(run)
    return tree
