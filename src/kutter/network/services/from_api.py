"""Service and EndpointSlice views → what the packet rules and the name server need; pure.

Which endpoints serve follows
https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-policies : the ready ones;
when there is none, those that are terminating but still serve.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kutter.api.types.core_v1 import Service
from kutter.api.types.discovery_v1 import Endpoint, EndpointSlice
from kutter.network.interface import DnsService, ServicePort

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
# Others serve these: https://kubernetes.io/docs/reference/labels-annotations-taints/
_FOREIGN_LABELS = ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless")
_DEFAULT_AFFINITY_S = 10800

SlicesByService = dict[tuple[str, str], list[EndpointSlice]]


def group_slices(slices: Iterable[EndpointSlice]) -> SlicesByService:
    """IPv4 slices by (namespace, service name)."""
    grouped: SlicesByService = {}
    for item in slices:
        name = item.metadata.labels.get(SERVICE_NAME_LABEL)
        if name and item.address_type == "IPv4":
            grouped.setdefault((item.metadata.namespace, name), []).append(item)
    for found in grouped.values():
        found.sort(key=lambda item: item.metadata.name)
    return grouped


def service_ports(
    services: Iterable[Service], slices: SlicesByService, node_name: str
) -> list[ServicePort]:
    """Every port of every service that has a cluster address and is ours to serve."""
    found: list[ServicePort] = []
    for service in services:
        labels = service.metadata.labels
        if not _has_address(service) or any(label in labels for label in _FOREIGN_LABELS):
            continue
        key = (service.metadata.namespace, service.metadata.name)
        own = [
            item
            for item in slices.get(key, ())
            if not any(label in item.metadata.labels for label in _FOREIGN_LABELS)
        ]
        found.extend(_ports_of(service, own, node_name))
    return found


def _has_address(service: Service) -> bool:
    return service.spec.type != "ExternalName" and service.spec.cluster_ip not in ("", "None")


def _ports_of(
    service: Service, slices: Sequence[EndpointSlice], node_name: str
) -> Iterable[ServicePort]:
    spec = service.spec
    balanced = spec.type == "LoadBalancer"
    ingress = service.status.load_balancer.ingress if balanced else ()
    affinity = _affinity_s(service)
    external_local = spec.external_traffic_policy == "Local"
    internal_local = spec.internal_traffic_policy == "Local"
    for port in spec.ports:
        protocol = port.protocol or "TCP"
        yield ServicePort(
            namespace=service.metadata.namespace,
            name=service.metadata.name,
            port_name=port.name,
            protocol=protocol,
            port=port.port,
            cluster_ips=spec.cluster_ips or (spec.cluster_ip,),
            node_port=port.node_port if spec.type in ("NodePort", "LoadBalancer") else 0,
            external_ips=spec.external_ips,
            load_balancer_ips=tuple(
                i.ip for i in ingress if i.ip and (i.ip_mode or "VIP") == "VIP"
            ),
            load_balancer_source_ranges=spec.load_balancer_source_ranges if balanced else (),
            affinity_timeout_s=affinity,
            external_traffic_local=external_local,
            internal_traffic_local=internal_local,
            endpoints=_endpoints(
                slices, port.name, protocol, node_name, external_local or internal_local
            ),
        )


def _affinity_s(service: Service) -> int:
    if service.spec.session_affinity != "ClientIP":
        return 0
    config = service.spec.session_affinity_config
    client = config.client_ip if config else None
    return (client.timeout_seconds if client else None) or _DEFAULT_AFFINITY_S


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions.ready is not False


def _serves_while_ending(endpoint: Endpoint) -> bool:
    conditions = endpoint.conditions
    return bool(conditions.serving and conditions.terminating)


def _endpoints(
    slices: Sequence[EndpointSlice],
    port_name: str,
    protocol: str,
    node_name: str,
    local_matters: bool,
) -> tuple[tuple[str, int, bool], ...]:
    ready: dict[tuple[str, int, bool], None] = {}
    ending: dict[tuple[str, int, bool], None] = {}
    for item in slices:
        for port in item.ports:
            if (port.name or "") != port_name or (port.protocol or "TCP") != protocol:
                continue
            if not port.port:
                continue
            for endpoint in item.endpoints:
                if not endpoint.addresses:
                    continue
                local = bool(node_name) and endpoint.node_name == node_name
                value = (endpoint.addresses[0], port.port, local)
                if _is_ready(endpoint):
                    ready[value] = None
                elif _serves_while_ending(endpoint):
                    ending[value] = None
    if not ready:
        ready = ending
    elif local_matters and not any(value[2] for value in ready):
        ready |= {value: None for value in ending if value[2]}
    return tuple(sorted(ready))


def dns_services(services: Iterable[Service], slices: SlicesByService) -> list[DnsService]:
    """Every service that has a name in the cluster's zone."""
    found = []
    for service in services:
        spec = service.spec
        namespace, name = service.metadata.namespace, service.metadata.name
        if spec.type == "ExternalName":
            found.append(DnsService(namespace, name, external_name=spec.external_name))
        elif _has_address(service):
            ports = tuple((p.name, p.protocol or "TCP", p.port) for p in spec.ports)
            addresses = spec.cluster_ips or (spec.cluster_ip,)
            found.append(DnsService(namespace, name, cluster_ips=addresses, ports=ports))
        elif spec.cluster_ip == "None":
            found.append(_headless(service, slices.get((namespace, name), ())))
    return found


def _headless(service: Service, slices: Sequence[EndpointSlice]) -> DnsService:
    ports: dict[tuple[str, str, int], None] = {}
    endpoints: dict[tuple[str, str, bool], None] = {}
    for item in slices:
        for port in item.ports:
            if port.port:
                ports[(port.name or "", port.protocol or "TCP", port.port)] = None
        for endpoint in item.endpoints:
            for address in endpoint.addresses:
                endpoints[(endpoint.hostname or "", address, _is_ready(endpoint))] = None
    return DnsService(
        service.metadata.namespace,
        service.metadata.name,
        ports=tuple(ports),
        endpoints=tuple(endpoints),
        publish_not_ready=service.spec.publish_not_ready_addresses,
    )
