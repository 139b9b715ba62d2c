"""The files a machine's cluster is reached with: certificates, the administrator's kubeconfig."""

from __future__ import annotations

from kutter.client import kubeconfig
from kutter.cluster.admin_kubeconfig import build_kubeconfig
from kutter.cluster.certificates import Certificates, certificates_of
from kutter.cluster.config import ClusterConfig
from kutter.cluster.users_kubeconfig import CONTEXT


def prepare(config: ClusterConfig, *, with_agent: bool) -> Certificates:
    """Make what is missing. Raises OSError, and ValueError for an authority that cannot be read."""
    certificates = certificates_of(config)
    certificates.ensure()
    if with_agent:
        certificates.issue_node(config.node_name, (config.address,))
    write_kubeconfig(config, certificates)
    return certificates


def write_kubeconfig(config: ClusterConfig, certificates: Certificates) -> None:
    """The administrator's kubeconfig, with everything embedded."""
    made = build_kubeconfig(certificates, server=config.server_url, cluster=CONTEXT)
    kubeconfig.save(made, config.kubeconfig_file)
