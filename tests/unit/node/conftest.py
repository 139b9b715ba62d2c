"""An agent over the fake runtime and the API double, without a kernel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.unit.node.api_double import ApiDouble

from kutter.client.client import Client
from kutter.node.agent import NodeAgent
from kutter.node.options import NodeOptions
from kutter.runtime.cri import Resources
from kutter.testing.fake_runtime import FakeImages, FakeRuntime

Tree = dict[str, Any]


class RecordedMounts:
    """Mounts in memory only; a bind leaves an empty target."""

    def __init__(self) -> None:
        self.mounted: dict[str, str] = {}

    def mount_tmpfs(self, target: Path, *, size_bytes: int = 0, mode: int = 0o777) -> None:
        self.mounted[str(target)] = f"tmpfs {size_bytes}"

    def bind(self, source: Path, target: Path) -> None:
        self.mounted[str(target)] = f"bind {source.resolve()}"

    def is_mounted(self, target: Path) -> bool:
        return str(target) in self.mounted

    def unmount_below(self, path: Path) -> None:
        top = str(path)
        self.mounted = {
            k: v for k, v in self.mounted.items() if k != top and not k.startswith(top + "/")
        }


class RecordedCgroups:
    def __init__(self) -> None:
        self.groups: dict[str, Resources] = {}

    def create(self, group: str, resources: Resources) -> None:
        self.groups[group] = resources

    def remove(self, group: str) -> None:
        self.groups.pop(group, None)


@dataclass
class NodeWorld:
    """Everything one scenario touches."""

    api: ApiDouble
    images: FakeImages
    runtime: FakeRuntime
    mounts: RecordedMounts
    cgroups: RecordedCgroups
    agent: NodeAgent
    options: NodeOptions
    task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.task = asyncio.ensure_future(self.agent.run())
        async with asyncio.timeout(30):
            await self.agent.ready.wait()

    async def kill(self) -> None:
        """End the agent as kill -9 would: nothing is tidied up in the runtime."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait({self.task})

    async def restart(self) -> None:
        """A new agent over the same runtime, files and API."""
        await self.kill()
        self.agent = self.make_agent()
        await self.start()

    def make_agent(self) -> NodeAgent:
        return NodeAgent(
            self.options,
            client=Client(self.api),
            runtime=self.runtime,
            images=self.images,
            mounts=self.mounts,
            cgroups=self.cgroups,
            serve=False,
        )

    async def add_pod(self, name: str = "web", **spec: Any) -> Tree:
        return await self.api.put(pod_path(name), pod_tree(name, **spec))

    def pod(self, name: str = "web") -> Tree | None:
        return self.api.objects.get(pod_path(name))

    def condition(self, name: str, kind: str) -> str:
        conditions = (self.pod(name) or {}).get("status", {}).get("conditions", [])
        return next((c["status"] for c in conditions if c["type"] == kind), "")

    async def wait_phase(self, phase: str, name: str = "web") -> Tree:
        def reached() -> Tree | None:
            pod = self.pod(name)
            return pod if pod and pod.get("status", {}).get("phase") == phase else None

        return await self.api.wait_for(reached)

    async def wait_ready(self, name: str = "web") -> Tree:
        await self.api.wait_for(lambda: self.condition(name, "Ready") == "True")
        pod = self.pod(name)
        assert pod is not None
        return pod

    def events(self) -> list[tuple[str, str]]:
        return [(t["reason"], t["message"]) for p, t in self.api.objects.items() if "/events/" in p]


def pod_path(name: str) -> str:
    return f"/api/v1/namespaces/default/pods/{name}"


def container_tree(name: str = "app", image: str = "busybox", **more: Any) -> Tree:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        **more,
    }


def pod_tree(name: str = "web", **spec: Any) -> Tree:
    spec.setdefault("containers", [container_tree()])
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {
            "nodeName": "node-1",
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 1,
            **spec,
        },
        "status": {"phase": "Pending"},
    }


@pytest.fixture
async def node_world(tmp_path: Path) -> AsyncIterator[NodeWorld]:
    api = ApiDouble()
    images = FakeImages(present=["busybox", "sidecar"], registry=["remote"])
    runtime = FakeRuntime(images)
    options = NodeOptions(
        node_name="node-1",
        root=tmp_path / "node",
        pod_log_root=tmp_path / "logs",
        container_log_root=tmp_path / "links",
        node_addresses=("192.0.2.1",),
    )
    world = NodeWorld(
        api,
        images,
        runtime,
        RecordedMounts(),
        RecordedCgroups(),
        None,
        options,  # type: ignore[arg-type]
    )
    world.agent = world.make_agent()
    yield world
    if world.task is not None:
        await world.kill()
    await runtime.close()
