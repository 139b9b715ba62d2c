"""``kutter cluster-info``: where the cluster's services are."""

from __future__ import annotations

import argparse

from kutter.cli.command import Command, Parser
from kutter.cli.connection import add_connection_flags, open_session


def configure(parser: Parser) -> None:
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    session = open_session(parsed)
    session.namespace = "kube-system"
    server = session.connection.server
    services = session.list(
        session.kinds.find("services"), "kube-system", selector="kubernetes.io/cluster-service=true"
    )
    print(f"Kubernetes control plane is running at {server}")
    for service in services:
        metadata = service["metadata"]
        labels = metadata.get("labels") or {}
        name = labels.get("kubernetes.io/name") or metadata["name"]
        path = f"/api/v1/namespaces/kube-system/services/{metadata['name']}/proxy"
        print(f"{name} is running at {server}{path}")
    return 0


COMMAND = Command(
    name="cluster-info",
    summary="Show where the cluster is",
    configure=configure,
    run=run,
    examples=("kutter cluster-info",),
)
