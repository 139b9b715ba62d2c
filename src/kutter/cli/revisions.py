"""Rollouts: revisions of workloads, how far a rollout is, how to go back. Pure where it can be.

Upstream: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-back-a-deployment
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kutter.cli.command import CommandError

Tree = dict[str, Any]
REVISION = "deployment.kubernetes.io/revision"
CHANGE_CAUSE = "kubernetes.io/change-cause"
HASH = "pod-template-hash"
# Annotations of a ReplicaSet that are not the Deployment's own: kept where they are.
NOT_ROLLED_BACK = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        "deployment.kubernetes.io/revision-history",
        "deployment.kubernetes.io/desired-replicas",
        "deployment.kubernetes.io/max-replicas",
        "deprecated.deployment.rollback.to",
    }
)


class Revision(NamedTuple):
    """One revision: its pod template and why it was made."""

    number: int
    template: Tree
    cause: str
    annotations: dict[str, str]


def deployment_revisions(deployment: Tree, replica_sets: list[Tree]) -> list[Revision]:
    """From its replica sets, oldest first."""
    uid = deployment["metadata"]["uid"]
    found = []
    for replica_set in replica_sets:
        metadata = replica_set["metadata"]
        owners = metadata.get("ownerReferences") or ()
        if not any(o.get("uid") == uid and o.get("controller") for o in owners):
            continue
        annotations = metadata.get("annotations") or {}
        number = str(annotations.get(REVISION) or "0")
        template = replica_set["spec"].get("template") or {}
        found.append(
            Revision(
                int(number) if number.isdigit() else 0,
                without_hash(template),
                annotations.get(CHANGE_CAUSE) or "",
                annotations,
            )
        )
    return sorted(found, key=lambda r: r.number)


def controller_revisions(owner: Tree, revisions: list[Tree]) -> list[Revision]:
    """Of DaemonSets and StatefulSets, from their ControllerRevisions."""
    uid = owner["metadata"]["uid"]
    found = []
    for revision in revisions:
        metadata = revision["metadata"]
        if not any(o.get("uid") == uid for o in metadata.get("ownerReferences") or ()):
            continue
        data = revision.get("data") or {}
        template = {**((data.get("spec") or {}).get("template") or {})}
        template.pop("$patch", None)
        annotations = metadata.get("annotations") or {}
        found.append(
            Revision(
                int(revision.get("revision") or 0),
                template,
                annotations.get(CHANGE_CAUSE) or "",
                annotations,
            )
        )
    return sorted(found, key=lambda r: r.number)


def without_hash(template: Tree) -> Tree:
    """A pod template as its Deployment has it."""
    metadata = template.get("metadata") or {}
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def choose_revision(revisions: list[Revision], wanted: int) -> Revision:
    """Revision ``wanted``, or the one before the latest for 0. Raises CommandError."""
    if wanted:
        for revision in revisions:
            if revision.number == wanted:
                return revision
        raise CommandError(f"unable to find specified revision {wanted} in history")
    if len(revisions) < 2:
        raise CommandError("no rollout history found", hint="there is nothing to go back to")
    return revisions[-2]


def deployment_status(deployment: Tree) -> tuple[str, bool]:
    """What to say and whether it is done. Raises CommandError past the progress deadline."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    status = deployment.get("status") or {}
    name = metadata["name"]
    if metadata.get("generation", 0) > status.get("observedGeneration", 0):
        return "Waiting for deployment spec update to be observed...", False
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Progressing" and (
            condition.get("reason") == "ProgressDeadlineExceeded"
        ):
            raise CommandError(
                f'deployment "{name}" exceeded its progress deadline',
                hint=f"'kutter why deployment/{name}' tells what holds it up",
            )
    wanted = spec.get("replicas", 1)
    updated, all_pods = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    head = f'Waiting for deployment "{name}" rollout to finish:'
    if updated < wanted:
        return f"{head} {updated} out of {wanted} new replicas have been updated...", False
    if all_pods > updated:
        return f"{head} {all_pods - updated} old replicas are pending termination...", False
    if available < updated:
        return f"{head} {available} of {updated} updated replicas are available...", False
    return f'deployment "{name}" successfully rolled out', True


def daemon_set_status(daemon_set: Tree) -> tuple[str, bool]:
    metadata, status = daemon_set["metadata"], daemon_set.get("status") or {}
    name = metadata["name"]
    if metadata.get("generation", 0) > status.get("observedGeneration", 0):
        return "Waiting for daemon set spec update to be observed...", False
    wanted = status.get("desiredNumberScheduled", 0)
    updated = status.get("updatedNumberScheduled", 0)
    available = status.get("numberAvailable", 0)
    head = f'Waiting for daemon set "{name}" rollout to finish:'
    if updated < wanted:
        return f"{head} {updated} out of {wanted} new pods have been updated...", False
    if available < wanted:
        return f"{head} {available} of {wanted} updated pods are available...", False
    return f'daemon set "{name}" successfully rolled out', True


def stateful_set_status(stateful_set: Tree) -> tuple[str, bool]:
    metadata, spec = stateful_set["metadata"], stateful_set["spec"]
    status = stateful_set.get("status") or {}
    if metadata.get("generation", 0) > status.get("observedGeneration", 0):
        return "Waiting for statefulset spec update to be observed...", False
    wanted = spec.get("replicas", 1)
    if status.get("readyReplicas", 0) < wanted:
        missing = wanted - status.get("readyReplicas", 0)
        return f"Waiting for {missing} pods to be ready...", False
    if status.get("updateRevision") != status.get("currentRevision"):
        updated = status.get("updatedReplicas", 0)
        return (
            f"waiting for statefulset rolling update to complete {updated} pods at revision"
            f" {status.get('updateRevision')}..."
        ), False
    return (
        f"statefulset rolling update complete {status.get('currentReplicas', 0)} pods at revision"
        f" {status.get('currentRevision')}..."
    ), True
