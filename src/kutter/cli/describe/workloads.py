"""Deployments, ReplicaSets and their kin for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kutter.api.selectors import from_tree
from kutter.cli.describe.events import add_events, events_of
from kutter.cli.describe.heads import add_conditions, add_controller, add_head
from kutter.cli.describe.layout import Page
from kutter.cli.describe.pod_template import add_template
from kutter.cli.moments import long_time

if TYPE_CHECKING:
    from kutter.cli.session import Session

Tree = dict[str, Any]


def describe_deployment(session: Session, deployment: Tree, *, show_events: bool) -> str:
    page = Page()
    metadata, spec = deployment["metadata"], deployment["spec"]
    status = deployment.get("status") or {}
    page.field("Name", metadata["name"])
    page.field("Namespace", metadata["namespace"])
    page.field("CreationTimestamp", long_time(metadata.get("creationTimestamp")))
    add_head(page, metadata)
    page.field("Selector", str(from_tree(spec.get("selector"))))
    page.field(
        "Replicas",
        f"{spec.get('replicas', 0)} desired | {status.get('updatedReplicas', 0)} updated |"
        f" {status.get('replicas', 0)} total | {status.get('availableReplicas', 0)} available |"
        f" {status.get('unavailableReplicas', 0)} unavailable",
    )
    strategy = spec.get("strategy") or {}
    page.field("StrategyType", strategy.get("type", ""))
    page.field("MinReadySeconds", spec.get("minReadySeconds", 0))
    rolling = strategy.get("rollingUpdate")
    if rolling:
        page.field(
            "RollingUpdateStrategy",
            f"{rolling.get('maxUnavailable')} max unavailable, {rolling.get('maxSurge')} max surge",
        )
    add_template(page, spec["template"])
    add_conditions(page, status.get("conditions") or [])
    _add_replica_sets(page, session, deployment)
    if show_events:
        add_events(page, events_of(session, deployment))
    return page.text()


def _add_replica_sets(page: Page, session: Session, deployment: Tree) -> None:
    from kutter.cli.revisions import REVISION

    metadata = deployment["metadata"]
    sets = session.list(session.kinds.find("replicasets.apps"), metadata["namespace"])
    own = [
        r
        for r in sets
        if any(o.get("uid") == metadata["uid"] for o in r["metadata"].get("ownerReferences") or ())
    ]
    current = (metadata.get("annotations") or {}).get(REVISION)
    if not own:
        return
    new = [r for r in own if (r["metadata"].get("annotations") or {}).get(REVISION) == current]
    old = [r for r in own if r not in new]
    page.field("OldReplicaSets", ", ".join(_set_text(r) for r in old) or "<none>")
    page.field("NewReplicaSet", ", ".join(_set_text(r) for r in new) or "<none>")


def _set_text(replica_set: Tree) -> str:
    made = (replica_set.get("status") or {}).get("replicas", 0)
    wanted = replica_set["spec"].get("replicas", 0)
    return f"{replica_set['metadata']['name']} ({made}/{wanted} replicas created)"


def describe_replica_set(session: Session, tree: Tree, *, show_events: bool) -> str:
    """ReplicaSets and ReplicationControllers."""
    page = Page()
    metadata, spec, status = tree["metadata"], tree["spec"], tree.get("status") or {}
    page.field("Name", metadata["name"])
    page.field("Namespace", metadata["namespace"])
    if tree["kind"] == "ReplicaSet":
        page.field("Selector", str(from_tree(spec.get("selector"))))
        selector = str(from_tree(spec.get("selector")))
    else:
        selector = ",".join(f"{k}={v}" for k, v in sorted((spec.get("selector") or {}).items()))
        page.field("Selector", selector)
    add_head(page, metadata)
    add_controller(page, metadata)
    page.field(
        "Replicas", f"{status.get('replicas', 0)} current / {spec.get('replicas', 0)} desired"
    )
    page.field("Pods Status", _pods_status(session, metadata, selector))
    add_template(page, spec["template"])
    add_conditions(page, status.get("conditions") or [])
    if show_events:
        add_events(page, events_of(session, tree))
    return page.text()


def _pods_status(session: Session, metadata: Tree, selector: str) -> str:
    pods = session.list(session.kinds.find("pods"), metadata["namespace"], selector=selector)
    counts = dict.fromkeys(("Running", "Waiting", "Succeeded", "Failed"), 0)
    for pod in pods:
        owners = pod["metadata"].get("ownerReferences") or ()
        if not any(o.get("uid") == metadata["uid"] and o.get("controller") for o in owners):
            continue
        phase = (pod.get("status") or {}).get("phase", "Pending")
        counts["Waiting" if phase == "Pending" else phase] = (
            counts.get("Waiting" if phase == "Pending" else phase, 0) + 1
        )
    return " / ".join(f"{count} {phase}" for phase, count in counts.items())
