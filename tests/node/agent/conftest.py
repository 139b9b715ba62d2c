"""A node agent on the real kernel: embedded runtime, API server in this process, memory store."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.apiserver_harness import ADMIN, start_server
from tests.contract.runtime.leaks import find_leaks
from tests.contract.runtime.world import LoopbackNetwork

from kutter.api.errors import ApiError
from kutter.api.types.core_v1 import ConfigMap, Namespace, Node, Pod, Secret, ServiceAccount
from kutter.apiserver.server import ApiServer
from kutter.client.client import Client
from kutter.client.local import LocalTransport
from kutter.cluster.certificates import Certificates, Pair
from kutter.http.client import HttpClient
from kutter.http.tls import client_context
from kutter.linux.cgroups import detect_cgroups
from kutter.node import NodeAgent, NodeOptions
from kutter.runtime.cri import Container
from kutter.runtime.embedded.assembly import build_runtime
from kutter.runtime.embedded.images import EmbeddedImages
from kutter.runtime.embedded.paths import RuntimePaths
from kutter.runtime.embedded.runtime import EmbeddedRuntime
from kutter.testing.images import BuiltImage, build_busybox_image

Tree = dict[str, Any]
IMAGE = "docker.io/library/busybox:latest"


@dataclass
class KernelNode:
    """A running node; ``kill`` and ``start`` as a crash and a restart of the agent would."""

    base: Path
    cgroup: str
    server: ApiServer
    client: Client
    network: LoopbackNetwork
    image: str
    certificates: Certificates
    serving: Pair
    port: int
    manifest_folder: Path | None = None
    agent: NodeAgent = field(init=False)
    runtime: EmbeddedRuntime = field(init=False)
    images: EmbeddedImages = field(init=False)
    task: asyncio.Task[None] | None = None

    @property
    def paths(self) -> RuntimePaths:
        return RuntimePaths(self.base / "root", self.base / "run", self.cgroup + "/rt")

    async def start(self) -> None:
        self.runtime, self.images = build_runtime(self.paths, self.network)
        await self.runtime.start()
        options = NodeOptions(
            node_name="node-1",
            root=self.base / "node",
            pod_log_root=self.base / "logs",
            container_log_root=None,
            cgroup_root=self.cgroup,
            node_addresses=("127.0.0.1",),
            server_address="127.0.0.1",
            server_port=self.port,
            serving_certificate=self.serving.certificate,
            serving_key=self.serving.key,
            client_ca=self.certificates.ca_file,
            manifest_folder=self.manifest_folder,
        )
        self.agent = NodeAgent(
            options, client=self.client, runtime=self.runtime, images=self.images
        )
        self.task = asyncio.ensure_future(self.agent.run())
        ready = asyncio.ensure_future(self.agent.ready.wait())
        await asyncio.wait({self.task, ready}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            self.task.result()
        assert ready.done()

    async def kill(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait({self.task})
        await self.runtime.close()

    async def add_pod(
        self, name: str = "web", *, annotations: Tree | None = None, **spec: Any
    ) -> Pod:
        spec.setdefault("containers", [self.container()])
        tree = {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": name, "annotations": annotations or {}, "labels": {"app": name}},
            "spec": {
                "nodeName": "node-1",
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": False,
                **spec,
            },
        }
        await self.client.create(Pod, tree, "default")
        return await self.client.get(Pod, name, "default")

    def container(self, name: str = "app", script: str = "sleep 1000", **more: Any) -> Tree:
        command = ["sh", "-c", f"trap 'exit 0' TERM; {script} & wait $!"]
        return {
            "name": name,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": command if "command" not in more else more.pop("command"),
            **more,
        }

    async def wait(self, name: str, condition: Callable[[Pod], Any], timeout_s: float = 30) -> Pod:
        """Watch a pod until ``condition`` holds."""
        pod = None
        try:
            async with asyncio.timeout(timeout_s), AsyncExitStack():
                found = await self.client.list(
                    Pod, "default", field_selector=f"metadata.name={name}"
                )
                for pod in found.items:
                    if condition(pod):
                        return pod
                async for batch in self.client.watch(
                    Pod,
                    "default",
                    resource_version=found.resource_version,
                    field_selector=f"metadata.name={name}",
                ):
                    for event in batch:
                        if event.kind == "BOOKMARK":
                            continue
                        pod = event.object
                        if condition(pod):
                            return pod
        except TimeoutError:
            shown = pod.status if pod is not None else None
            plans = [(w.last_plan.why, w.operations.busy()) for w in self.agent.workers.values()]
            raise AssertionError(f"{name} never got there: {shown} {plans}") from None
        raise AssertionError("the watch ended")

    async def wait_ready(self, name: str = "web") -> Pod:
        return await self.wait(name, is_ready)

    async def wait_phase(self, phase: str, name: str = "web") -> Pod:
        return await self.wait(name, lambda p: p.status.phase == phase)

    async def wait_gone(self, name: str = "web") -> None:
        async with asyncio.timeout(30):
            while self.agent.workers:
                await asyncio.sleep(0.01)
        with pytest.raises(ApiError):
            await self.client.get(Pod, name, "default")

    def run_of(self, name: str = "app") -> Container:
        for uid in self.agent.view.pods():
            runs = self.agent.view.containers(uid).get(name)
            if runs:
                return runs[0]
        raise AssertionError(f"no container {name}")

    async def sh(self, script: str, container: str = "app") -> str:
        code, out, err = await self.runtime.exec_sync(
            self.run_of(container).id, ["sh", "-c", script], 30
        )
        assert code == 0, (script, err)
        return out.decode().rstrip("\n")

    def log(self, container: str = "app") -> str:
        lines = self.run_of(container).log_path.read_text().splitlines()
        return "\n".join(line.split(" ", 3)[3] for line in lines)


def is_ready(pod: Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    return build_busybox_image(tmp_path_factory.mktemp("images") / "busybox.tar")


@pytest.fixture
def node_base() -> Iterator[tuple[Path, str]]:
    base = Path(tempfile.mkdtemp(prefix="kutter-node-"))
    cgroup = f"/kutter-node-{secrets.token_hex(4)}"
    cgroups = detect_cgroups()
    yield base, cgroup
    leaks = find_leaks(base, cgroup, cgroups)
    shutil.rmtree(base, ignore_errors=True)
    assert leaks == []


@pytest.fixture
async def kernel_node(
    node_base: tuple[Path, str], busybox: BuiltImage
) -> AsyncIterator[KernelNode]:
    base, cgroup = node_base
    certificates = Certificates(base / "pki")
    certificates.ensure()
    _, serving = certificates.issue_node("node-1", ["127.0.0.1"])
    pair = certificates.pair("apiserver-kubelet-client")
    tls = client_context(
        ca_file=certificates.ca_file, cert_file=pair.certificate, key_file=pair.key
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = await start_server(node_client=HttpClient(tls=tls))
    client = Client(LocalTransport(server.handle, ADMIN))
    for name in ("default", "kube-node-lease"):
        tree = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}
        await client.create(Namespace, tree)
    account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default"}}
    await client.create(ServiceAccount, account, "default")
    node = KernelNode(
        base, cgroup, server, client, LoopbackNetwork(), "", certificates, serving, port
    )
    runtime, images = build_runtime(node.paths, node.network)
    await runtime.start()
    imported = await images.import_archive(busybox.path)
    node.image = imported[0].repo_tags[0]
    await runtime.close()
    await node.start()
    yield node
    for pod in (await client.list(Pod, "default")).items:
        await client.delete(Pod, pod.metadata.name, "default", grace_period_s=0)
    try:
        async with asyncio.timeout(20):
            while node.agent.workers:
                await asyncio.sleep(0.01)
    finally:
        await node.kill()
        runtime, _ = build_runtime(node.paths, node.network)
        await runtime.start()
        await runtime.purge()
        from kutter.linux.mounts import unmount_below

        unmount_below(base)
        for kind in ("/burstable", "/besteffort", ""):
            detect_cgroups().remove(cgroup + kind)
        await server.stop()


__all__ = ["ConfigMap", "KernelNode", "Node", "Secret"]
