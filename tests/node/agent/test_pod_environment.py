"""What containers find inside: files, names, namespaces, volumes of every kind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.node.agent.conftest import KernelNode, is_ready

from kutter.api.types.core_v1 import Pod
from kutter.runtime.cri import ContainerState

pytestmark = pytest.mark.root


async def test_names_hosts_and_resolver(kernel_node: KernelNode) -> None:
    await kernel_node.add_pod(
        hostname="boat",
        subdomain="sea",
        hostAliases=[{"ip": "192.0.2.7", "hostnames": ["lighthouse", "light"]}],
        dnsPolicy="None",
        dnsConfig={"nameservers": ["192.0.2.53"], "searches": ["a.example"]},
    )
    await kernel_node.wait_ready()
    assert await kernel_node.sh("hostname") == "boat"
    hosts = await kernel_node.sh("cat /etc/hosts")
    assert "127.0.0.1\tboat.sea.default.svc.cluster.local\tboat" in hosts
    assert "192.0.2.7\tlighthouse\tlight" in hosts
    resolver = await kernel_node.sh("cat /etc/resolv.conf")
    assert "nameserver 192.0.2.53" in resolver
    assert "search a.example" in resolver


async def test_memory_volume_has_its_size_and_goes_with_the_pod(kernel_node: KernelNode) -> None:
    mount = [{"name": "m", "mountPath": "/m"}]
    await kernel_node.add_pod(
        volumes=[{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}}],
        containers=[kernel_node.container(volumeMounts=mount)],
    )
    await kernel_node.wait_ready()
    assert await kernel_node.sh("stat -c %a /m") == "777"
    assert await kernel_node.sh("grep ' /m ' /proc/mounts | cut -d' ' -f3") == "tmpfs"
    full = "dd if=/dev/zero of=/m/x bs=1M count=8 2>/dev/null || echo full"
    assert await kernel_node.sh(full) == "full"
    await kernel_node.client.delete(Pod, "web", "default")
    await kernel_node.wait_gone()
    assert list((kernel_node.base / "node" / "pods").iterdir()) == []


async def test_planted_link_does_not_lead_out_of_a_volume(kernel_node: KernelNode) -> None:
    mount = {"name": "v", "mountPath": "/v"}
    plant = kernel_node.container(
        "plant", command=["ln", "-s", "/etc", "/v/evil"], volumeMounts=[mount]
    )
    victim = kernel_node.container(volumeMounts=[{**mount, "mountPath": "/x", "subPath": "evil"}])
    await kernel_node.add_pod(
        volumes=[{"name": "v", "emptyDir": {}}], initContainers=[plant], containers=[victim]
    )

    def refused(pod: Pod) -> bool:
        waiting = pod.status.container_statuses and pod.status.container_statuses[0].state.waiting
        return bool(waiting and waiting.reason == "CreateContainerConfigError")

    pod = await kernel_node.wait("web", refused)
    waiting = pod.status.container_statuses[0].state.waiting
    assert waiting is not None
    assert waiting.message == ('failed to prepare subPath for volumeMount "v" of container "app"')


async def test_containers_share_processes_when_asked(kernel_node: KernelNode) -> None:
    await kernel_node.add_pod(
        shareProcessNamespace=True,
        containers=[
            kernel_node.container(),
            kernel_node.container("other", script="sleep 4321"),
        ],
    )
    await kernel_node.wait_ready()
    assert "sleep 4321" in await kernel_node.sh("ps -o args")


async def test_sidecar_runs_beside_and_stops_last(kernel_node: KernelNode) -> None:
    shared = kernel_node.base / "shared"
    shared.mkdir(mode=0o777)
    volume = {"name": "s", "hostPath": {"path": str(shared)}}
    mount = [{"name": "s", "mountPath": "/s"}]

    def tells(name: str, **more: object) -> dict[str, object]:
        script = (
            f"trap 'echo {name} >> /s/log; exit 0' TERM; echo > /s/{name}; sleep 1000 & wait $!"
        )
        return kernel_node.container(name, command=["sh", "-c", script], volumeMounts=mount, **more)

    await kernel_node.add_pod(
        terminationGracePeriodSeconds=10,
        volumes=[volume],
        initContainers=[
            tells("first", restartPolicy="Always"),
            tells("second", restartPolicy="Always"),
        ],
        containers=[tells("app")],
    )
    await kernel_node.wait_ready()
    async with asyncio.timeout(30):
        # Running is not listening yet: a shell without its trap would end without a word.
        while not all((shared / name).exists() for name in ("first", "second", "app")):
            await asyncio.sleep(0.01)
    await kernel_node.client.delete(Pod, "web", "default")
    await kernel_node.wait_gone()
    assert (shared / "log").read_text().split() == ["app", "second", "first"]


async def test_crash_is_restarted_and_last_state_kept(kernel_node: KernelNode) -> None:
    script = "sleep 0.2; echo gone > /dev/termination-log; exit 4"
    await kernel_node.add_pod(containers=[kernel_node.container(command=["sh", "-c", script])])
    pod = await kernel_node.wait(
        "web",
        lambda p: (
            bool(p.status.container_statuses)
            and p.status.container_statuses[0].state.waiting is not None
            and p.status.container_statuses[0].state.waiting.reason == "CrashLoopBackOff"
        ),
    )
    last = pod.status.container_statuses[0].last_state.terminated
    assert last is not None
    assert (last.exit_code, last.message) == (4, "gone\n")


async def test_agent_killed_while_a_container_ended_sees_its_exit_code(
    kernel_node: KernelNode,
) -> None:
    script = "until [ -e /told/end ]; do sleep 0.05; done; exit 9"
    told = kernel_node.base / "told"
    told.mkdir()
    container = kernel_node.container(
        command=["sh", "-c", script], volumeMounts=[{"name": "told", "mountPath": "/told"}]
    )
    await kernel_node.add_pod(
        restartPolicy="Never",
        containers=[container],
        volumes=[{"name": "told", "hostPath": {"path": str(told)}}],
    )
    await kernel_node.wait("web", lambda p: p.status.phase == "Running")
    process = Path(f"/proc/{kernel_node.run_of().pid}")
    await kernel_node.kill()
    (told / "end").touch()
    async with asyncio.timeout(30):  # the container ends while nobody watches
        while process.exists():
            await asyncio.sleep(0.02)
    await kernel_node.start()
    pod = await kernel_node.wait_phase("Failed")
    ended = pod.status.container_statuses[0].state.terminated
    assert ended is not None
    assert ended.exit_code == 9


async def test_limits_change_in_place(kernel_node: KernelNode) -> None:
    sized = {"limits": {"memory": "64Mi", "cpu": "500m"}}
    await kernel_node.add_pod(containers=[kernel_node.container(resources=sized)])
    before = await kernel_node.wait_ready()
    smaller = {"memory": "96Mi", "cpu": "250m"}
    change = {"name": "app", "resources": {"limits": smaller, "requests": smaller}}
    await kernel_node.client.patch(
        Pod,
        "web",
        {"spec": {"containers": [change]}},
        "default",
        kind="strategic",
        subresource="resize",
    )
    pid = str(kernel_node.run_of().pid)
    groups = {
        controller: group
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        for _, controllers, group in [line.split(":", 2)]
        for controller in controllers.split(",")  # "cpu,cpuacct" where they are mounted together
    }
    if "cpu" in groups:
        file, wanted = Path("/sys/fs/cgroup/cpu" + groups["cpu"]) / "cpu.cfs_quota_us", "25000"
    else:
        file, wanted = Path("/sys/fs/cgroup" + groups[""]) / "cpu.max", "25000 100000"
    async with asyncio.timeout(30):
        while file.read_text().strip() != wanted:
            await asyncio.sleep(0.02)
    run = kernel_node.run_of()
    assert run.state is ContainerState.RUNNING
    assert run.id in before.status.container_statuses[0].container_id
    assert is_ready(before)


async def test_ephemeral_container_joins_a_running_pod(kernel_node: KernelNode) -> None:
    await kernel_node.add_pod(containers=[kernel_node.container(script="sleep 7654")])
    await kernel_node.wait_ready()
    debugger = {
        "name": "debug",
        "image": kernel_node.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "1000"],
        "targetContainerName": "app",
    }
    await kernel_node.client.patch(
        Pod,
        "web",
        {"spec": {"ephemeralContainers": [debugger]}},
        "default",
        kind="strategic",
        subresource="ephemeralcontainers",
    )
    pod = await kernel_node.wait(
        "web",
        lambda p: (
            bool(p.status.ephemeral_container_statuses)
            and p.status.ephemeral_container_statuses[0].state.running is not None
        ),
    )
    assert pod.status.container_statuses[0].restart_count == 0
    assert "sleep 7654" in await kernel_node.sh("ps -o args", "debug")
