"""A service for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kutter.cli.describe.events import add_events, events_of
from kutter.cli.describe.heads import add_head
from kutter.cli.describe.layout import Page

if TYPE_CHECKING:
    from kutter.cli.session import Session

Tree = dict[str, Any]
_ENDPOINTS_SHOWN = 3


def describe_service(session: Session, service: Tree, *, show_events: bool) -> str:
    page = Page()
    metadata, spec = service["metadata"], service["spec"]
    page.field("Name", metadata["name"])
    page.field("Namespace", metadata["namespace"])
    add_head(page, metadata)
    selector = ",".join(f"{k}={v}" for k, v in sorted((spec.get("selector") or {}).items()))
    page.field("Selector", selector or "<none>")
    page.field("Type", spec.get("type", "ClusterIP"))
    if spec.get("ipFamilyPolicy"):
        page.field("IP Family Policy", spec["ipFamilyPolicy"])
    if spec.get("ipFamilies"):
        page.field("IP Families", ",".join(spec["ipFamilies"]))
    page.field("IP", spec.get("clusterIP", ""))
    if spec.get("clusterIPs"):
        page.field("IPs", ",".join(spec["clusterIPs"]))
    if spec.get("externalIPs"):
        page.field("External IPs", ",".join(spec["externalIPs"]))
    if spec.get("loadBalancerIP"):
        page.field("Desired LoadBalancer IP", spec["loadBalancerIP"])
    if spec.get("externalName"):
        page.field("External Name", spec["externalName"])
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    if ingress:
        listed = ", ".join(_ingress_text(i) for i in ingress)
        page.field("LoadBalancer Ingress", listed)
    slices = session.list(
        session.kinds.find("endpointslices.discovery.k8s.io"),
        metadata["namespace"],
        selector=f"kubernetes.io/service-name={metadata['name']}",
    )
    for port in spec.get("ports") or ():
        _add_port(page, port, slices)
    page.field("Session Affinity", spec.get("sessionAffinity", "None"))
    for name, key in (
        ("External Traffic Policy", "externalTrafficPolicy"),
        ("Internal Traffic Policy", "internalTrafficPolicy"),
    ):
        if spec.get(key):
            page.field(name, spec[key])
    if spec.get("healthCheckNodePort"):
        page.field("HealthCheck NodePort", spec["healthCheckNodePort"])
    if show_events:
        add_events(page, events_of(session, service))
    return page.text()


def _ingress_text(ingress: Tree) -> str:
    address = ingress.get("ip") or ingress.get("hostname") or ""
    return f"{address} ({ingress['ipMode']})" if ingress.get("ipMode") else str(address)


def _add_port(page: Page, port: Tree, slices: list[Tree]) -> None:
    name = port.get("name") or "<unset>"
    protocol = port.get("protocol", "TCP")
    page.add(f"Port:\t{name}\t{port['port']}/{protocol}")
    page.add(f"TargetPort:\t{port.get('targetPort', port['port'])}/{protocol}")
    if port.get("nodePort"):
        page.add(f"NodePort:\t{name}\t{port['nodePort']}/{protocol}")
    page.field("Endpoints", endpoints_text(slices, port.get("name") or ""))


def endpoints_text(slices: list[Tree], port_name: str) -> str:
    """``10.42.0.3:80,10.42.0.4:80 + 2 more...`` of the ready ones."""
    if not slices:
        return "<none>"
    found = []
    for endpoint_slice in slices:
        for port in endpoint_slice.get("ports") or ():
            if (port.get("name") or "") != port_name:
                continue
            for endpoint in endpoint_slice.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                for address in endpoint.get("addresses") or ():
                    host = f"[{address}]" if ":" in address else address
                    found.append(f"{host}:{port.get('port')}")
    more = len(found) - _ENDPOINTS_SHOWN
    text = ",".join(found[:_ENDPOINTS_SHOWN])
    return f"{text} + {more} more..." if more > 0 else text
