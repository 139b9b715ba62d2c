"""Why a pod is not ready. Pure.

Order is that of a pod's life: deletion, scheduling, node, what it mounts, images, init containers,
containers, probes. Reasons and messages read here are those upstream's kubelet and scheduler write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from kutter.cli.why.container import container_findings
from kutter.cli.why.finding import (
    BROKEN,
    NOTE,
    WAITING,
    Facts,
    Finding,
    Tree,
    condition_of,
    event_line,
    warnings_of,
)

_nodes_available = re.compile(r"^(\d+)/(\d+) nodes are available: (.*)$", re.DOTALL).match
_UNSCHEDULED = "FailedScheduling"
_SETUP = (
    "FailedMount",
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
    "NetworkNotReady",
    "FailedCreatePodContainer",
)


def pod_findings(facts: Facts) -> Iterator[Finding]:
    pod = facts.tree
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        yield from _deletion(facts)
        return
    phase = status.get("phase")
    if phase == "Succeeded":
        yield Finding(NOTE, "It has finished, with success.")
        return
    if phase == "Failed":
        yield _failed(facts)
        return
    if not (pod.get("spec") or {}).get("nodeName"):
        yield _unscheduled(facts)
        return
    if is_well(pod):
        yield from container_findings(facts)
        return
    yield from _node(facts)
    yield from _missing(facts)
    of_containers = list(container_findings(facts))
    yield from of_containers
    if not of_containers:
        yield from _setup(facts)
    yield from _gates(pod)


def is_well(pod: Tree) -> bool:
    """Ready and staying, or finished with success."""
    phase = (pod.get("status") or {}).get("phase")
    if pod["metadata"].get("deletionTimestamp"):
        return False
    ready = condition_of(pod, "Ready")
    return phase == "Succeeded" or (
        phase == "Running" and ready is not None and ready.get("status") == "True"
    )


def _deletion(facts: Facts) -> Iterator[Finding]:
    metadata = facts.tree["metadata"]
    finalizers = metadata.get("finalizers") or []
    if finalizers:
        yield Finding(
            BROKEN,
            f"It is being deleted and waits for {_listed('finalizer', finalizers)} to be removed.",
            (f"metadata.finalizers: {', '.join(finalizers)}",),
            (
                "find what owns the finalizer and why it does not act",
                "as a last resort, remove it with 'kutter edit'",
            ),
        )
    left_s = (_time(metadata["deletionTimestamp"]) - facts.now).total_seconds()
    if left_s > 0:
        yield Finding(
            WAITING,
            f"It is being deleted; its containers have up to {left_s:.0f} seconds left to end.",
            (f"grace period: {metadata.get('deletionGracePeriodSeconds', 0)} seconds",),
        )
    elif not finalizers:
        node = (facts.tree.get("spec") or {}).get("nodeName", "")
        evidence = [f"it should have been gone {-left_s:.0f} seconds ago"]
        kind = WAITING if left_s > -10 else BROKEN
        says = "It is being deleted and its node has not yet confirmed that its containers ended."
        if facts.node is not None and not _node_ready(facts.node):
            says = f"It is being deleted, but its node {node} is not ready to confirm it."
        elif facts.node_is_missing:
            says = f"It is being deleted, but its node {node} is not there any more to confirm it."
        evidence += [event_line(e) for e in warnings_of(facts.events, "FailedKillPod")[:1]]
        yield Finding(
            kind,
            says,
            tuple(evidence),
            (
                f"'kutter why node/{node}' tells about the node",
                f"if the node is lost: kutter delete pod {facts.name} --force",
            ),
        )


def _failed(facts: Facts) -> Finding:
    status = facts.tree.get("status") or {}
    reason, message = status.get("reason"), status.get("message")
    if reason:
        said = f": {message}" if message else ""
        return Finding(BROKEN, f"It failed ({reason}){said}.".replace("..", "."))
    from kutter.cli.why.exit_codes import advice, ended_text

    for container in status.get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            steps = [f"kutter logs {facts.name} -c {container['name']}"]
            steps += [advice(ended)] if advice(ended) else []
            return Finding(
                BROKEN,
                f"It failed: container {container['name']} ended with {ended_text(ended)}.",
                ((ended["message"].strip(),) if ended.get("message") else ()),
                tuple(steps),
            )
    return Finding(BROKEN, "It failed, and says nothing about the reason.")


def _unscheduled(facts: Facts) -> Finding:
    spec = facts.tree.get("spec") or {}
    gates = [gate["name"] for gate in spec.get("schedulingGates") or ()]
    if gates:
        return Finding(
            WAITING,
            f"It is held back from scheduling by {_listed('gate', gates)}.",
            (f"spec.schedulingGates: {', '.join(gates)}",),
            ("whatever set the gate has to remove it",),
        )
    condition = condition_of(facts.tree, "PodScheduled") or {}
    message = condition.get("message") or ""
    if not message:
        failed = warnings_of(facts.events, _UNSCHEDULED)
        message = (failed[0].get("message") or "") if failed else ""
    if not message:
        scheduler = spec.get("schedulerName") or "default-scheduler"
        return Finding(
            WAITING,
            "No scheduler has looked at it yet.",
            (f"spec.schedulerName: {scheduler}",),
            ("if this stays so, check that this scheduler runs: 'kutter status'",),
        )
    if message.startswith("no nodes available"):
        steps = ("add a node: 'sudo kutter up' on this machine",)
        return Finding(BROKEN, "No node can take it: the cluster has no nodes.", (message,), steps)
    match = _nodes_available(message)
    if match is None:
        return Finding(BROKEN, f"It cannot be scheduled: {message}")
    reasons = scheduling_reasons(match[3])
    says = f"No node can take it: of {match[2]} nodes, {', '.join(reasons) or 'none fits'}."
    if match[2] == "0":
        says = "No node can take it: the cluster has no nodes."
    return Finding(BROKEN, says, tuple(_wants(facts)), tuple(_scheduling_advice(match[3])))


def scheduling_reasons(text: str) -> list[str]:
    """``3 Insufficient cpu, 1 node(s) had untolerated taint {a: b}.`` as clauses."""
    main = (
        text.split(". preemption:", maxsplit=1)[0].split(" preemption:", maxsplit=1)[0].rstrip(". ")
    )
    parts = re.split(r", (?=\d+ )", main)
    clauses = []
    for part in parts:
        number, _, reason = part.partition(" ")
        if not number.isdigit():
            clauses.append(part)
            continue
        reason = reason.replace("node(s) ", "").rstrip(".")
        if reason.startswith("Insufficient "):
            reason = f"lack {reason.removeprefix('Insufficient ')}"
        elif reason.startswith("Too many pods"):
            reason = "have no room for more pods"
        clauses.append(f"{number} {reason}")
    return clauses


def _wants(facts: Facts) -> Iterator[str]:
    spec = facts.tree.get("spec") or {}
    for container in spec.get("containers") or ():
        requests = (container.get("resources") or {}).get("requests") or {}
        if requests:
            asked = ", ".join(f"{k} {v}" for k, v in sorted(requests.items()))
            yield f"container {container['name']} asks for {asked}"
    selector = spec.get("nodeSelector") or {}
    if selector:
        yield "it wants a node with " + ", ".join(f"{k}={v}" for k, v in sorted(selector.items()))


def _scheduling_advice(text: str) -> Iterator[str]:
    if "Insufficient" in text:
        yield "lower the pod's requests, free room, or add a node ('kutter describe nodes')"
    if "taint" in text:
        yield "add a toleration to the pod, or remove the taint: kutter taint node NODE KEY-"
    if "affinity/selector" in text or "node selector" in text:
        yield "label a node as the pod wants it: kutter label node NODE KEY=VALUE"
    if "unschedulable" in text:
        yield "let the node take pods again: kutter uncordon NODE"
    if "free ports" in text:
        yield "another pod has the host port: use a service instead of hostPort"


def _node(facts: Facts) -> Iterator[Finding]:
    node = (facts.tree.get("spec") or {}).get("nodeName", "")
    if facts.node_is_missing:
        yield Finding(
            BROKEN,
            f"Its node {node} is not in the cluster.",
            (f"spec.nodeName: {node}",),
            ("delete the pod, or bring the node back",),
        )
    elif facts.node is not None and not _node_ready(facts.node):
        condition = condition_of(facts.node, "Ready") or {}
        yield Finding(
            BROKEN,
            f"Its node {node} is not ready.",
            (f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": "),),
            (f"'kutter why node/{node}' tells more",),
        )


def _node_ready(node: Tree) -> bool:
    return (condition_of(node, "Ready") or {}).get("status") == "True"


def _missing(facts: Facts) -> Iterator[Finding]:
    for what in facts.missing:
        yield Finding(
            BROKEN,
            f"It needs {what}, which does not exist in its namespace.",
            (),
            (f"create {what}, or correct the name in the pod's template",),
        )


def _setup(facts: Facts) -> Iterator[Finding]:
    """What keeps its containers from being made, as long as none was."""
    statuses = (facts.tree.get("status") or {}).get("containerStatuses") or ()
    waiting = [(s.get("state") or {}).get("waiting") for s in statuses]
    if statuses and not any(
        w and w.get("reason") in ("ContainerCreating", "PodInitializing") for w in waiting
    ):
        return
    failed = warnings_of(facts.events, *_SETUP)
    if failed:
        yield Finding(
            BROKEN,
            f"Its node cannot set it up: {(failed[0].get('message') or '').strip()}",
            tuple(event_line(event) for event in failed[:3]),
            ("'kutter logs --of agent' on the node tells more",),
        )
    elif not statuses or any(waiting):
        yield Finding(WAITING, "Its node is setting it up: images, volumes and network.")


def _gates(pod: Tree) -> Iterator[Finding]:
    for gate in (pod.get("spec") or {}).get("readinessGates") or ():
        name = gate.get("conditionType", "")
        if (condition_of(pod, name) or {}).get("status") != "True":
            yield Finding(
                WAITING,
                f"Its readiness gate {name} is not met.",
                (),
                ("whatever sets this condition has not done so",),
            )


def _listed(noun: str, names: list[str]) -> str:
    return f"{noun} {names[0]}" if len(names) == 1 else f"{noun}s {', '.join(names)}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
