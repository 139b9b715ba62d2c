"""Services → packet rules; pure (IPv4; addresses of the other family are passed over).

The path of a new connection, from a pod (prerouting) or the node (output):

1. ``refuse`` (filter, before translation): source ranges of load balancers, then services
   nobody answers for: rejected, or dropped where upstream drops (a Local policy without a local
   endpoint).
2. ``services`` (nat): one look-up of (address . protocol . port), then for the node's own
   addresses one of (protocol . port). The verdict leads to the service's chain, which picks an
   endpoint by one random number and one look-up. So the cost does not grow with the number of
   services, nor, without affinity, with that of endpoints.
3. ``leaving`` (postrouting): masquerade what was marked and what came back to its own sender.
4. ``unknown`` (filter, after translation): what is still addressed to the service range.

With affinity each endpoint has a set of its clients that packets fill; sets keep their content
when other rules change. Semantics: https://kubernetes.io/docs/reference/networking/virtual-ips/
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from kutter.network.interface import NetworkConfig, ServicePort
from kutter.network.services.ruleset import Ruleset

TABLE = "kutter-services"
_MASQUERADE_BIT = "0x4000"
_MARK = f"meta mark set meta mark | {_MASQUERADE_BIT}"
_AFFINITY_SIZE = 65535
_FRONT = "ipv4_addr . inet_proto . inet_service"
_NODE_FRONT = "inet_proto . inet_service"
_MAPS = {
    "frontends": f"map {{name}} {{{{ type {_FRONT} : verdict; }}}}",
    "node-ports": f"map {{name}} {{{{ type {_NODE_FRONT} : verdict; }}}}",
    "refused": f"map {{name}} {{{{ type {_FRONT} : verdict; }}}}",
    "refused-node-ports": f"map {{name}} {{{{ type {_NODE_FRONT} : verdict; }}}}",
    "firewalls": f"map {{name}} {{{{ type {_FRONT} : verdict; }}}}",
    "cluster-ips": "set {name} {{ type ipv4_addr; }}",
    "hairpins": "set {name} {{ type ipv4_addr . ipv4_addr; }}",
}
_HOOKS = {
    "refuse-incoming": "type filter hook prerouting priority -110",
    "refuse-outgoing": "type filter hook output priority -110",
    "incoming": "type nat hook prerouting priority -100",
    "outgoing": "type nat hook output priority -100",
    "leaving": "type nat hook postrouting priority 100",
    "unknown-forwarded": "type filter hook forward priority 0",
    "unknown-outgoing": "type filter hook output priority 0",
}

Endpoint = tuple[str, int, bool]


_ODD = re.compile(r"[^a-z0-9./-]")
_PROTOCOLS = ("TCP", "UDP", "SCTP")


@lru_cache(maxsize=65536)
def _is_ipv4(address: str) -> bool:
    """Strict: what passes here becomes part of a script."""
    try:
        return str(ipaddress.IPv4Address(address)) == address
    except ValueError:
        return False


def _ipv4_ranges(ranges: Sequence[str]) -> list[str]:
    found = []
    for text in ranges:
        try:
            found.append(str(ipaddress.IPv4Network(text.strip(), strict=False)))
        except ValueError:
            continue
    return found


def _label(port: ServicePort) -> str:
    """A chain-name part that is unique and still readable in ``nft list``."""
    protocol = port.protocol.lower()
    whole = f"{port.namespace}/{port.name}/{protocol}/{port.port_name}"
    digest = hashlib.blake2b(whole.encode(), digest_size=6).hexdigest()
    return f"{digest}-{_ODD.sub('-', whole[:80].rstrip('/'))}"


class _Table:
    """Collects the rules of all services."""

    def __init__(self, config: NetworkConfig) -> None:
        self.config = config
        self.chains: dict[str, tuple[str, ...]] = {}
        self.sets: dict[str, str] = {}
        self.maps: dict[str, dict[str, str]] = {name: {} for name in _MAPS}

    def add_port(self, port: ServicePort) -> None:
        label = _label(port)
        protocol = port.protocol.lower()
        endpoints = tuple(dict.fromkeys(e for e in port.endpoints if _is_ipv4(e[0])))
        local = tuple(e for e in endpoints if e[2])
        for address, _, _ in local:
            self.maps["hairpins"][f"{address} . {address}"] = ""
        inner = self._inner_verdict(port, label, endpoints, local)
        refusal = "drop" if endpoints else "goto reject-it"
        for address in filter(_is_ipv4, port.cluster_ips):
            self.maps["cluster-ips"][address] = ""
            key = f"{address} . {protocol} . {port.port}"
            if inner:
                self.maps["frontends"].setdefault(key, inner)
            elif address != self.config.cluster_dns:  # our own name server answers there
                self.maps["refused"].setdefault(key, refusal)
        outside = [a for a in (*port.external_ips, *port.load_balancer_ips) if _is_ipv4(a)]
        if not outside and not port.node_port:
            return
        outer = self._outer_verdict(port, label, endpoints, local)
        outer_refusal = self._outer_refusal(port, endpoints, local)
        for address in outside:
            key = f"{address} . {protocol} . {port.port}"
            if outer:
                self.maps["frontends"].setdefault(key, outer)
            if outer_refusal:
                self.maps["refused"].setdefault(key, outer_refusal)
        if port.node_port:
            key = f"{protocol} . {port.node_port}"
            if outer:
                self.maps["node-ports"].setdefault(key, outer)
            if outer_refusal:
                self.maps["refused-node-ports"].setdefault(key, outer_refusal)
        self._add_firewall(port, label)

    def _inner_verdict(
        self,
        port: ServicePort,
        label: str,
        endpoints: Sequence[Endpoint],
        local: Sequence[Endpoint],
    ) -> str:
        if port.internal_traffic_local:
            return self._pool(port, "local", label, local)
        return self._pool(port, "service", label, endpoints)

    def _outer_verdict(
        self,
        port: ServicePort,
        label: str,
        endpoints: Sequence[Endpoint],
        local: Sequence[Endpoint],
    ) -> str:
        everyone = self._pool(port, "service", label, endpoints)
        if not everyone:
            return ""
        rules = [_MARK, everyone]
        if port.external_traffic_local:
            # Traffic from inside the cluster is never bound to this node's endpoints.
            rules = [
                f"ip saddr {self.config.cluster_cidr} {everyone}",
                f"fib saddr type local {_MARK} {everyone}",
            ]
            nearby = self._pool(port, "local", label, local)
            if nearby:
                rules.append(nearby)
        name = f"external-{label}"
        self.chains[name] = tuple(rules)
        return f"goto {name}"

    def _outer_refusal(
        self, port: ServicePort, endpoints: Sequence[Endpoint], local: Sequence[Endpoint]
    ) -> str:
        if not endpoints:
            return "goto reject-it"
        if port.external_traffic_local and not local:
            return "goto drop-outsiders"
        return ""

    def _add_firewall(self, port: ServicePort, label: str) -> None:
        ranges = _ipv4_ranges(port.load_balancer_source_ranges)
        if not port.load_balancer_source_ranges or not port.load_balancer_ips:
            return
        name = f"firewall-{label}"
        allowed = [f"ip saddr {r} return" for r in ranges]
        self.chains[name] = (*allowed, "drop")
        for address in filter(_is_ipv4, port.load_balancer_ips):
            key = f"{address} . {port.protocol.lower()} . {port.port}"
            self.maps["firewalls"].setdefault(key, f"jump {name}")

    def _pool(self, port: ServicePort, kind: str, label: str, endpoints: Sequence[Endpoint]) -> str:
        """Make the chain that picks one of ``endpoints``; "" when there is none to pick."""
        if not endpoints:
            return ""
        name = f"{kind}-{label}"
        if name not in self.chains:
            if port.affinity_timeout_s:
                self.chains[name] = self._sticky_rules(port, label, endpoints)
            else:
                self.chains[name] = (_pick(port.protocol.lower(), endpoints),)
        return f"goto {name}"

    def _sticky_rules(
        self, port: ServicePort, label: str, endpoints: Sequence[Endpoint]
    ) -> tuple[str, ...]:
        known, verdicts = [], []
        for number, (address, target, _) in enumerate(endpoints):
            suffix = f"{label.partition('-')[0]}-{address}/{target}"
            clients, chain = f"clients-{suffix}", f"endpoint-{suffix}"
            timeout = f"timeout {port.affinity_timeout_s}s"
            self.sets[clients] = (
                "set {name} {{ type ipv4_addr; flags dynamic,timeout; "
                f"{timeout}; size {_AFFINITY_SIZE}; }}}}"
            )
            self.chains[chain] = (
                f"update @{clients} {{ ip saddr {timeout} }}",
                f"meta l4proto {port.protocol.lower()} dnat ip to {address}:{target}",
            )
            known.append(f"ip saddr @{clients} goto {chain}")
            verdicts.append(f"{number} : goto {chain}")
        pick = f"numgen random mod {len(endpoints)} vmap {{ {', '.join(verdicts)} }}"
        return (*known, pick)


def _pick(protocol: str, endpoints: Sequence[Endpoint]) -> str:
    if len(endpoints) == 1:
        address, port, _ = endpoints[0]
        return f"meta l4proto {protocol} dnat ip to {address}:{port}"
    table = ", ".join(f"{n} : {a} . {p}" for n, (a, p, _) in enumerate(endpoints))
    return (
        f"meta l4proto {protocol} dnat ip to numgen random mod {len(endpoints)} map {{ {table} }}"
    )


def _base_chains(config: NetworkConfig) -> Mapping[str, tuple[str, ...]]:
    front = "ip daddr . meta l4proto . th dport vmap"
    node_front = "fib daddr type local meta l4proto . th dport vmap"
    refuse = (
        f"ct state new {front} @firewalls",
        f"ct state new {front} @refused",
        f"ct state new {node_front} @refused-node-ports",
    )
    unknown = (
        f"ct state new ip daddr {config.service_cidr} ip daddr != {config.cluster_dns} goto stray",
    )
    return {
        "reject-it": ("meta l4proto tcp reject with tcp reset", "reject"),
        "drop-outsiders": (
            f"ip saddr {config.cluster_cidr} return",
            "fib saddr type local return",
            "drop",
        ),
        "stray": ("ip daddr @cluster-ips goto reject-it", "drop"),
        "services": (
            f"ip daddr {config.service_cidr} ip saddr != {config.cluster_cidr} {_MARK}",
            f"{front} @frontends",
            f"{node_front} @node-ports",
        ),
        "refuse-incoming": refuse,
        "refuse-outgoing": refuse,
        "incoming": ("jump services",),
        "outgoing": ("jump services",),
        "leaving": (
            "ct status dnat ip saddr . ip daddr @hairpins masquerade fully-random",
            f"meta mark & {_MASQUERADE_BIT} == 0 return",
            f"meta mark set meta mark ^ {_MASQUERADE_BIT}",
            "ct status dnat masquerade fully-random",
        ),
        "unknown-forwarded": unknown,
        "unknown-outgoing": unknown,
    }


def render_services(ports: Sequence[ServicePort], config: NetworkConfig) -> Ruleset:
    """The whole table of services; the same for any order of ``ports``.

    Where two services claim one address and port, the first by namespace and name has it.
    """
    table = _Table(config)
    table.chains.update(_base_chains(config))
    order = sorted(ports, key=lambda p: (p.namespace, p.name, p.port_name, p.protocol, p.port))
    for port in order:
        if port.protocol in _PROTOCOLS:
            table.add_port(port)
    return Ruleset(
        table=config.table(TABLE),
        chains=table.chains,
        hooks=_HOOKS,
        declarations=_MAPS | table.sets,
        maps=table.maps,
    )
