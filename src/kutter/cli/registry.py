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
NODE = "Work on nodes"
OTHER = "Other"

COMMANDS: dict[str, Listed] = {
    "up": Listed(CLUSTER, "Start the cluster on this machine", "up"),
    "down": Listed(CLUSTER, "Stop it; --purge also forgets its state", "down"),
    "status": Listed(CLUSTER, "Show whether it runs and what it uses", "status"),
    "kubeconfig": Listed(CLUSTER, "Print the administrator's kubeconfig", "kubeconfig"),
    "server": Listed(CLUSTER, "Run the server in the foreground", "server"),
    "agent": Listed(CLUSTER, "Run the node agent in the foreground", "agent"),
    "get": Listed(READ, "Show objects as a table or as they are", "get"),
    "describe": Listed(READ, "Explain objects, with their events", "describe"),
    "why": Listed(READ, "Tell why something is not what its owner wants", "why"),
    "api-resources": Listed(READ, "List the kinds of objects the server serves", "api_resources"),
    "api-versions": Listed(READ, "List the group versions the server serves", "api_versions"),
    "cluster-info": Listed(READ, "Show where the cluster is", "cluster_info"),
    "events": Listed(READ, "List what happened, the latest last", "events"),
    "wait": Listed(READ, "Wait until objects are as they should be", "wait"),
    "top": Listed(READ, "Show what nodes and pods use now", "top"),
    "create": Listed(CHANGE, "Create objects from manifests or words", "create"),
    "apply": Listed(CHANGE, "Make objects what their manifests say", "apply"),
    "delete": Listed(CHANGE, "Remove objects", "delete"),
    "edit": Listed(CHANGE, "Change an object in an editor", "edit"),
    "patch": Listed(CHANGE, "Change some fields of an object", "patch"),
    "replace": Listed(CHANGE, "Put manifests in the place of objects", "replace"),
    "label": Listed(CHANGE, "Set or remove labels", "label"),
    "annotate": Listed(CHANGE, "Set or remove annotations", "annotate"),
    "scale": Listed(CHANGE, "Set how many replicas there shall be", "scale"),
    "set": Listed(CHANGE, "Change image, environment or resources", "set"),
    "rollout": Listed(CHANGE, "Follow, undo, restart or pause a workload's change", "rollout"),
    "expose": Listed(CHANGE, "Put a service in front of a workload", "expose"),
    "run": Listed(POD, "Run one pod of an image", "run"),
    "logs": Listed(POD, "Print what containers log", "logs"),
    "exec": Listed(POD, "Run a command in a container", "exec"),
    "attach": Listed(POD, "Join a container's running process", "attach"),
    "port-forward": Listed(POD, "Let ports of this machine lead into a pod", "port_forward"),
    "cp": Listed(POD, "Copy files to and from containers", "cp"),
    "image": Listed(CLUSTER, "Pull, import, list and remove images on this machine", "image"),
    "cordon": Listed(NODE, "Let a node take no new pods", "cordon"),
    "uncordon": Listed(NODE, "Let a node take pods again", "uncordon"),
    "drain": Listed(NODE, "Empty a node before work on it", "drain"),
    "taint": Listed(NODE, "Keep pods away from nodes", "taint"),
    "auth": Listed(OTHER, "Tell who one is and what one may do", "auth"),
    "config": Listed(OTHER, "Look at and choose contexts of the kubeconfig", "config"),
    "version": Listed(OTHER, "Print versions", "version"),
}


def load(name: str) -> Command:
    """Import a command's module. KeyError for an unknown name."""
    module = importlib.import_module(f"kutter.cli.commands.{COMMANDS[name].module}")
    command: Command = module.COMMAND
    return command
