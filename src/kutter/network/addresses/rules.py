"""Renders the packet rules every pod network needs; pure.

Table ``inet kutter-pods`` (with the bridge's name behind it where that is not the default):
pods that leave the cluster wear the node's address; host ports lead
to pods (a map look-up, so their number costs nothing); pods cannot reach the node's 127.0.0.1
although ``route_localnet`` is on (CVE-2020-8558); no ICMP redirects on the bridge.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from kutter.network.addresses.ipam import Lease
from kutter.network.interface import NetworkConfig

TABLE = "kutter-pods"
_FRONT = "inet_proto . inet_service : ipv4_addr . inet_service"


def render_base(config: NetworkConfig, leases: Iterable[Lease]) -> str:
    """The whole table, replacing what was there."""
    bridge, t = config.bridge, f"inet {config.table(TABLE)}"
    lines = [
        f"add table {t}",
        f"delete table {t}",
        f"add table {t}",
        f"add map {t} host-ports {{ type {_FRONT}; }}",
        f"add map {t} host-address-ports {{ type ipv4_addr . {_FRONT}; }}",
        f"add set {t} hairpins {{ type ipv4_addr . ipv4_addr; }}",
        f"add chain {t} guard {{ type filter hook prerouting priority -300; }}",
        f'add rule {t} guard iifname "{bridge}" ip daddr 127.0.0.0/8 drop',
        f"add chain {t} quiet {{ type filter hook output priority 0; }}",
        f'add rule {t} quiet oifname "{bridge}" icmp type redirect drop',
        f"add chain {t} host-ports",
        (
            f"add rule {t} host-ports meta l4proto {{ tcp, udp, sctp }} dnat ip to"
            " ip daddr . meta l4proto . th dport map @host-address-ports"
        ),
        (
            f"add rule {t} host-ports meta l4proto {{ tcp, udp, sctp }} dnat ip to"
            " meta l4proto . th dport map @host-ports"
        ),
        f"add chain {t} incoming {{ type nat hook prerouting priority -95; }}",
        f"add rule {t} incoming fib daddr type local jump host-ports",
        f"add chain {t} outgoing {{ type nat hook output priority -95; }}",
        f"add rule {t} outgoing fib daddr type local jump host-ports",
        f"add chain {t} leaving {{ type nat hook postrouting priority 105; }}",
        (
            f"add rule {t} leaving ct status dnat ip saddr . ip daddr @hairpins"
            " masquerade fully-random"
        ),
        f'add rule {t} leaving ip saddr 127.0.0.0/8 oifname "{bridge}" masquerade fully-random',
        (
            f'add rule {t} leaving ip saddr {config.pod_cidr} oifname != "{bridge}"'
            f" ip daddr != {{ {config.cluster_cidr}, 224.0.0.0/4 }} masquerade fully-random"
        ),
    ]
    return "\n".join(lines) + "\n" + "".join(render_host_ports(config, lease) for lease in leases)


def render_host_ports(config: NetworkConfig, lease: Lease, verb: str = "add") -> str:
    """Add or delete the elements of one lease; empty when it has no host ports.

    A host address of a family the pod has no address of is passed over, as upstream's
    port-mapping plugin does. Raises ValueError for an address or protocol that is none.
    """
    t = f"inet {config.table(TABLE)}"
    lines = []
    for container_port, host_port, protocol, host_ip in lease.ports:
        if not host_port:
            continue
        if protocol not in ("", "TCP", "UDP", "SCTP"):
            raise ValueError(f"host port {host_port} has protocol {protocol!r}")
        key = f"{protocol.lower() or 'tcp'} . {host_port}"
        name = "host-ports"
        if host_ip not in ("", "0.0.0.0", "::"):  # noqa: S104
            host = ipaddress.ip_address(host_ip)
            if host.version != 4:
                continue
            name, key = "host-address-ports", f"{host} . {key}"
        value = f" : {lease.address} . {container_port}" if verb == "add" else ""
        lines.append(f"{verb} element {t} {name} {{ {key}{value} }}")
    if lines:
        hairpin = f"{lease.address} . {lease.address}"
        lines.append(f"{verb} element {t} hairpins {{ {hairpin} }}")
    return "".join(line + "\n" for line in lines)
