"""The pods behind a service, as addresses with resolved ports. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kutter.api.types.core_v1 import Pod, Service
from kutter.controllers.pods import is_ready

Port = tuple[str, str, int, str]  # name, protocol, number, app protocol


@dataclass(frozen=True, slots=True)
class Member:
    """One pod address of a service. ``ports`` are resolved in this pod."""

    pod: Pod
    address: str
    family: str  # IPv4 or IPv6
    ready: bool
    serving: bool
    terminating: bool
    ports: tuple[Port, ...]
    hostname: str


def selects(service: Service, pod: Pod) -> bool:
    """Whether the service's selector matches the pod. No selector selects nothing."""
    selector = service.spec.selector
    return bool(selector) and selector.items() <= pod.metadata.labels.items()


def family_of(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def resolve_ports(service: Service, pod: Pod) -> tuple[Port, ...]:
    """The service's ports in this pod; a named target the pod lacks is left out."""
    resolved = []
    for port in service.spec.ports:
        target = port.target_port if port.target_port not in (None, "", 0) else port.port
        number = target if isinstance(target, int) else _named(pod, target, port.protocol)
        if number is not None:
            resolved.append((port.name, port.protocol, number, port.app_protocol or ""))
    return tuple(resolved)


def _named(pod: Pod, name: str | int | None, protocol: str) -> int | None:
    sidecars = [c for c in pod.spec.init_containers if c.restart_policy == "Always"]
    for container in (*pod.spec.containers, *sidecars):
        for port in container.ports:
            if port.name == name and (port.protocol or "TCP") == (protocol or "TCP"):
                return port.container_port
    return None


def compute_members(service: Service, pods: Iterable[Pod]) -> list[Member]:
    """Everything that has an address and is not finished, in order of pod name."""
    members = []
    publish = service.spec.publish_not_ready_addresses
    headless = service.spec.cluster_ip == "None"
    for pod in sorted(pods, key=lambda p: p.metadata.name):
        if pod.status.phase in ("Succeeded", "Failed") or not selects(service, pod):
            continue
        ports = resolve_ports(service, pod)
        if service.spec.ports and not ports and not headless:
            continue
        terminating = bool(pod.metadata.deletion_timestamp)
        serving = is_ready(pod) or publish
        hostname = ""
        if pod.spec.hostname and pod.spec.subdomain == service.metadata.name:
            hostname = pod.spec.hostname
        addresses = [i.ip for i in pod.status.pod_ips if i.ip] or (
            [pod.status.pod_ip] if pod.status.pod_ip else []
        )
        members += [
            Member(
                pod=pod,
                address=address,
                family=family_of(address),
                ready=publish or (serving and not terminating),
                serving=serving,
                terminating=terminating,
                ports=ports,
                hostname=hostname,
            )
            for address in addresses
        ]
    return members


def wanted_families(service: Service) -> Sequence[str]:
    return tuple(service.spec.ip_families) or ("IPv4",)


def target_reference(pod: Pod) -> dict[str, str]:
    """The ``targetRef`` of an address."""
    meta = pod.metadata
    return {"kind": "Pod", "namespace": meta.namespace, "name": meta.name, "uid": meta.uid}
