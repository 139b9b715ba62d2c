"""What goes into a pod's ``resolv.conf`` and ``hosts``. Pure.

https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

from dataclasses import dataclass

from kutter.api.types.core_v1 import Pod
from kutter.runtime.cri import DnsConfig

SEARCH_LIMIT = 32
SERVER_LIMIT = 3
HOSTNAME_LIMIT = 63


@dataclass(frozen=True, slots=True)
class NodeDns:
    """The cluster's name server and what the node itself uses (from its ``resolv.conf``)."""

    cluster_dns: str
    cluster_domain: str
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_resolv_conf(
    text: str,
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """(servers, searches, options) of a ``resolv.conf``; the last ``search`` line counts."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            searches = tuple(words[1:])
        elif words[0] == "options":
            options = tuple(words[1:])
    return tuple(servers), searches, options


def compute_dns(pod: Pod, node: NodeDns) -> DnsConfig:
    """The pod's name service by its ``dnsPolicy`` and ``dnsConfig``."""
    policy = pod.spec.dns_policy or "ClusterFirst"
    if policy == "ClusterFirst" and pod.spec.host_network:
        policy = "Default"
    if policy == "None":
        servers: list[str] = []
        searches: list[str] = []
        options: list[str] = []
    elif policy == "Default":
        servers, searches, options = list(node.servers), list(node.searches), list(node.options)
    else:
        domain = node.cluster_domain
        servers = [node.cluster_dns]
        namespace = pod.metadata.namespace
        searches = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain, *node.searches]
        options = ["ndots:5"]
    extra = pod.spec.dns_config
    if extra is not None:
        servers += extra.nameservers
        searches += extra.searches
        options = _merge_options(options, [(o.name, o.value) for o in extra.options])
    return DnsConfig(
        tuple(dict.fromkeys(servers))[:SERVER_LIMIT],
        tuple(dict.fromkeys(searches))[:SEARCH_LIMIT],
        tuple(options),
    )


def _merge_options(options: list[str], more: list[tuple[str, str | None]]) -> list[str]:
    merged = {option.partition(":")[0]: option for option in options}
    for name, value in more:
        merged[name] = f"{name}:{value}" if value else name
    return list(merged.values())


def compute_hostname(pod: Pod, cluster_domain: str, node_hostname: str) -> tuple[str, str]:
    """(hostname, fully qualified domain or "")."""
    spec = pod.spec
    if spec.hostname_override:
        return spec.hostname_override, ""
    if spec.host_network:
        return node_hostname, ""
    name = spec.hostname or pod.metadata.name
    name = name[:HOSTNAME_LIMIT].rstrip("-.")
    if not spec.subdomain:
        return name, ""
    domain = f"{spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}"
    return name, f"{name}.{domain}"


def render_hosts(pod: Pod, ips: tuple[str, ...], hostname: str, fqdn: str, node_hosts: str) -> str:
    """The managed ``/etc/hosts``."""
    if pod.spec.host_network:
        lines = ["# Kubernetes-managed hosts file (host network).", node_hosts.rstrip("\n")]
    else:
        lines = [
            "# Kubernetes-managed hosts file.",
            "127.0.0.1\tlocalhost",
            "::1\tlocalhost ip6-localhost ip6-loopback",
            "fe00::0\tip6-localnet",
            "fe00::0\tip6-mcastprefix",
            "fe00::1\tip6-allnodes",
            "fe00::2\tip6-allrouters",
        ]
        for ip in ips:
            lines.append(f"{ip}\t{fqdn}\t{hostname}" if fqdn else f"{ip}\t{hostname}")
    if pod.spec.host_aliases:
        lines.append("\n# Entries added by HostAliases.")
        for alias in pod.spec.host_aliases:
            names = "\t".join(alias.hostnames)
            lines.append(f"{alias.ip}\t{names}")
    return "\n".join(lines) + "\n"
