"""Why a Deployment, ReplicaSet, StatefulSet, DaemonSet or Job is not where it should be. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kutter.cli.why.finding import (
    BROKEN,
    NOTE,
    WAITING,
    Facts,
    Finding,
    Tree,
    about,
    condition_of,
    event_line,
    warnings_of,
)
from kutter.cli.why.pod import is_well, pod_findings


def workload_findings(facts: Facts) -> Iterator[Finding]:
    tree = facts.tree
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    if tree["metadata"].get("deletionTimestamp"):
        yield from deletion_findings(tree)
    if spec.get("paused"):
        yield Finding(
            WAITING,
            "It is paused: changes of its template have no effect for now.",
            ("spec.paused: true",),
            (f"kutter rollout resume {_reference(tree)}",),
        )
    if tree["metadata"].get("generation", 0) > status.get("observedGeneration", 0):
        yield Finding(
            WAITING,
            "Its controller has not yet seen its latest change.",
            (
                (
                    f"generation {tree['metadata'].get('generation')}, seen"
                    f" {status.get('observedGeneration', 0)}"
                ),
            ),
            ("if this stays so, check that the server's controllers run: 'kutter status'",),
        )
    yield from _refusals(facts)
    wanted, ready = wanted_and_ready(tree)
    if wanted == 0 and tree["kind"] != "DaemonSet":
        yield Finding(
            NOTE,
            "It is scaled to zero: it wants no pods.",
            ("spec.replicas: 0",),
            (f"kutter scale {_reference(tree)} --replicas=1",),
        )
    yield from _from_pods(facts)
    if ready < wanted:
        yield from _progress(facts, wanted, ready)


def deletion_findings(tree: Tree) -> Iterator[Finding]:
    """Of anything that is being deleted."""
    finalizers = tree["metadata"].get("finalizers") or []
    if not finalizers:
        yield Finding(WAITING, "It is being deleted.")
        return
    listed = ", ".join(finalizers)
    says = f"It is being deleted and waits for its finalizers to be removed: {listed}."
    steps = ["find what owns the finalizer and why it does not act"]
    if "foregroundDeletion" in finalizers:
        says = "It is being deleted, and waits until what it owns is gone."
        steps = ["look at what is left of its pods and other dependents"]
    yield Finding(WAITING, says, (f"metadata.finalizers: {listed}",), tuple(steps))


def wanted_and_ready(tree: Tree) -> tuple[int, int]:
    """How many pods there shall be, and how many are ready."""
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    if tree["kind"] == "DaemonSet":
        return status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    return spec.get("replicas", 1), status.get("readyReplicas", 0)


def _refusals(facts: Facts) -> Iterator[Finding]:
    """The API refuses its pods: quota, limits, policy."""
    condition = condition_of(facts.tree, "ReplicaFailure")
    events = warnings_of([*facts.events, *facts.replica_set_events], "FailedCreate")
    if condition is not None and condition.get("status") == "True":
        message = condition.get("message") or ""
    elif events and not facts.pods:
        message = (events[0].get("message") or "").removeprefix("Error creating: ")
    else:
        return
    steps = ["correct the pod template as the message says"]
    if "exceeded quota" in message:
        steps = ["raise the quota, or ask for less: kutter describe resourcequota"]
    yield Finding(
        BROKEN,
        f"Its pods are refused: {message}",
        tuple(event_line(event) for event in events[:2]),
        tuple(steps),
    )


def _from_pods(facts: Facts) -> Iterator[Finding]:
    """The reasons of its pods, each reason once."""
    seen: dict[tuple[str, str], list[str]] = {}
    first: dict[tuple[str, str], Finding] = {}
    for pod in facts.pod_facts:
        for finding in pod_findings(pod):
            if finding.kind == NOTE:
                continue
            key = (finding.kind, finding.says)
            seen.setdefault(key, []).append(pod.name)
            first.setdefault(key, finding)
    for key, names in seen.items():
        prefix = f"Pod {names[0]}: "
        if len(names) > 1:
            prefix = f"{len(names)} pods, such as {names[0]}: "
        yield about(prefix, first[key])


def _progress(facts: Facts, wanted: int, ready: int) -> Iterator[Finding]:
    condition = condition_of(facts.tree, "Progressing") or {}
    evidence = [f"{ready} of {wanted} pods are ready, {len(facts.pods)} exist"]
    if condition.get("reason") == "ProgressDeadlineExceeded":
        evidence.append(condition.get("message") or "")
        yield Finding(
            BROKEN,
            "Its rollout made no progress within its deadline.",
            tuple(evidence),
            (f"kutter rollout undo {_reference(facts.tree)} goes back to what worked",),
        )
    elif not facts.pod_facts:
        says = f"{ready} of {wanted} pods are ready; the rest is on its way."
        if not facts.pods:
            says = f"It wants {wanted} pods and none exists yet."
        yield Finding(WAITING, says, tuple(evidence))


def job_findings(facts: Facts) -> Iterator[Finding]:
    job = facts.tree
    spec, status = job.get("spec") or {}, job.get("status") or {}
    if job["metadata"].get("deletionTimestamp"):
        yield from deletion_findings(job)
    failed, complete = condition_of(job, "Failed"), condition_of(job, "Complete")
    if complete is not None and complete.get("status") == "True":
        yield Finding(NOTE, "It has finished, with success.")
        return
    if failed is not None and failed.get("status") == "True":
        yield Finding(
            BROKEN,
            f"It failed ({failed.get('reason')}): {failed.get('message')}.".replace("..", "."),
            (f"{status.get('failed', 0)} pods failed, {status.get('succeeded', 0)} succeeded",),
            (f"kutter logs job/{facts.name}", "delete it and create it anew to try again"),
        )
    if spec.get("suspend"):
        yield Finding(
            WAITING,
            "It is suspended.",
            ("spec.suspend: true",),
            (f"""kutter patch job {facts.name} -p '{{"spec":{{"suspend":false}}}}'""",),
        )
    yield from _refusals(facts)
    yield from _from_pods(facts)
    if failed is None and not spec.get("suspend") and not facts.pod_facts:
        running = status.get("active", 0)
        yield Finding(WAITING, f"It is at work: {running} pods run." if running else
                      "None of its pods exists yet.")  # fmt: skip


def sick_pods(pods: list[Tree]) -> list[Tree]:
    """Pods worth explaining; deletions in progress only when nothing else is wrong."""
    sick = [pod for pod in pods if not is_well(pod)]
    staying = [pod for pod in sick if not pod["metadata"].get("deletionTimestamp")]
    return staying or sick


def _reference(tree: Tree) -> str:
    return f"{tree['kind'].lower()}/{tree['metadata']['name']}"
