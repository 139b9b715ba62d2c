"""Pods on the real kernel, driven through the API as users do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.node.agent.conftest import KernelNode, is_ready

from kutter.api.types.core_v1 import ConfigMap, Node, Pod, Secret

pytestmark = pytest.mark.root


async def test_pod_runs_and_is_deleted(kernel_node: KernelNode) -> None:
    await kernel_node.add_pod()
    pod = await kernel_node.wait_ready()
    assert pod.status.phase == "Running"
    assert await kernel_node.sh("echo hello") == "hello"
    assert await kernel_node.sh("hostname") == "web"
    await kernel_node.client.delete(Pod, "web", "default")
    await kernel_node.wait_gone()
    assert await kernel_node.runtime.list_sandboxes() == []


async def test_node_is_ready(kernel_node: KernelNode) -> None:
    node = await kernel_node.client.get(Node, "node-1")
    ready = next(c for c in node.status.conditions if c.type == "Ready")
    assert ready.status == "True"
    assert node.status.node_info.kubelet_version == "v1.36.0"
    assert any(kernel_node.image in i.names for i in node.status.images)


async def test_exit_code_message_and_logs(kernel_node: KernelNode) -> None:
    script = "echo out; echo because > /dev/termination-log; exit 3"
    container = kernel_node.container(command=["sh", "-c", script])
    await kernel_node.add_pod(restartPolicy="Never", containers=[container])
    pod = await kernel_node.wait_phase("Failed")
    ended = pod.status.container_statuses[0].state.terminated
    assert ended is not None
    assert (ended.exit_code, ended.reason, ended.message) == (3, "Error", "because\n")
    assert kernel_node.log() == "out"


async def test_init_containers_share_an_empty_dir(kernel_node: KernelNode) -> None:
    mount = [{"name": "work", "mountPath": "/work"}]
    first = kernel_node.container(
        "first", command=["sh", "-c", "echo one > /work/f"], volumeMounts=mount
    )
    second = kernel_node.container(
        "second", command=["sh", "-c", "echo two >> /work/f"], volumeMounts=mount
    )
    await kernel_node.add_pod(
        volumes=[{"name": "work", "emptyDir": {}}],
        initContainers=[first, second],
        containers=[kernel_node.container(volumeMounts=mount)],
    )
    await kernel_node.wait_ready()
    assert await kernel_node.sh("cat /work/f") == "one\ntwo"


async def test_config_map_and_secret_reach_environment_and_files(kernel_node: KernelNode) -> None:
    client = kernel_node.client
    config = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "settings"}}
    await client.create(ConfigMap, {**config, "data": {"mode": "fast"}}, "default")
    secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "keys"}}
    await client.create(Secret, {**secret, "stringData": {"key": "s3cret"}}, "default")
    env = [
        {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}},
        {"name": "LINE", "value": "$(MODE)-$(NODE)-$$(MODE)"},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    await kernel_node.add_pod(
        volumes=[
            {"name": "config", "configMap": {"name": "settings"}},
            {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
            {
                "name": "about",
                "downwardAPI": {
                    "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
                },
            },
        ],
        containers=[
            kernel_node.container(
                env=env,
                volumeMounts=[
                    {"name": "config", "mountPath": "/config"},
                    {"name": "keys", "mountPath": "/keys", "readOnly": True},
                    {"name": "about", "mountPath": "/about"},
                    {"name": "config", "mountPath": "/one", "subPath": "mode"},
                ],
            )
        ],
    )
    await kernel_node.wait_ready()
    assert await kernel_node.sh("echo $LINE") == "fast-$(NODE)-$(MODE)"
    assert await kernel_node.sh("echo $POD_IP") == "127.0.0.1"
    assert await kernel_node.sh("cat /config/mode /one") == "fastfast"
    assert await kernel_node.sh("cat /keys/key; stat -c %a /keys/..data/key") == "s3cret400"
    assert await kernel_node.sh("cat /about/labels") == 'app="web"'

    await client.patch(ConfigMap, "settings", {"data": {"mode": "slow"}}, "default")
    async with asyncio.timeout(30):
        while await kernel_node.sh("cat /config/mode") != "slow":
            await asyncio.sleep(0.02)
    assert await kernel_node.sh("cat /one") == "fast"  # sub-paths never change


async def test_agent_killed_and_restarted_restarts_nothing(kernel_node: KernelNode) -> None:
    await kernel_node.add_pod()
    await kernel_node.add_pod("gone")
    before = await kernel_node.wait_ready()
    await kernel_node.wait_ready("gone")
    await kernel_node.kill()
    await kernel_node.client.delete(Pod, "gone", "default", grace_period_s=0)
    await kernel_node.start()
    after = await kernel_node.wait_ready()
    first, second = before.status.container_statuses[0], after.status.container_statuses[0]
    assert first.container_id == second.container_id
    assert second.restart_count == 0
    assert len(await kernel_node.runtime.list_sandboxes()) == 1
    await kernel_node.client.delete(Pod, "web", "default")
    await kernel_node.wait_gone()


async def test_liveness_failure_restarts_the_container(kernel_node: KernelNode) -> None:
    probe = {
        "exec": {"command": ["test", "!", "-e", "/tmp/sick"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    await kernel_node.add_pod(containers=[kernel_node.container(livenessProbe=probe)])
    await kernel_node.wait_ready()
    # Sick once the command has ended: a quick probe would take the container, and it, away.
    await kernel_node.sh(
        "mkdir -p /tmp; (while kill -0 $$; do :; done; touch /tmp/sick) >/dev/null 2>&1 &"
    )
    pod = await kernel_node.wait(
        "web",
        lambda p: (
            bool(p.status.container_statuses)
            and p.status.container_statuses[0].restart_count == 1
            and is_ready(p)
        ),
    )
    assert pod.status.container_statuses[0].last_state.terminated is not None


async def test_limits_become_cgroup_values_and_users_count(kernel_node: KernelNode) -> None:
    container = kernel_node.container(
        resources={"limits": {"memory": "64Mi", "cpu": "500m"}},
        securityContext={
            "runAsUser": 1234,
            "runAsGroup": 2345,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    )
    await kernel_node.add_pod(containers=[container], securityContext={"fsGroup": 777})
    pod = await kernel_node.wait_ready()
    assert pod.status.qos_class == "Guaranteed"
    assert await kernel_node.sh("id -u; id -g; id -G") == "1234\n2345\n2345 777"
    # From outside: with cgroups of version 2 a container sees its own as the root.
    groups = Path(f"/proc/{kernel_node.run_of().pid}/cgroup").read_text()
    assert f"pod{pod.metadata.uid}" in groups
    assert await kernel_node.sh("grep CapEff /proc/self/status") == "CapEff:\t0000000000000000"
    assert await kernel_node.sh("touch /x 2>/dev/null || echo no") == "no"


async def test_hooks_run_and_grace_is_kept(kernel_node: KernelNode) -> None:
    shared = kernel_node.base / "shared"
    shared.mkdir(mode=0o777)
    lifecycle = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo started >> /shared/log"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopping >> /shared/log"]}},
    }
    await kernel_node.add_pod(
        volumes=[{"name": "shared", "hostPath": {"path": str(shared), "type": "Directory"}}],
        containers=[
            kernel_node.container(
                lifecycle=lifecycle, volumeMounts=[{"name": "shared", "mountPath": "/shared"}]
            )
        ],
    )
    await kernel_node.wait_ready()
    assert (shared / "log").read_text() == "started\n"
    await kernel_node.client.delete(Pod, "web", "default")
    await kernel_node.wait_gone()
    assert (shared / "log").read_text() == "started\nstopping\n"


async def test_host_network_pod_with_http_probe(kernel_node: KernelNode) -> None:
    probe = {"httpGet": {"path": "/index.html", "port": 18473}, "periodSeconds": 1}
    script = "mkdir -p /www; echo hi > /www/index.html; exec httpd -f -p 127.0.0.1:18473 -h /www"
    container = kernel_node.container(command=["sh", "-c", script], readinessProbe=probe)
    await kernel_node.add_pod(hostNetwork=True, containers=[container])
    pod = await kernel_node.wait_ready()
    assert pod.status.pod_ip == "127.0.0.1"
