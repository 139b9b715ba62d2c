"""The Node object of this machine: labels, capacity, conditions. Pure.

https://kubernetes.io/docs/reference/node/node-status/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from kutter.api.types.core_v1 import Node
from kutter.base.clock import render_time
from kutter.node.machine import DiskUsage, Machine
from kutter.node.options import KUBELET_VERSION, NodeOptions
from kutter.node.resources import parse_amount
from kutter.runtime.cri import Image

Tree = dict[str, Any]
IMAGE_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Pressure:
    """Which signals are under pressure."""

    memory: bool = False
    disk: bool = False
    pid: bool = False


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the node's status is made from. ``not_ready`` are reasons, empty when ready."""

    machine: Machine
    disk: DiskUsage
    images: Sequence[Image] = ()
    runtime: tuple[str, str] = ("kutter", "")
    not_ready: Sequence[str] = ()
    pressure: Pressure = Pressure()


def default_labels(options: NodeOptions, machine: Machine, hostname: str) -> dict[str, str]:
    """The labels every node has."""
    return {
        "beta.kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/hostname": hostname,
        "kubernetes.io/os": "linux",
        **options.labels,
    }


def compute_capacity(options: NodeOptions, facts: NodeFacts) -> dict[str, str]:
    machine = facts.machine
    return {
        "cpu": str(machine.cpus),
        "ephemeral-storage": f"{facts.disk.capacity_bytes // 1024}Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "memory": f"{machine.memory_bytes // 1024}Ki",
        "pods": str(options.maximum_pods),
    }


def compute_allocatable(options: NodeOptions, capacity: Mapping[str, str]) -> dict[str, str]:
    """Capacity less what is reserved and less the hard eviction thresholds."""
    found = dict(capacity)
    memory = parse_amount(capacity["memory"]) - options.eviction.memory_available_bytes
    disk = parse_amount(capacity["ephemeral-storage"])
    disk -= disk * Fraction(str(options.eviction.nodefs_available))
    found["memory"] = f"{int(_less(memory, options, 'memory')) // 1024}Ki"
    found["ephemeral-storage"] = str(int(_less(disk, options, "ephemeral-storage")))
    if "cpu" in options.system_reserved:
        cpu = _less(parse_amount(capacity["cpu"]), options, "cpu")
        found["cpu"] = f"{int(cpu * 1000)}m"
    return found


def _less(amount: Fraction, options: NodeOptions, name: str) -> Fraction:
    reserved = options.system_reserved.get(name)
    return max(amount - (parse_amount(reserved) if reserved else 0), Fraction(0))


def compute_node_status(
    options: NodeOptions, facts: NodeFacts, hostname: str, old: Node | None, now: datetime
) -> Tree:
    """The whole ``status`` of the Node object."""
    capacity = compute_capacity(options, facts)
    machine = facts.machine
    addresses = [{"type": "InternalIP", "address": ip} for ip in options.node_addresses]
    addresses.append({"type": "Hostname", "address": hostname})
    name, version = facts.runtime
    return {
        "addresses": addresses,
        "allocatable": compute_allocatable(options, capacity),
        "capacity": capacity,
        "conditions": compute_conditions(facts, old, now),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": options.server_port}},
        "images": _images(facts.images),
        "nodeInfo": {
            "architecture": machine.architecture,
            "bootID": machine.boot_id,
            "containerRuntimeVersion": f"{name}://{version}",
            "kernelVersion": machine.kernel_version,
            "kubeProxyVersion": "",
            "kubeletVersion": KUBELET_VERSION,
            "machineID": machine.machine_id,
            "operatingSystem": "linux",
            "osImage": machine.os_image,
            "systemUUID": machine.system_uuid,
        },
        "runtimeHandlers": [{"name": "", "features": {"recursiveReadOnlyMounts": True}}],
        "features": {"supplementalGroupsPolicy": True},
    }


def _images(images: Sequence[Image]) -> list[Tree]:
    largest = sorted(images, key=lambda i: i.size_bytes, reverse=True)[:IMAGE_LIMIT]
    return [
        {"names": [*image.repo_digests, *image.repo_tags][:5], "sizeBytes": image.size_bytes}
        for image in largest
        if image.repo_digests or image.repo_tags
    ]


def compute_conditions(facts: NodeFacts, old: Node | None, now: datetime) -> list[Tree]:
    """MemoryPressure, DiskPressure, PIDPressure, Ready."""
    pressure = facts.pressure
    wanted = [
        _pressure("MemoryPressure", "Memory", "sufficient memory available", on=pressure.memory),
        _pressure("DiskPressure", "Disk", "no disk pressure", on=pressure.disk),
        _pressure("PIDPressure", "PID", "sufficient PID available", on=pressure.pid),
    ]
    if facts.not_ready:
        text = "[" + ", ".join(facts.not_ready) + "]" if len(facts.not_ready) > 1 else ""
        wanted.append(("Ready", "False", "KubeletNotReady", text or facts.not_ready[0]))
    else:
        wanted.append(("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
    known = {c.type: c for c in old.status.conditions} if old is not None else {}
    conditions = []
    for kind, status, reason, message in wanted:
        before = known.get(kind)
        same = before is not None and before.status == status
        since = before.last_transition_time if before is not None and same else ""
        conditions.append(
            {
                "type": kind,
                "status": status,
                "lastHeartbeatTime": render_time(now),
                "lastTransitionTime": since or render_time(now),
                "reason": reason,
                "message": message,
            }
        )
    return conditions


def _pressure(kind: str, word: str, fine: str, *, on: bool) -> tuple[str, str, str, str]:
    if not on:
        reason = {
            "MemoryPressure": "KubeletHasSufficientMemory",
            "DiskPressure": "KubeletHasNoDiskPressure",
            "PIDPressure": "KubeletHasSufficientPID",
        }[kind]
        return kind, "False", reason, f"kubelet has {fine}"
    reason = {
        "MemoryPressure": "KubeletHasInsufficientMemory",
        "DiskPressure": "KubeletHasDiskPressure",
        "PIDPressure": "KubeletHasInsufficientPID",
    }[kind]
    text = {
        "Memory": "kubelet has insufficient memory available",
        "Disk": "kubelet has disk pressure",
        "PID": "kubelet has insufficient PID available",
    }[word]
    return kind, "True", reason, text
