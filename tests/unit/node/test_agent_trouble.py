"""What goes wrong: outages, second thoughts, force, static pods, pressure."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yaml
from tests.unit.node.conftest import NodeWorld, container_tree, pod_path

from kutter.node.eviction import Signals
from kutter.node.options import NodeOptions
from kutter.testing.fake_runtime import Behaviour


async def _delete(world: NodeWorld, grace: int | None = None, name: str = "web") -> None:
    await world.agent.client.request(
        "DELETE", pod_path(name), body={"kind": "DeleteOptions", "gracePeriodSeconds": grace}
    )


async def _until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_second_delete_shortens_the_grace(node_world: NodeWorld) -> None:
    node_world.runtime.behaviours["busybox"] = Behaviour(stop_s=1000)
    await node_world.start()
    await node_world.add_pod(terminationGracePeriodSeconds=600)
    await node_world.wait_ready()
    await _delete(node_world, 600)
    await _until(lambda: ("stop", "app") in node_world.runtime.calls)
    path, pod = pod_path("web"), node_world.pod()
    assert pod is not None
    pod["metadata"]["deletionGracePeriodSeconds"] = 1
    await node_world.api.put(path, pod)
    await node_world.api.wait_for(lambda: node_world.pod() is None)
    assert node_world.runtime.calls.count(("stop", "app")) == 2


async def test_forced_deletion_stops_what_runs(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod()
    await node_world.wait_ready()
    await node_world.api.remove(pod_path("web"))
    await _until(lambda: not node_world.agent.workers)
    assert await node_world.runtime.list_sandboxes() == []
    assert list((node_world.options.root / "pods").iterdir()) == []


async def test_room_of_a_pod_deleted_by_force_may_be_taken_at_once(node_world: NodeWorld) -> None:
    """The scheduler gave its port to another already, while it is still being stopped here."""
    node_world.runtime.behaviours["busybox"] = Behaviour(stop_s=1000)
    port = [container_tree(ports=[{"containerPort": 80, "hostPort": 80}])]
    await node_world.start()
    await node_world.add_pod(terminationGracePeriodSeconds=600, containers=port)
    await node_world.wait_ready()
    await node_world.api.remove(pod_path("web"))
    await _until(lambda: ("stop", "app") in node_world.runtime.calls)
    await node_world.add_pod("next", containers=port)
    await node_world.wait_ready("next")
    assert len(node_world.agent.workers) == 2


async def test_deletion_gives_up_a_pull(node_world: NodeWorld) -> None:
    started = asyncio.Event()

    async def endless(*_: Any) -> Any:
        started.set()
        await asyncio.Event().wait()

    node_world.images.pull = endless  # type: ignore[method-assign,assignment]
    await node_world.start()
    await node_world.add_pod(containers=[container_tree(image="remote")])
    async with asyncio.timeout(30):
        await started.wait()
    await _delete(node_world)
    await node_world.api.wait_for(lambda: node_world.pod() is None)


async def test_recreated_pod_of_the_same_name_is_another_pod(node_world: NodeWorld) -> None:
    await node_world.start()
    first = await node_world.add_pod()
    await node_world.wait_ready()
    await node_world.api.remove(pod_path("web"))
    second = await node_world.add_pod()
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    await node_world.wait_ready()
    await _until(lambda: len(node_world.agent.workers) == 1)
    sandboxes = await node_world.runtime.list_sandboxes()
    assert [s.metadata.uid for s in sandboxes] == [second["metadata"]["uid"]]


async def test_api_outage_is_waited_out(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod()
    await node_world.wait_ready()
    node_world.api.fail = "connection refused"
    node_world.runtime.exit("app", 1)
    await _until(lambda: node_world.runtime.calls.count(("start", "app")) == 2)
    node_world.api.fail = ""

    def restarted() -> bool:
        status = (node_world.pod() or {})["status"]["containerStatuses"][0]
        return status["restartCount"] == 1 and status["ready"]

    async with asyncio.timeout(30):
        while not restarted():
            await asyncio.sleep(0.01)


async def test_failing_sandbox_is_told_and_tried_again(node_world: NodeWorld) -> None:
    node_world.runtime.sandbox_error = "no address left"
    await node_world.start()
    await node_world.add_pod()
    await node_world.agent.kit.recorder.drain()
    await _until(lambda: node_world.runtime.calls.count(("run_sandbox", "web")) >= 2)
    await node_world.agent.kit.recorder.drain()
    assert ("FailedCreatePodSandBox", "Failed to create pod sandbox: no address left") in (
        node_world.events()
    )
    node_world.runtime.sandbox_error = ""
    await node_world.wait_ready()


async def test_start_error_is_told(node_world: NodeWorld) -> None:
    error = 'exec: "nope": executable file not found in $PATH'
    node_world.runtime.behaviours["busybox"] = Behaviour(start_error=error)
    await node_world.start()
    await node_world.add_pod()

    def waiting() -> dict[str, Any]:
        statuses = (node_world.pod() or {}).get("status", {}).get("containerStatuses") or [{}]
        return statuses[0].get("state", {}).get("waiting") or {}

    await node_world.api.wait_for(lambda: waiting().get("reason") == "RunContainerError")
    assert waiting()["message"] == error
    await asyncio.sleep(0.05)
    assert node_world.runtime.calls.count(("start", "app")) == 1


async def test_failing_post_start_kills_the_container(node_world: NodeWorld) -> None:
    node_world.runtime.execute = lambda _container, _command: (1, b"", b"no")
    await node_world.start()
    lifecycle = {"postStart": {"exec": {"command": ["x"]}}}
    await node_world.add_pod(containers=[container_tree(lifecycle=lifecycle)])
    await _until(lambda: ("stop", "app") in node_world.runtime.calls)
    await node_world.agent.kit.recorder.drain()
    assert ("FailedPostStartHook", "PostStartHook failed") in node_world.events()
    assert node_world.condition("web", "Ready") != "True"


async def test_active_deadline_fails_the_pod(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod(activeDeadlineSeconds=1)
    pod = await node_world.wait_phase("Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"
    assert pod["status"]["message"] == (
        "Pod was active on the node longer than the specified deadline"
    )


async def test_pressure_evicts_one_and_keeps_others_out(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod("a")
    await node_world.wait_ready("a")
    low = Signals(2**20, 2**40, 2**39, 0, 0, 10**6, 10)
    await node_world.agent.housekeeping.check_pressure(low)
    pod = await node_world.wait_phase("Failed", "a")
    assert pod["status"]["reason"] == "Evicted"
    assert pod["status"]["message"] == "The node was low on resource: memory. "
    await node_world.add_pod("b")
    pod = await node_world.wait_phase("Failed", "b")
    assert pod["status"]["message"] == "The node had condition: [MemoryPressure]. "

    def told() -> bool:
        node = node_world.api.objects["/api/v1/nodes/node-1"]
        found = {c["type"]: c["status"] for c in node["status"]["conditions"]}
        return found["MemoryPressure"] == "True"

    await node_world.api.wait_for(told)


async def test_deleted_node_object_is_made_again(node_world: NodeWorld) -> None:
    await node_world.start()
    path = "/api/v1/nodes/node-1"
    await node_world.api.remove(path)
    node_world.agent.registration.report_soon()
    await node_world.api.wait_for(lambda: path in node_world.api.objects)


async def test_static_pod_runs_is_mirrored_and_survives_the_agent(node_world: NodeWorld) -> None:
    folder = node_world.options.root.parent / "manifests"
    folder.mkdir()
    manifest = {
        "metadata": {"name": "store"},
        "spec": {"containers": [{"name": "store", "image": "sidecar", "imagePullPolicy": "Never"}]},
    }
    (folder / "store.yaml").write_text(yaml.safe_dump(manifest))
    values = {f: getattr(node_world.options, f) for f in NodeOptions.__dataclass_fields__}
    node_world.options = NodeOptions(**{**values, "manifest_folder": folder})
    node_world.agent = node_world.make_agent()
    await node_world.start()
    await node_world.wait_ready("store-node-1")
    mirror = node_world.pod("store-node-1") or {}
    assert "kubernetes.io/config.mirror" in mirror["metadata"]["annotations"]
    await node_world.restart()
    assert node_world.runtime.calls.count(("start", "store")) == 1
    assert ("stop", "store") not in node_world.runtime.calls
    (folder / "store.yaml").unlink()
    await node_world.agent.static_pods.scan()
    await _until(lambda: not node_world.agent.workers)
    assert node_world.pod("store-node-1") is None
    assert await node_world.runtime.list_sandboxes() == []


@pytest.mark.parametrize("policy", ["Always", "Never"])
async def test_token_volume_is_filled_before_the_container(
    node_world: NodeWorld, policy: str
) -> None:
    await node_world.start()
    await node_world.add_pod(
        restartPolicy=policy,
        volumes=[
            {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
        ],
        containers=[container_tree(volumeMounts=[{"name": "t", "mountPath": "/var/run/t"}])],
    )
    await node_world.wait_ready()
    container = (await node_world.runtime.list_containers())[0]
    mount = next(
        m
        for m in node_world.runtime.config(container.id).mounts
        if m.container_path == "/var/run/t"
    )
    assert (mount.host_path / "token").read_text() == "tok"


async def test_one_odd_pod_does_not_take_the_others_with_it(node_world: NodeWorld) -> None:
    await node_world.start()
    odd = container_tree(resources={"requests": {"cpu": "what"}})
    await node_world.add_pod("odd", containers=[odd])
    await node_world.add_pod("fine")
    await node_world.wait_ready("fine")
    assert node_world.task is not None
    assert not node_world.task.done()


async def test_outgrown_empty_dir_evicts(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod(
        volumes=[{"name": "v", "emptyDir": {"sizeLimit": "10Ki"}}],
        containers=[container_tree(volumeMounts=[{"name": "v", "mountPath": "/v"}])],
    )
    await node_world.wait_ready()
    worker = next(iter(node_world.agent.workers.values()))
    path = worker.work.volumes.paths["v"]
    (path / "small").write_bytes(b"x" * 1000)
    await node_world.agent.housekeeping.check_volume_sizes()
    assert not worker.terminating
    (path / "large").write_bytes(b"x" * 100_000)
    await node_world.agent.housekeeping.check_volume_sizes()
    pod = await node_world.wait_phase("Failed")
    assert pod["status"]["message"] == ('Usage of EmptyDir volume "v" exceeds the limit "10Ki". ')


async def test_dead_runs_leave_bounded_traces(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod()
    await node_world.wait_ready()
    worker = next(iter(node_world.agent.workers.values()))
    for attempt in range(1, 5):
        node_world.runtime.exit("app", 1)
        worker.delays.clear()  # as if it had run for long
        calls = node_world.runtime.calls
        await _until(lambda seen=calls, n=attempt + 1: seen.count(("start", "app")) == n)
        await _until(lambda: not worker.operations.busy())
    assert len(await node_world.runtime.list_containers()) == 2
    logs = next(iter(node_world.options.pod_log_root.iterdir())) / "app"
    assert sorted(p.name for p in logs.iterdir()) == ["3.log", "4.log"]
    messages = worker.work.folder / "containers" / "app"
    assert len(list(messages.iterdir())) == 2
