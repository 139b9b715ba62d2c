"""What the node agent asks of the network.

:class:`PodNetwork` also satisfies :class:`kutter.runtime.cri.SandboxNetwork` by its shape
(:class:`HostPort` has the fields of that contract's ``PortMapping``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

DEFAULT_BRIDGE = "kutter0"


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """One node's part of the cluster's network, in CIDR notation.

    ``node_addresses`` are the node's own, the first is its primary one.
    """

    cluster_cidr: str = "10.42.0.0/16"
    pod_cidr: str = "10.42.0.0/24"
    service_cidr: str = "10.43.0.0/16"
    cluster_dns: str = "10.43.0.10"
    cluster_domain: str = "cluster.local"
    node_addresses: tuple[str, ...] = ()
    bridge: str = DEFAULT_BRIDGE
    mtu: int = 0  # 0: the uplink's
    node_port_range: tuple[int, int] = (30000, 32767)

    def table(self, base: str) -> str:
        """The name of one of this cluster's nft tables.

        Clusters that share a network namespace differ in their bridge: the one with a bridge of
        its own choice has tables of its own.
        """
        return base if self.bridge == DEFAULT_BRIDGE else f"{base}-{self.bridge}"


class HostPort(NamedTuple):
    """A port of the node that leads to a port of a sandbox."""

    container_port: int
    host_port: int
    protocol: str = "TCP"
    host_ip: str = ""


class PodNetwork(Protocol):
    """Addresses for pods on this node."""

    async def attach(
        self, namespace: Path, sandbox_id: str, ports: Sequence[tuple[int, int, str, str]]
    ) -> tuple[str, ...]:
        """Give the network namespace its interfaces; answers its addresses."""

    async def detach(self, sandbox_id: str) -> None:
        """Take interface, address and host ports back. Safe without ``attach``."""

    async def start(self, keep: Sequence[str]) -> None:
        """Make bridge and base rules; release what belongs to sandboxes not in ``keep``."""

    async def repair(self) -> bool:
        """Put back what others took away; answers whether anything was amiss. Cheap: poll it."""

    async def purge(self) -> None:
        """Remove every interface, route, address file and nft rule of ours."""


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of one service and where it leads. Pure input of the rule renderer.

    ``endpoints`` are (ip, port, is_local). Policies and affinity as in the Service API.
    """

    namespace: str
    name: str
    port_name: str
    protocol: str
    port: int
    cluster_ips: tuple[str, ...]
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    load_balancer_source_ranges: tuple[str, ...] = ()
    affinity_timeout_s: int = 0  # 0: no affinity
    external_traffic_local: bool = False
    internal_traffic_local: bool = False
    endpoints: tuple[tuple[str, int, bool], ...] = ()


class ServiceRules(Protocol):
    """Programs the kernel with the whole table of services."""

    async def apply(self, ports: Sequence[ServicePort]) -> None:
        """Swap the service rules atomically; unchanged input does nothing."""

    async def repair(self) -> bool:
        """Put the rules back when others removed them; answers whether they had. Cheap."""

    async def purge(self) -> None:
        """Remove the service rules."""


@dataclass(frozen=True, slots=True)
class DnsService:
    """One service as DNS sees it (https://github.com/kubernetes/dns specification 1.1.0).

    ``endpoints`` (headless only) are (hostname or "", ip, ready). ``ports`` are
    (name, protocol, number).
    """

    namespace: str
    name: str
    cluster_ips: tuple[str, ...] = ()  # empty: headless
    external_name: str = ""
    ports: tuple[tuple[str, str, int], ...] = ()
    endpoints: tuple[tuple[str, str, bool], ...] = ()
    publish_not_ready: bool = False


class DnsServer(Protocol):
    """The cluster's name server on this node."""

    async def start(self, addresses: Sequence[str], port: int = 53) -> None: ...
    def set_services(self, services: Sequence[DnsService]) -> None:
        """Replace the zone; cheap when little changed."""

    async def close(self) -> None: ...
