"""What one node agent is told: names, folders, limits. No behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

KUBELET_VERSION = "v1.36.0"


@dataclass(frozen=True, slots=True)
class EvictionThresholds:
    """Hard thresholds: bytes, or fractions of the whole."""

    memory_available_bytes: int = 100 * 2**20
    nodefs_available: float = 0.10
    imagefs_available: float = 0.15
    nodefs_inodes_free: float = 0.05


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """One node. ``root`` holds everything of the agent; ``runtime_state`` is not ours.

    ``client_ca`` verifies client certificates on the kubelet port, ``serving_certificate`` and
    ``serving_key`` are PEM files. ``server_users`` are the names a certificate may carry
    without asking the API server.
    """

    node_name: str
    root: Path = Path("/var/lib/kutter/node")
    pod_log_root: Path = Path("/var/log/pods")
    system_log_root: Path = Path("/var/log")
    container_log_root: Path | None = Path("/var/log/containers")
    node_addresses: tuple[str, ...] = ("127.0.0.1",)
    cluster_dns: str = "10.43.0.10"
    cluster_domain: str = "cluster.local"
    resolv_conf: Path = Path("/etc/resolv.conf")
    cgroup_root: str = "/kutter"
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    maximum_pods: int = 110
    pod_pids_limit: int = 0
    manifest_folder: Path | None = None
    server_address: str = "0.0.0.0"  # noqa: S104  (the kubelet's API is the node's)
    server_port: int = 10250
    serving_certificate: Path | None = None
    serving_key: Path | None = None
    client_ca: Path | None = None
    server_users: frozenset[str] = frozenset(
        {"kube-apiserver-kubelet-client", "system:apiserver", "kutter:apiserver"}
    )
    system_reserved: Mapping[str, str] = field(default_factory=dict)
    registry_config: Path | None = None
    serialize_pulls: bool = False
    maximum_parallel_pulls: int = 5
    image_gc_high: float = 0.85
    image_gc_low: float = 0.80
    image_gc_minimum_age_s: float = 120.0
    log_maximum_bytes: int = 10 * 2**20
    log_maximum_files: int = 5
    heartbeat_s: float = 10.0
    lease_duration_s: int = 40
    status_report_s: float = 300.0
    relist_s: float = 60.0
    eviction: EvictionThresholds = field(default_factory=EvictionThresholds)
    seccomp_default: str = "runtime/default"
    version: str = "0.1.0"

    @property
    def node_ip(self) -> str:
        return self.node_addresses[0]
