"""Kubeconfigs for certificate identities of this cluster, everything embedded.

Between :mod:`kutter.cluster.certificates` and whoever reads kubeconfigs: kubectl, Helm, client
libraries, components started alone. The content is a secret: it holds a private key.
"""

from __future__ import annotations

from kutter.client.kubeconfig import Kubeconfig, encode_data
from kutter.cluster.certificates import Certificates


def build_kubeconfig(
    certificates: Certificates,
    *,
    server: str,
    identity: str = "admin",
    cluster: str = "kutter",
    namespace: str = "",
) -> Kubeconfig:
    """A kubeconfig whose only context is ``cluster``.

    ``identity`` is a pair of ``certificates``, ``server`` the API server's URL. Write it with
    :func:`kutter.client.kubeconfig.save`.
    """
    pair = certificates.pair(identity)
    made = Kubeconfig()
    made.set_cluster_entry(
        cluster,
        cluster={
            "server": server,
            "certificate-authority-data": encode_data(certificates.ca_pem),
        },
        user={
            "client-certificate-data": encode_data(pair.certificate.read_bytes()),
            "client-key-data": encode_data(pair.key.read_bytes()),
        },
        namespace=namespace,
    )
    return made
