"""Services and their endpoints as the kernel's rules and the name server need them.

Between informers and :mod:`kutter.network`. The two ``compute_*`` functions are pure; changes
are gathered for a moment and programmed once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from kutter.api.types.core_v1 import Service
from kutter.api.types.core_v1 import ServicePort as ServicePortSpec
from kutter.api.types.discovery_v1 import EndpointSlice
from kutter.base.clock import Clock
from kutter.base.log import get_logger
from kutter.machinery.informer import Informer
from kutter.network.interface import DnsServer, DnsService, ServicePort, ServiceRules

_log = get_logger("node.services")

SERVICE_LABEL = "kubernetes.io/service-name"
GATHER_S = 0.01
DEFAULT_AFFINITY_S = 10_800


def _is_headless(service: Service) -> bool:
    return service.spec.cluster_ip == "None"


def _port_endpoints(
    slices: Iterable[EndpointSlice], port: ServicePortSpec, node_name: str
) -> list[tuple[str, int, bool, bool]]:
    """(ip, port, is local, ready) of all endpoints that serve one port."""
    found: dict[tuple[str, int], tuple[str, int, bool, bool]] = {}
    for piece in slices:
        if piece.address_type == "FQDN":
            continue
        for target in piece.ports:
            same_protocol = (target.protocol or "TCP") == (port.protocol or "TCP")
            if (target.name or "") != port.name or target.port is None or not same_protocol:
                continue
            for endpoint in piece.endpoints:
                conditions = endpoint.conditions
                ready = conditions.ready is not False
                serving = conditions.serving is not False and bool(conditions.terminating)
                if not ready and not serving:
                    continue
                for ip in endpoint.addresses[:1]:
                    local = endpoint.node_name == node_name
                    found[ip, target.port] = (ip, target.port, local, ready)
    return list(found.values())


def _chosen(
    endpoints: list[tuple[str, int, bool, bool]],
) -> tuple[tuple[str, int, bool], ...]:
    """Ready endpoints; if there is none, those that still serve while they end (KEP-1669)."""
    ready = [(ip, port, local) for ip, port, local, is_ready in endpoints if is_ready]
    return tuple(sorted(ready or [(ip, port, local) for ip, port, local, _ in endpoints]))


def compute_service_ports(
    services: Iterable[Service], slices: dict[str, list[EndpointSlice]], node_name: str
) -> list[ServicePort]:
    """The table of services for the rule renderer. ``slices`` by ``namespace/service``."""
    table = []
    for service in services:
        meta, spec = service.metadata, service.spec
        ips = tuple(ip for ip in (spec.cluster_ips or (spec.cluster_ip,)) if ip not in ("", "None"))
        if not ips or spec.type == "ExternalName":
            continue
        balancer = tuple(
            i.ip for i in service.status.load_balancer.ingress if i.ip and i.ip_mode != "Proxy"
        )
        affinity = 0
        if spec.session_affinity == "ClientIP":
            config = spec.session_affinity_config
            client = config.client_ip if config is not None else None
            affinity = (
                client.timeout_seconds if client is not None else None
            ) or DEFAULT_AFFINITY_S
        for port in spec.ports:
            own = slices.get(f"{meta.namespace}/{meta.name}", [])
            table.append(
                ServicePort(
                    namespace=meta.namespace,
                    name=meta.name,
                    port_name=port.name,
                    protocol=port.protocol or "TCP",
                    port=port.port,
                    cluster_ips=ips,
                    node_port=port.node_port,
                    external_ips=spec.external_ips,
                    load_balancer_ips=balancer,
                    load_balancer_source_ranges=spec.load_balancer_source_ranges,
                    affinity_timeout_s=affinity,
                    external_traffic_local=spec.external_traffic_policy == "Local",
                    internal_traffic_local=spec.internal_traffic_policy == "Local",
                    endpoints=_chosen(_port_endpoints(own, port, node_name)),
                )
            )
    return table


def compute_dns_services(
    services: Iterable[Service], slices: dict[str, list[EndpointSlice]]
) -> list[DnsService]:
    """The zone's services."""
    zone = []
    for service in services:
        meta, spec = service.metadata, service.spec
        key = f"{meta.namespace}/{meta.name}"
        if spec.type == "ExternalName":
            zone.append(DnsService(meta.namespace, meta.name, external_name=spec.external_name))
            continue
        ports = tuple((p.name, p.protocol or "TCP", p.port) for p in spec.ports)
        if not _is_headless(service):
            ips = tuple(ip for ip in (spec.cluster_ips or (spec.cluster_ip,)) if ip)
            zone.append(DnsService(meta.namespace, meta.name, cluster_ips=ips, ports=ports))
            continue
        endpoints = []
        target_ports: dict[str, tuple[str, str, int]] = {}
        for piece in slices.get(key, []):
            for target in piece.ports:
                if target.port:
                    name = target.name or ""
                    target_ports[name] = (name, target.protocol or "TCP", target.port)
            for endpoint in piece.endpoints:
                ready = endpoint.conditions.ready is not False
                endpoints += [(endpoint.hostname or "", ip, ready) for ip in endpoint.addresses]
        zone.append(
            DnsService(
                meta.namespace,
                meta.name,
                ports=tuple(target_ports.values()) or ports,
                endpoints=tuple(sorted(set(endpoints))),
                publish_not_ready=spec.publish_not_ready_addresses,
            )
        )
    return zone


class ServiceProgrammer:
    """Follows services and endpoint slices and programs rules and zone."""

    def __init__(
        self,
        services: Informer[Service],
        slices: Informer[EndpointSlice],
        *,
        node_name: str,
        rules: ServiceRules | None,
        dns: DnsServer | None,
        clock: Clock,
    ) -> None:
        self._services = services
        self._slices = slices
        self._node_name = node_name
        self._rules = rules
        self._dns = dns
        self._clock = clock
        self._changed = asyncio.Event()
        services.on_event(lambda _: self._changed.set())
        slices.on_event(lambda _: self._changed.set())

    async def run(self) -> None:
        """Program whenever something changed."""
        await self._services.wait_synced()
        await self._slices.wait_synced()
        self._changed.set()
        while True:
            await self._changed.wait()
            await self._clock.sleep(GATHER_S)
            self._changed.clear()
            try:
                await self._program()
            except Exception as error:
                _log.error("services not programmed", error=repr(error))
                await self._clock.sleep(1.0)
                self._changed.set()

    async def _program(self) -> None:
        by_service: dict[str, list[EndpointSlice]] = {}
        for piece in self._slices.items():
            name = piece.metadata.labels.get(SERVICE_LABEL)
            if name:
                by_service.setdefault(f"{piece.metadata.namespace}/{name}", []).append(piece)
        services = sorted(
            self._services.items(), key=lambda s: (s.metadata.namespace, s.metadata.name)
        )
        if self._dns is not None:
            self._dns.set_services(compute_dns_services(services, by_service))
        if self._rules is not None:
            await self._rules.apply(compute_service_ports(services, by_service, self._node_name))
