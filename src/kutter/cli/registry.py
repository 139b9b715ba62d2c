"""Every command: its group, its one-line summary and the module that holds it."""

from __future__ import annotations

import importlib
from typing import NamedTuple

from kutter.cli.command import Command


class Listed(NamedTuple):
    group: str
    summary: str
    module: str


CLUSTER = "The cluster on this machine"
READ = "Look"
CHANGE = "Change"
POD = "Work with pods"
OTHER = "Other"

COMMANDS: dict[str, Listed] = {
    "up": Listed(CLUSTER, "Start the cluster on this machine", "up"),
    "down": Listed(CLUSTER, "Stop it; --purge also forgets its state", "down"),
    "status": Listed(CLUSTER, "Show whether it runs and what it uses", "status"),
    "kubeconfig": Listed(CLUSTER, "Print the administrator's kubeconfig", "kubeconfig"),
    "server": Listed(CLUSTER, "Run the server in the foreground", "server"),
    "agent": Listed(CLUSTER, "Run the node agent in the foreground", "agent"),
    "get": Listed(READ, "Show objects as a table or as they are", "get"),
    "version": Listed(OTHER, "Print versions", "version"),
}


def load(name: str) -> Command:
    """Import a command's module. KeyError for an unknown name."""
    module = importlib.import_module(f"kutter.cli.commands.{COMMANDS[name].module}")
    command: Command = module.COMMAND
    return command
