"""A pod for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kutter.cli.describe.containers import add_containers
from kutter.cli.describe.events import add_events, events_of
from kutter.cli.describe.heads import add_controller, add_head
from kutter.cli.describe.layout import Page
from kutter.cli.describe.pod_template import add_placement
from kutter.cli.describe.volumes import add_volumes
from kutter.cli.moments import age, long_time

if TYPE_CHECKING:
    from kutter.cli.session import Session

Tree = dict[str, Any]


def describe_pod(session: Session, pod: Tree, *, show_events: bool) -> str:
    page = Page()
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    page.field("Name", metadata["name"])
    page.field("Namespace", metadata["namespace"])
    if spec.get("priority") is not None:
        page.field("Priority", spec["priority"])
    if spec.get("priorityClassName"):
        page.field("Priority Class Name", spec["priorityClassName"])
    if spec.get("runtimeClassName"):
        page.field("Runtime Class Name", spec["runtimeClassName"])
    if spec.get("serviceAccountName"):
        page.field("Service Account", spec["serviceAccountName"])
    node = spec.get("nodeName")
    page.field("Node", f"{node}/{status.get('hostIP', '')}" if node else "<none>")
    if status.get("startTime"):
        page.field("Start Time", long_time(status["startTime"]))
    add_head(page, metadata)
    _add_state(page, metadata, status)
    _add_addresses(page, status)
    add_controller(page, metadata)
    if spec.get("initContainers"):
        add_containers(
            page,
            "Init Containers",
            spec["initContainers"],
            status.get("initContainerStatuses") or [],
            pod=pod,
        )
    add_containers(
        page, "Containers", spec["containers"], status.get("containerStatuses") or [], pod=pod
    )
    if status.get("conditions"):
        page.add("Conditions:")
        page.add("  Type\tStatus")
        for condition in status["conditions"]:
            page.add(f"  {condition['type']}\t{condition['status']} ")
    add_volumes(page, spec.get("volumes") or [])
    page.field("QoS Class", status.get("qosClass") or "BestEffort")
    add_placement(page, spec)
    if show_events:
        add_events(page, events_of(session, pod))
    return page.text()


def _add_state(page: Page, metadata: Tree, status: Tree) -> None:
    if metadata.get("deletionTimestamp"):
        page.field("Status", f"Terminating (lasts {age(metadata['deletionTimestamp'])})")
        grace = metadata.get("deletionGracePeriodSeconds", 0)
        page.field("Termination Grace Period", f"{grace}s")
    else:
        page.field("Status", status.get("phase", ""))
    for name, key in (("Reason", "reason"), ("Message", "message")):
        if status.get(key):
            page.field(name, status[key])


def _add_addresses(page: Page, status: Tree) -> None:
    page.field("IP", status.get("podIP", ""))
    addresses = status.get("podIPs") or []
    if not addresses:
        page.field("IPs", "<none>")
        return
    page.add("IPs:")
    for address in addresses:
        page.field("IP", address.get("ip", ""), 1)
