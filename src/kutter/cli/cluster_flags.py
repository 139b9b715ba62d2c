"""Flags of the commands that concern the cluster on this machine."""

from __future__ import annotations

import argparse
from typing import Any

from kutter.cli.command import CommandError
from kutter.cluster.api_options import API_FLAGS
from kutter.cluster.config import ClusterConfig, ConfigError, load_config

_FLAGS: tuple[tuple[str, str], ...] = (
    ("state-dir", "where state is kept (default /var/lib/kutter)"),
    ("run-dir", "where sockets and process ids are kept (default /run/kutter)"),
    ("log-dir", "where logs are kept (default /var/log/kutter)"),
)
_START_FLAGS: tuple[tuple[str, str], ...] = (
    ("node-name", "this node's name (default: the host name)"),
    ("address", "this machine's address (default: the one towards the network)"),
    ("api-port", "the API server's port (default 6443)"),
    ("kubelet-port", "the node agent's port (default 10250)"),
    ("cluster-cidr", "addresses for pods (default 10.42.0.0/16)"),
    ("service-cidr", "addresses for services (default 10.43.0.0/16)"),
    ("cluster-dns", "the name server's address (default 10.43.0.10)"),
    ("cluster-domain", "the cluster's domain (default cluster.local)"),
    ("bridge", "the bridge's interface name (default kutter0)"),
)


def add_place_flags(parser: argparse.ArgumentParser) -> None:
    """Where the cluster lives."""
    for name, text in _FLAGS:
        parser.add_argument(f"--{name}", metavar="VALUE", help=text)


def add_start_flags(parser: argparse.ArgumentParser) -> None:
    """What the first start decides."""
    add_place_flags(parser)
    for name, text in _START_FLAGS:
        parser.add_argument(f"--{name}", metavar="VALUE", help=text)
    api = parser.add_argument_group("API server, as upstream's flags")
    for name, text in API_FLAGS.items():
        api.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=text)


def config_from(parsed: argparse.Namespace) -> ClusterConfig:
    """The configuration with the flags given. Raises CommandError."""
    names = [n.replace("-", "_") for n, _ in (*_FLAGS, *_START_FLAGS)] + [*API_FLAGS]
    overrides: dict[str, Any] = {n: getattr(parsed, n, None) for n in names}
    try:
        return load_config(overrides)
    except ConfigError as error:
        raise CommandError(str(error)) from error
