"""From pod and container specs to what the runtime is told. Pure, given paths and environment.

Labels and annotations are upstream's, so that tools know our containers, and carry all that a
restarted agent needs to adopt them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from kutter.api.types.core_v1 import Container as ContainerSpec
from kutter.api.types.core_v1 import Pod
from kutter.node.dns import NodeDns, compute_dns, compute_hostname
from kutter.node.facts import AnyContainerSpec
from kutter.node.options import NodeOptions
from kutter.node.resources import pod_cgroup
from kutter.node.security import namespaces
from kutter.runtime.cri import PortMapping, SandboxConfig, SandboxMetadata

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
CONTAINER_HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
MESSAGE_FILE = "kutter.io/termination-message-file"
POD_GRACE = "io.kubernetes.pod.terminationGracePeriod"

SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    }
)

_SWAPPED = str.maketrans("./", "/.")


def dotted_sysctl(name: str) -> str:
    """``a/b.c`` as ``a.b/c``: a name may be written with either separator first.

    https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/#setting-sysctls-for-a-pod
    """
    separator = next((char for char in name if char in "./"), ".")
    return name if separator == "." else name.translate(_SWAPPED)


def spec_hash(spec: AnyContainerSpec) -> str:
    """Changes when the container must be made anew: name and image, as upstream since 1.32."""
    if isinstance(spec, ContainerSpec):
        text = f"{spec.name}\0{spec.image}".encode()
    else:
        text = msgspec.json.encode(spec)
    return hashlib.sha256(text).hexdigest()[:8]


def pod_labels(pod: Pod) -> dict[str, str]:
    """Labels by which sandboxes and containers are found again."""
    meta = pod.metadata
    return {
        **meta.labels,
        POD_NAME: meta.name,
        POD_NAMESPACE: meta.namespace,
        POD_UID: meta.uid,
    }


def container_labels(pod: Pod, spec: AnyContainerSpec) -> dict[str, str]:
    meta = pod.metadata
    return {
        CONTAINER_NAME: spec.name,
        POD_NAME: meta.name,
        POD_NAMESPACE: meta.namespace,
        POD_UID: meta.uid,
    }


def container_annotations(
    pod: Pod, spec: AnyContainerSpec, attempt: int, message_file: Path
) -> dict[str, str]:
    grace = pod.spec.termination_grace_period_seconds
    return {
        CONTAINER_HASH: spec_hash(spec),
        RESTART_COUNT: str(attempt),
        MESSAGE_PATH: spec.termination_message_path,
        MESSAGE_POLICY: spec.termination_message_policy,
        MESSAGE_FILE: str(message_file),
        POD_GRACE: str(30 if grace is None else grace),
    }


def log_folder(options: NodeOptions, pod: Pod) -> Path:
    """Where the pod's container logs are."""
    meta = pod.metadata
    return options.pod_log_root / f"{meta.namespace}_{meta.name}_{meta.uid}"


def compute_sandbox(
    pod: Pod, attempt: int, *, options: NodeOptions, dns: NodeDns, node_hostname: str
) -> SandboxConfig:
    """What the pod's sandbox is made from."""
    meta = pod.metadata
    hostname, fqdn = compute_hostname(pod, dns.cluster_domain, node_hostname)
    if pod.spec.set_hostname_as_fqdn and fqdn:
        hostname = fqdn
    network, pid, ipc = namespaces(pod)
    security = pod.spec.security_context
    ports = () if pod.spec.host_network else _host_ports(pod)
    return SandboxConfig(
        metadata=SandboxMetadata(meta.name, meta.uid, meta.namespace, attempt),
        hostname=hostname,
        log_directory=log_folder(options, pod),
        dns=compute_dns(pod, dns),
        port_mappings=ports,
        labels=pod_labels(pod),
        annotations=dict(meta.annotations),
        cgroup_parent=pod_cgroup(pod, options.cgroup_root),
        sysctls=(
            {dotted_sysctl(s.name): s.value for s in security.sysctls}
            if security is not None
            else {}
        ),
        network=network,
        pid=pid,
        ipc=ipc,
        privileged=any(
            c.security_context is not None and bool(c.security_context.privileged)
            for c in (*pod.spec.containers, *pod.spec.init_containers)
        ),
    )


def _host_ports(pod: Pod) -> tuple[PortMapping, ...]:
    return tuple(
        PortMapping(port.container_port, port.host_port, port.protocol or "TCP", port.host_ip)
        for container in (*pod.spec.init_containers, *pod.spec.containers)
        for port in container.ports
        if port.host_port
    )
