"""What hooks get and how they fail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kutter.api.types.core_v1 import Pod
from kutter.node.environment import PodContext
from kutter.node.kit import NodeKit
from kutter.node.volumes.pod_volumes import PodVolumes


class HookFailure(Exception):
    """The pod cannot be prepared now: an event's reason and message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True)
class PodWork:
    """One pod's things on this node. ``pod`` is replaced as the API changes it."""

    kit: NodeKit
    pod: Pod
    volumes: PodVolumes
    pod_ips: tuple[str, ...] = ()

    @property
    def uid(self) -> str:
        return self.pod.metadata.uid

    @property
    def folder(self) -> Path:
        """The pod's own folder."""
        return pod_folder(self.kit, self.uid)

    def context(self) -> PodContext:
        """What environment and payloads are made from, as of now."""
        kit, namespace = self.kit, self.pod.metadata.namespace
        return PodContext(
            pod=self.pod,
            config_map=lambda name: kit.references.config_map(namespace, name),
            secret=lambda name: kit.references.secret(namespace, name),
            pod_ips=self.pod_ips,
            host_ips=kit.options.node_addresses,
            allocatable=kit.allocatable,
            services=kit.services(),
        )


def pod_folder(kit: NodeKit, uid: str) -> Path:
    """Where a pod's files are."""
    return kit.options.root / "pods" / uid


def memory_folder(kit: NodeKit, uid: str) -> Path:
    """Where a pod's secrets are (tmpfs)."""
    return kit.options.root / "memory" / uid


class Hook(Protocol):
    """One concern. ``prepare`` raises HookFailure; ``release`` raises OSError."""

    async def prepare(self, work: PodWork) -> None: ...
    async def release(self, work: PodWork) -> None: ...
