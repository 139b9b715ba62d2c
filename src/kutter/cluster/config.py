"""What one machine's cluster is made of: places, addresses, ranges.

Values come from defaults, then the file written at the first ``up``, then environment
variables (``KUTTER_STATE_DIR`` ...), then flags. What the first ``up`` decided stays, because
certificates, addresses and volumes were made from it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kutter.base.files import write_atomic
from kutter.cluster.api_options import FILE_SETTINGS, ApiServerOptions


class ConfigError(Exception):
    """A setting that cannot work; the message names it and says what is expected."""


class ClusterConfig(ApiServerOptions):
    """Settings of one cluster on one machine. Ranges in CIDR notation."""

    state_dir: Path = Path("/var/lib/kutter")
    run_dir: Path = Path("/run/kutter")
    log_dir: Path = Path("/var/log/kutter")
    node_name: str = ""
    address: str = ""
    api_port: int = 6443
    kubelet_port: int = 10250
    cluster_cidr: str = "10.42.0.0/16"
    service_cidr: str = "10.43.0.0/16"
    cluster_dns: str = "10.43.0.10"
    cluster_domain: str = "cluster.local"
    node_port_first: int = 30000
    node_port_last: int = 32767
    bridge: str = "kutter0"
    cgroup_root: str = "kutter"

    @property
    def store_file(self) -> Path:
        return self.state_dir / "server" / "store.sqlite"

    @property
    def encryption_file(self) -> Path:
        """How values are encrypted in the store; made at the first start."""
        return self.state_dir / "server" / "encryption.yaml"

    @property
    def pki_dir(self) -> Path:
        return self.state_dir / "pki"

    @property
    def kubeconfig_file(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state_dir / "admin.kubeconfig"

    @property
    def service_address(self) -> str:
        """The cluster address of the ``kubernetes`` service: the range's first."""
        return str(ipaddress.ip_network(self.service_cidr)[1])

    @property
    def server_url(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"https://{host}:{self.api_port}"

    @property
    def local_url(self) -> str:
        """How components on this machine reach the API server."""
        return f"https://127.0.0.1:{self.api_port}"

    def check(self) -> None:
        """Raise ConfigError for settings that contradict each other."""
        try:
            self.check_api()
        except ValueError as error:
            raise ConfigError(str(error)) from error
        try:
            pods = ipaddress.ip_network(self.cluster_cidr)
            services = ipaddress.ip_network(self.service_cidr)
            dns = ipaddress.ip_address(self.cluster_dns)
            ipaddress.ip_address(self.address)
        except ValueError as error:
            raise ConfigError(f"not an address or a range: {error}") from error
        if pods.overlaps(services):
            raise ConfigError(
                f"the pods' range {pods} overlaps the services' range {services};"
                " choose ranges that do not"
            )
        if dns not in services:
            raise ConfigError(f"the cluster DNS address {dns} is not in {services}")
        if ipaddress.ip_address(self.address) in pods or (
            ipaddress.ip_address(self.address) in services
        ):
            raise ConfigError(
                f"this machine's address {self.address} lies in the cluster's ranges;"
                " choose others with --cluster-cidr and --service-cidr"
            )
        for name in ("api_port", "kubelet_port"):
            port = getattr(self, name)
            if not 0 < port < 65536:
                raise ConfigError(f"{name} is {port}, expected 1 to 65535")


_PATHS = frozenset({"state_dir", "run_dir", "log_dir"})
_DEFAULTS = ClusterConfig.defaults()


def load_config(
    overrides: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
) -> ClusterConfig:
    """Read the configuration of this machine. Raises ConfigError."""
    values: dict[str, Any] = {}
    for name in _DEFAULTS:
        text = environment.get(f"KUTTER_{name.upper()}")
        if text is not None:
            values[name] = text
    values |= {k: v for k, v in (overrides or {}).items() if v is not None}
    state_dir = Path(values.get("state_dir", ClusterConfig().state_dir))
    saved = _read_saved(state_dir / "cluster.json")
    merged = {**saved, **values}
    typed: dict[str, Any] = {}
    for name, value in merged.items():
        if name not in _DEFAULTS:
            raise ConfigError(f"unknown setting {name}; known: {', '.join(sorted(_DEFAULTS))}")
        typed[name] = _typed(name, value)
    config = ClusterConfig(**typed)
    config = config.replace(
        node_name=config.node_name or socket.gethostname().lower().split(".")[0],
        address=config.address or find_own_address(),
    )
    config.check()
    return config


def save_config(config: ClusterConfig) -> None:
    """Keep the decisions of the first start."""
    values = {
        name: str(value) if name in _PATHS else value for name, value in config.values().items()
    }
    write_atomic(
        config.state_dir / "cluster.json",
        f"{json.dumps(values, indent=2, ensure_ascii=False)}\n".encode(),
        mode=0o644,
    )


def _read_saved(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error}); restore or remove it") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no settings; restore or remove it")
    # Where things are is decided by whoever starts; the file may have been moved.
    return {k: v for k, v in values.items() if k != "state_dir" and k in _DEFAULTS}


def _typed(name: str, value: Any) -> Any:
    if name in _PATHS:
        return Path(value).absolute()
    if name in FILE_SETTINGS and value not in ("", "-"):
        # The server is started in another folder than the command that was given the name.
        return str(Path(value).absolute())
    if isinstance(_DEFAULTS[name], int):
        try:
            return int(value)
        except ValueError as error:
            raise ConfigError(f"{name} is {value!r}, expected a number") from error
    return str(value)


def find_own_address() -> str:
    """The address this machine uses towards others; 127.0.0.1 when it has no network.

    Connecting a UDP socket sends nothing: it only asks the kernel which way it would go.
    """
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        probe = socket.socket(family, socket.SOCK_DGRAM)
        try:
            probe.connect((target, 9))
            address = str(probe.getsockname()[0])
        except OSError:
            continue
        finally:
            probe.close()
        if address and address != "0.0.0.0":  # noqa: S104  (a comparison, not a bind)
            return address
    return "127.0.0.1"
