"""Why a node, a namespace or a claim is not as it should be. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from kutter.cli.why.finding import (
    BROKEN,
    NOTE,
    WAITING,
    Facts,
    Finding,
    condition_of,
    event_line,
    warnings_of,
)

_LEASE_STALE_S = 40.0
_PRESSURE = {
    "MemoryPressure": "It runs out of memory and evicts pods.",
    "DiskPressure": "It runs out of disk space and evicts pods.",
    "PIDPressure": "It runs out of process ids.",
    "NetworkUnavailable": "Its network is not set up.",
}
_BROUGHT_BY_STATE = "node.kubernetes.io/"


def node_findings(facts: Facts) -> Iterator[Finding]:
    node = facts.tree
    ready = condition_of(node, "Ready")
    renewed = ((facts.lease or {}).get("spec") or {}).get("renewTime")
    silence_s = (facts.now - datetime.fromisoformat(renewed)).total_seconds() if renewed else None
    stale = silence_s is not None and silence_s > _LEASE_STALE_S
    if ready is None:
        yield Finding(
            BROKEN,
            "Its agent has never reported.",
            (),
            ("start the agent on it: 'sudo kutter up', then 'kutter logs --of agent'",),
        )
    elif ready.get("status") == "Unknown" or stale:
        evidence = [f"{ready.get('reason', '')}: {ready.get('message', '')}"]
        if silence_s is not None:
            evidence.append(f"its lease was renewed {silence_s:.0f} seconds ago, every 10 are due")
        yield Finding(
            BROKEN,
            "Its agent does not report any more.",
            tuple(evidence),
            (
                "is the machine up and does it reach the API server?",
                "on the node: 'kutter status' and 'kutter logs --of agent'",
            ),
        )
    elif ready.get("status") != "True":
        yield Finding(
            BROKEN,
            f"It is not ready: {ready.get('message') or ready.get('reason')}",
            (f"condition Ready: {ready.get('reason')}",),
            ("on the node: 'kutter logs --of agent'",),
        )
    for name, says in _PRESSURE.items():
        condition = condition_of(node, name)
        if condition is not None and condition.get("status") == "True":
            yield Finding(BROKEN, says, (f"{name}: {condition.get('message', '')}",))
    if (node.get("spec") or {}).get("unschedulable"):
        yield Finding(
            NOTE,
            "It is cordoned: it takes no new pods.",
            ("spec.unschedulable: true",),
            (f"kutter uncordon {facts.name}",),
        )
    for taint in (node.get("spec") or {}).get("taints") or ():
        if not taint["key"].startswith(_BROUGHT_BY_STATE):
            value = f"={taint['value']}" if taint.get("value") else ""
            text = f"{taint['key']}{value}:{taint['effect']}"
            yield Finding(
                NOTE,
                f"Pods that do not tolerate its taint {text} stay away.",
                (),
                (f"kutter taint node {facts.name} {taint['key']}-",),
            )


def namespace_findings(facts: Facts) -> Iterator[Finding]:
    tree = facts.tree
    if (tree.get("status") or {}).get("phase") != "Terminating":
        return
    evidence = []
    for name in (
        "NamespaceDeletionDiscoveryFailure",
        "NamespaceDeletionGroupVersionParsingFailure",
        "NamespaceDeletionContentFailure",
        "NamespaceContentRemaining",
        "NamespaceFinalizersRemaining",
    ):
        condition = condition_of(tree, name)
        if condition is not None and condition.get("status") == "True":
            evidence.append(condition.get("message") or name)
    left = list(facts.remaining)
    if left:
        shown = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        says = f"It is being deleted, and these are still in it: {shown}."
    else:
        finalizers = (tree.get("spec") or {}).get("finalizers") or []
        says = "It is being deleted; nothing visible is left in it."
        if finalizers:
            says += f" Its own finalizers remain: {', '.join(finalizers)}."
    stuck = any("finalizers" in text.lower() for text in [*evidence, *left])
    steps = ["'kutter why KIND/NAME -n " + facts.name + "' explains each of them"] if left else []
    if stuck:
        steps.append("find what owns the finalizers and why it does not act")
    yield Finding(BROKEN if stuck else WAITING, says, tuple(evidence), tuple(steps))


def claim_findings(facts: Facts) -> Iterator[Finding]:
    claim = facts.tree
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    phase = status.get("phase")
    if phase == "Bound":
        return
    if phase == "Lost":
        yield Finding(BROKEN, f"The volume {spec.get('volumeName')} it was bound to is gone.")
        return
    failed = warnings_of(facts.events, "ProvisioningFailed", "FailedBinding", "VolumeMismatch")
    evidence = tuple(event_line(event) for event in failed[:2])
    name = spec.get("storageClassName")
    if name is None and not facts.has_default_class:
        yield Finding(
            BROKEN,
            "It names no storage class, the cluster has no default one, and no volume fits it.",
            evidence,
            ("create a PersistentVolume for it, or name a class: kutter get storageclass",),
        )
    elif name and facts.storage_class is None:
        yield Finding(
            BROKEN,
            f"Its storage class {name} does not exist.",
            evidence,
            ("create the class, or a PersistentVolume of that class name",),
        )
    elif (facts.storage_class or {}).get("volumeBindingMode") == "WaitForFirstConsumer" and (
        not failed
    ):
        yield Finding(WAITING, "It waits for the first pod that uses it.")
    elif failed:
        yield Finding(BROKEN, f"No volume can be made for it: {failed[0].get('message')}", evidence)
    else:
        yield Finding(WAITING, "It waits for a volume that fits it.")
