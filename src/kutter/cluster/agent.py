"""The agent process: node agent over the embedded runtime and the kernel's network."""

from __future__ import annotations

import asyncio
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import uvloop

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.core_v1 import Node
from kutter.base.clock import SYSTEM_CLOCK
from kutter.base.collector import settle
from kutter.base.log import configure_logging, get_logger
from kutter.base.tasks import Scope, supervise
from kutter.client.client import Client
from kutter.client.http import HttpTransport
from kutter.client.kubeconfig import Connection
from kutter.cluster.agent_control import AgentControl
from kutter.cluster.certificates import certificates_of
from kutter.cluster.config import ClusterConfig
from kutter.linux import mounts
from kutter.network.addresses.pods import BridgePodNetwork
from kutter.network.dns.server import ClusterDns
from kutter.network.interface import NetworkConfig
from kutter.network.services.rules import NftServiceRules
from kutter.node.agent import NodeAgent
from kutter.node.options import NodeOptions
from kutter.runtime.embedded.assembly import build_runtime
from kutter.runtime.embedded.paths import RuntimePaths
from kutter.runtime.embedded.registry import RegistryPuller

_log = get_logger("agent")

_NODE_READY_WAIT_S = 60.0
_REPAIR_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class AgentPaths:
    """Folders of the agent below the cluster's."""

    config: ClusterConfig

    @property
    def node(self) -> Path:
        return self.config.state_dir / "node"

    @property
    def network(self) -> Path:
        return self.config.state_dir / "network"

    @property
    def control_socket(self) -> Path:
        """Root's door to the agent: images."""
        return self.config.run_dir / "agent.sock"

    @property
    def runtime(self) -> RuntimePaths:
        return RuntimePaths(
            root=self.config.state_dir / "runtime",
            run=self.config.run_dir / "runtime",
            cgroup=f"/{self.config.cgroup_root}-runtime",
        )


def run_agent(config: ClusterConfig, *, verbose: bool = False) -> int:
    """Serve until SIGTERM or SIGINT; answers the exit code. Containers run on."""
    configure_logging(verbose=verbose)
    try:
        uvloop.run(_serve(config))
    except (OSError, ApiError, ValueError) as error:
        _log.error("agent cannot run", error=str(error))
        return 1
    return 0


def network_config(config: ClusterConfig, pod_cidr: str) -> NetworkConfig:
    return NetworkConfig(
        cluster_cidr=config.cluster_cidr,
        pod_cidr=pod_cidr,
        service_cidr=config.service_cidr,
        cluster_dns=config.cluster_dns,
        cluster_domain=config.cluster_domain,
        node_addresses=(config.address,),
        bridge=config.bridge,
        node_port_range=(config.node_port_first, config.node_port_last),
    )


def node_options(config: ClusterConfig) -> NodeOptions:
    certificates = certificates_of(config)
    _, serving = certificates.issue_node(config.node_name, (config.address,))
    paths = AgentPaths(config)
    return NodeOptions(
        node_name=config.node_name,
        root=paths.node,
        pod_log_root=config.log_dir / "pods",
        container_log_root=config.log_dir / "containers",
        node_addresses=(config.address,),
        cluster_dns=config.cluster_dns,
        cluster_domain=config.cluster_domain,
        cgroup_root=f"/{config.cgroup_root}",
        server_port=config.kubelet_port,
        serving_certificate=serving.certificate,
        serving_key=serving.key,
        client_ca=certificates.ca_file,
        manifest_folder=config.state_dir / "manifests",
        registry_config=config.state_dir / "registries.json",
    )


async def _serve(config: ClusterConfig) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    certificates = certificates_of(config)
    own, _ = certificates.issue_node(config.node_name, (config.address,))
    connection = Connection(
        server=config.local_url,
        ca_file=certificates.ca_file,
        cert_file=own.certificate,
        key_file=own.key,
    )
    client = Client(HttpTransport(connection, user_agent="kutter-agent"), user_agent="kutter-agent")
    pod_cidr = await wait_for_range(client, config.node_name)
    paths = AgentPaths(config)
    settings = network_config(config, pod_cidr)
    network = BridgePodNetwork(settings, paths.network)
    known = paths.runtime.sandboxes
    await network.start([p.name for p in known.iterdir()] if known.is_dir() else [])
    puller = RegistryPuller()
    runtime, images = build_runtime(paths.runtime, network, puller=puller)
    await runtime.start()
    rules, dns = NftServiceRules(settings), ClusterDns(settings)
    await dns.start([config.cluster_dns])
    agent = NodeAgent(
        node_options(config),
        client=client,
        runtime=runtime,
        images=images,
        services=rules,
        dns=dns,
    )
    control = AgentControl(images, agent.ready)
    async with Scope("agent") as scope:
        await control.start(paths.control_socket)
        running = scope.start(agent.run(), "node")
        scope.start(_settle(agent), "settle")
        scope.start(supervise("repair", lambda: _repair(network, rules)), "repair")
        stopped = scope.start(stopping.wait(), "stop")
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        _log.info("stopping; containers run on")
        await agent.stop()
        await asyncio.wait({running}, timeout=5)
        await control.close()
        await dns.close()
        await puller.close()
        await runtime.close()
        await client.close()


async def _repair(network: BridgePodNetwork, rules: NftServiceRules) -> None:
    """Put back what others removed: a flushed ruleset, a deleted bridge."""
    while True:
        await SYSTEM_CLOCK.sleep(_REPAIR_EVERY_S)
        if await network.repair():
            _log.warning("pod network was damaged and has been repaired")
        if await rules.repair():
            _log.warning("service rules were damaged and have been put back")


async def _settle(agent: NodeAgent) -> None:
    """Once everything is up it stays: keep the collector from walking it again and again."""
    await agent.ready.wait()
    settle()


async def wait_for_range(client: Client, name: str) -> str:
    """The node's pod range; makes the Node object if it is missing so that it gets one.

    Raises ApiError, OSError, or TimeoutError when nobody hands out a range.
    """
    async with asyncio.timeout(_NODE_READY_WAIT_S):
        while True:
            try:
                node = await client.get(Node, name)
            except ApiError as error:
                if not is_reason(error, "NotFound"):
                    raise
                tree = {
                    "kind": "Node",
                    "apiVersion": "v1",
                    "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                }
                await client.create(Node, tree)
                continue
            except OSError as error:
                _log.debug("server not reachable yet", error=str(error))
                await SYSTEM_CLOCK.sleep(0.1)
                continue
            if node.spec.pod_cidr:
                return node.spec.pod_cidr
            watch = client.watch(
                Node,
                resource_version=node.metadata.resource_version,
                field_selector=f"metadata.name={name}",
                timeout_s=30,
            )
            async for batch in watch:
                for event in batch:
                    if event.kind == "MODIFIED" and event.object.spec.pod_cidr:
                        return event.object.spec.pod_cidr


def remove_traces(config: ClusterConfig) -> None:
    """Remove every process, mount, cgroup, interface and nft rule of the node. Needs root."""
    configure_logging()
    uvloop.run(_remove_traces(config))


async def _remove_traces(config: ClusterConfig) -> None:
    paths = AgentPaths(config)
    settings = network_config(config, config.cluster_cidr)
    network = BridgePodNetwork(settings, paths.network)
    known = paths.runtime.sandboxes
    sandboxes = [p.name for p in known.iterdir()] if known.is_dir() else []
    if sandboxes or paths.runtime.run.exists():
        await network.start(sandboxes)
        runtime, _ = build_runtime(paths.runtime, network)
        await runtime.start()
        await runtime.purge(keep_images=True)
        await runtime.close()
    await network.purge()
    network.close()
    rules = NftServiceRules(settings)
    await rules.purge()
    rules.close()
    if paths.node.exists():
        mounts.unmount_below(paths.node)
        # Volumes of pods are made anew; what pods keep for good lies elsewhere (hostPath).
        shutil.rmtree(paths.node / "memory", ignore_errors=True)
    _remove_cgroups(config)


def _remove_cgroups(config: ClusterConfig) -> None:
    from kutter.linux.cgroups import detect_cgroups

    cgroups = detect_cgroups()
    for name in (f"/{config.cgroup_root}", f"/{config.cgroup_root}-runtime"):
        cgroups.remove(name)
