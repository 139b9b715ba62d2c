"""A node for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kutter.api.quantity import Quantity, parse
from kutter.cli.describe.events import add_events, events_of
from kutter.cli.describe.heads import add_head
from kutter.cli.describe.layout import Page
from kutter.cli.moments import age, long_time

if TYPE_CHECKING:
    from kutter.cli.session import Session

Tree = dict[str, Any]
_ROLE = "node-role.kubernetes.io/"
_INFO = (
    ("Machine ID", "machineID"),
    ("System UUID", "systemUUID"),
    ("Boot ID", "bootID"),
    ("Kernel Version", "kernelVersion"),
    ("OS Image", "osImage"),
    ("Operating System", "operatingSystem"),
    ("Architecture", "architecture"),
    ("Container Runtime Version", "containerRuntimeVersion"),
    ("Kubelet Version", "kubeletVersion"),
    ("Kube-Proxy Version", "kubeProxyVersion"),
)


def describe_node(session: Session, node: Tree, *, show_events: bool) -> str:
    page = Page()
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    name = metadata["name"]
    page.field("Name", name)
    labels = metadata.get("labels") or {}
    roles = sorted(k.removeprefix(_ROLE) for k in labels if k.startswith(_ROLE))
    page.field("Roles", ",".join(roles) or "<none>")
    add_head(page, metadata)
    page.field("CreationTimestamp", long_time(metadata.get("creationTimestamp")))
    taints = [taint_text(t) for t in spec.get("taints") or ()]
    page.field("Taints", taints[0] if taints else "<none>")
    for text in taints[1:]:
        page.add(f"\t{text}")
    page.field("Unschedulable", "true" if spec.get("unschedulable") else "false")
    _add_lease(page, session, name)
    _add_conditions(page, status.get("conditions") or [])
    page.add("Addresses:")
    for address in status.get("addresses") or ():
        page.field(address["type"], address["address"], 1)
    for title in ("Capacity", "Allocatable"):
        amounts = status.get(title.lower()) or {}
        if amounts:
            page.add(f"{title}:")
        for resource, amount in sorted(amounts.items()):
            page.field(resource, amount, 1)
    page.add("System Info:")
    for title, key in _INFO:
        page.field(title, (status.get("nodeInfo") or {}).get(key, ""), 1)
    if spec.get("podCIDR"):
        page.field("PodCIDR", spec["podCIDR"])
    if spec.get("podCIDRs"):
        page.field("PodCIDRs", ",".join(spec["podCIDRs"]))
    _add_pods(page, session, node)
    if show_events:
        add_events(page, events_of(session, node))
    return page.text()


def taint_text(taint: Tree) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def _add_lease(page: Page, session: Session, name: str) -> None:
    lease = session.find(session.kinds.find("leases"), name, "kube-node-lease")
    if lease is None:
        text = f'leases.coordination.k8s.io "{name}" not found'
        page.add(f"Lease:\tFailed to get lease: {text}")
        return
    spec = lease.get("spec") or {}
    page.add("Lease:")
    page.field("HolderIdentity", spec.get("holderIdentity") or "<unset>", 1)
    page.field("AcquireTime", long_time(spec.get("acquireTime")) or "<unset>", 1)
    page.field("RenewTime", long_time(spec.get("renewTime")) or "<unset>", 1)


def _add_conditions(page: Page, conditions: list[Tree]) -> None:
    if not conditions:
        return
    page.add("Conditions:")
    page.add("  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage")
    page.add("  ----\t------\t-----------------\t------------------\t------\t-------")
    for condition in conditions:
        page.add(
            f"  {condition['type']} \t{condition['status']}"
            f" \t{long_time(condition.get('lastHeartbeatTime'))}"
            f" \t{long_time(condition.get('lastTransitionTime'))}"
            f" \t{condition.get('reason', '')} \t{condition.get('message', '')}"
        )


def _add_pods(page: Page, session: Session, node: Tree) -> None:
    pods = session.list(
        session.kinds.find("pods"),
        fields=f"spec.nodeName={node['metadata']['name']},status.phase!=Failed,"
        "status.phase!=Succeeded",
    )
    has = (node.get("status") or {}).get("allocatable") or {}
    page.add(f"Non-terminated Pods:\t({len(pods)} in total)")
    page.add("  Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge")
    page.add("  ---------\t----\t\t------------\t----------\t---------------\t-------------\t---")
    totals: dict[tuple[str, str], Quantity] = {}
    for pod in pods:
        cells = []
        for resource in ("cpu", "memory"):
            for kind in ("requests", "limits"):
                amount = pod_amount(pod, resource, kind)
                totals[resource, kind] = totals.get((resource, kind), Quantity(0)) + amount
                cells.append(_with_share(amount, has.get(resource)))
        metadata = pod["metadata"]
        page.add(
            f"  {metadata['namespace']}\t{metadata['name']}\t\t"
            + "\t".join(cells)
            + f"\t{age(metadata.get('creationTimestamp'))}"
        )
    page.add("Allocated resources:")
    page.add("  (Total limits may be over 100 percent, i.e., overcommitted.)")
    page.add("  Resource\tRequests\tLimits")
    page.add("  --------\t--------\t------")
    for resource in ("cpu", "memory", "ephemeral-storage"):
        shares = [
            _with_share(totals.get((resource, kind), Quantity(0)), has.get(resource))
            for kind in ("requests", "limits")
        ]
        page.add(f"  {resource}\t{shares[0]}\t{shares[1]}")


def pod_amount(pod: Tree, resource: str, kind: str) -> Quantity:
    """What the pod's containers ask for, or may use at most."""
    total = Quantity(0)
    for container in pod["spec"].get("containers") or ():
        amount = ((container.get("resources") or {}).get(kind) or {}).get(resource)
        if amount is not None:
            total += parse(amount)
    return total


def _with_share(amount: Quantity, allocatable: str | None) -> str:
    there = parse(allocatable).nanos if allocatable else 0
    return f"{amount} ({amount.nanos * 100 // there if there else 0}%)"
