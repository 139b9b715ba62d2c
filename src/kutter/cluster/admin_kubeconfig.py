"""Kubeconfig files for certificate identities of this cluster, everything embedded.

Between :mod:`kutter.cluster.certificates` and whoever reads kubeconfigs: kubectl, Helm, client
libraries, components started alone. The text is a secret: it holds a private key.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from kutter.base.files import write_atomic
from kutter.cluster.certificates import Certificates


def render_kubeconfig(
    certificates: Certificates,
    *,
    server: str,
    identity: str = "admin",
    cluster: str = "kutter",
    user: str = "",
    namespace: str = "",
) -> str:
    """Kubeconfig text. ``identity`` is a pair of ``certificates``; ``server`` is the URL."""
    pair = certificates.pair(identity)
    user = user or f"{cluster}-{identity}"
    fields = {
        "ca": _encode(certificates.ca_file),
        "certificate": _encode(pair.certificate),
        "key": _encode(pair.key),
    }
    namespace_line = f"\n    namespace: {json.dumps(namespace)}" if namespace else ""
    return f"""apiVersion: v1
kind: Config
clusters:
- name: {json.dumps(cluster)}
  cluster:
    server: {json.dumps(server)}
    certificate-authority-data: {fields["ca"]}
contexts:
- name: {json.dumps(cluster)}
  context:
    cluster: {json.dumps(cluster)}
    user: {json.dumps(user)}{namespace_line}
current-context: {json.dumps(cluster)}
preferences: {{}}
users:
- name: {json.dumps(user)}
  user:
    client-certificate-data: {fields["certificate"]}
    client-key-data: {fields["key"]}
"""


def write_kubeconfig(path: Path, text: str) -> None:
    """Write atomically, readable by the owner alone; an equal file is left alone."""
    content = text.encode()
    try:
        if path.read_bytes() == content:
            return
    except FileNotFoundError:
        pass
    write_atomic(path, content, mode=0o600)


def _encode(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
