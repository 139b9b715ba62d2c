"""Whole pod lives over the fake runtime: what users see in the API."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.node.conftest import NodeWorld, container_tree, pod_path

from kutter.testing.fake_runtime import Behaviour


async def test_pod_becomes_ready_with_address_and_events(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod()
    pod = await node_world.wait_ready()
    status = pod["status"]
    assert status["phase"] == "Running"
    assert status["podIP"].startswith("10.42.0.")
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["hostIP"] == "192.0.2.1"
    assert status["qosClass"] == "BestEffort"
    container = status["containerStatuses"][0]
    assert container["ready"]
    assert container["started"]
    assert container["containerID"].startswith("kutter://")
    assert container["restartCount"] == 0
    await node_world.agent.kit.recorder.drain()
    assert [reason for reason, _ in node_world.events()] == ["Pulled", "Created", "Started"]


async def test_node_object_and_lease_are_made(node_world: NodeWorld) -> None:
    await node_world.start()
    node = node_world.api.objects["/api/v1/nodes/node-1"]
    ready = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "KubeletReady")
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "node-1"
    lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-1"
    await node_world.api.wait_for(lambda: lease in node_world.api.objects)
    assert node_world.api.objects[lease]["spec"]["leaseDurationSeconds"] == 40


async def test_deleted_pod_is_stopped_and_let_go(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod()
    await node_world.wait_ready()
    await node_world.agent.client.request("DELETE", pod_path("web"), body={"kind": "DeleteOptions"})
    await node_world.api.wait_for(lambda: node_world.pod() is None)
    await node_world.api.wait_for(lambda: not node_world.agent.workers or node_world.pod() is None)
    assert ("stop", "app") in node_world.runtime.calls
    assert node_world.cgroups.groups == {}


async def test_never_restarted_pod_succeeds_and_keeps_its_container(node_world: NodeWorld) -> None:
    node_world.runtime.behaviours["busybox"] = Behaviour(exit_codes=(0,))
    await node_world.start()
    await node_world.add_pod(restartPolicy="Never")
    pod = await node_world.wait_phase("Succeeded")
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
    assert len(await node_world.runtime.list_containers()) == 1
    assert node_world.condition("web", "Ready") == "False"


async def test_crash_loop_is_told(node_world: NodeWorld) -> None:
    node_world.runtime.behaviours["busybox"] = Behaviour(exit_codes=(1,))
    await node_world.start()
    await node_world.add_pod()

    def waiting() -> dict[str, Any] | None:
        statuses = (node_world.pod() or {}).get("status", {}).get("containerStatuses") or [{}]
        return statuses[0].get("state", {}).get("waiting")

    await node_world.api.wait_for(lambda: (waiting() or {}).get("reason") == "CrashLoopBackOff")
    message = (waiting() or {})["message"]
    assert message.startswith("back-off 10s restarting failed container=app pod=web_default(")
    status = (node_world.pod() or {})["status"]["containerStatuses"][0]
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 1


async def test_init_containers_run_in_order_before_the_others(node_world: NodeWorld) -> None:
    node_world.runtime.behaviours["sidecar"] = Behaviour(exit_codes=(0,))
    await node_world.start()
    await node_world.add_pod(
        initContainers=[container_tree("first", "sidecar"), container_tree("second", "sidecar")]
    )
    await node_world.wait_ready()
    started = [name for call, name in node_world.runtime.calls if call == "start"]
    assert started == ["first", "second", "app"]
    assert node_world.condition("web", "Initialized") == "True"


async def test_sidecar_outlives_the_containers_of_a_job(node_world: NodeWorld) -> None:
    node_world.runtime.behaviours["busybox"] = Behaviour(exit_codes=(0,), runs_s=0.05)
    await node_world.start()
    await node_world.add_pod(
        restartPolicy="Never",
        initContainers=[container_tree("side", "sidecar", restartPolicy="Always")],
    )
    pod = await node_world.wait_phase("Succeeded")
    side = pod["status"]["initContainerStatuses"][0]
    assert "terminated" in side["state"]
    calls = [c for c in node_world.runtime.calls if c[0] in ("start", "stop")]
    assert calls == [("start", "side"), ("start", "app"), ("stop", "side")]


async def test_missing_image_waits_with_back_off(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod(containers=[container_tree(image="nowhere")])

    def reason() -> str:
        statuses = (node_world.pod() or {}).get("status", {}).get("containerStatuses") or [{}]
        return statuses[0].get("state", {}).get("waiting", {}).get("reason", "")

    await node_world.api.wait_for(lambda: reason() == "ErrImagePull")
    await node_world.api.wait_for(lambda: reason() == "ImagePullBackOff")
    assert node_world.images.pulls == [("nowhere", None)]


async def test_missing_config_map_holds_the_container_until_it_comes(node_world: NodeWorld) -> None:
    await node_world.start()
    reference = {"configMapKeyRef": {"name": "settings", "key": "mode"}}
    await node_world.add_pod(
        containers=[container_tree(env=[{"name": "MODE", "valueFrom": reference}])]
    )

    def waiting() -> dict[str, Any]:
        statuses = (node_world.pod() or {}).get("status", {}).get("containerStatuses") or [{}]
        return statuses[0].get("state", {}).get("waiting") or {}

    await node_world.api.wait_for(lambda: waiting().get("reason") == "CreateContainerConfigError")
    assert waiting()["message"] == 'configmap "settings" not found'
    await node_world.api.put(
        "/api/v1/namespaces/default/configmaps/settings",
        {"kind": "ConfigMap", "metadata": {"namespace": "default"}, "data": {"mode": "fast"}},
    )
    await node_world.wait_ready()
    container = (await node_world.runtime.list_containers())[0]
    assert ("MODE", "fast") in node_world.runtime.config(container.id).envs


async def test_restarted_agent_adopts_and_restarts_nothing(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod()
    await node_world.wait_ready()
    before = list(node_world.runtime.calls)
    await node_world.restart()
    worker = next(iter(node_world.agent.workers.values()))
    await worker.wait_prepared()
    assert node_world.runtime.calls == before
    assert node_world.condition("web", "Ready") == "True"


async def test_pod_deleted_while_the_agent_was_away_is_removed(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod()
    await node_world.wait_ready()
    await node_world.kill()
    await node_world.api.remove(pod_path("web"))
    node_world.agent = node_world.make_agent()
    await node_world.start()
    assert await node_world.runtime.list_sandboxes() == []
    assert list((node_world.options.root / "pods").iterdir()) == []


async def test_dead_sandbox_is_made_again(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod()
    pod = await node_world.wait_ready()
    sandbox = (await node_world.runtime.list_sandboxes())[0]
    node_world.runtime.kill_sandbox(sandbox.id)

    def moved() -> bool:
        status = (node_world.pod() or {})["status"]
        again = status["podIP"] != pod["status"]["podIP"]
        return again and node_world.condition("web", "Ready") == "True"

    await node_world.api.wait_for(moved)
    status = (node_world.pod() or {})["status"]
    assert status["containerStatuses"][0]["restartCount"] == 1


@pytest.mark.parametrize(("field", "value"), [("cpu", "100000"), ("memory", "100Ti")])
async def test_pod_that_does_not_fit_fails(node_world: NodeWorld, field: str, value: str) -> None:
    await node_world.start()
    needs = {"requests": {field: value}}
    await node_world.add_pod(containers=[container_tree(resources=needs)])
    pod = await node_world.wait_phase("Failed")
    assert pod["status"]["reason"] == f"OutOf{field}"
    assert pod["status"]["message"].startswith(
        f"Node didn't have enough resource: {field}, requested:"
    )


async def test_labels_the_node_got_meanwhile_count(node_world: NodeWorld) -> None:
    """The scheduler sees a new label first; the agent looks before it refuses a pod for good."""
    await node_world.start()
    await node_world.add_pod("early", nodeSelector={"zone": "b"})
    pod = await node_world.wait_phase("Failed", "early")
    assert pod["status"]["reason"] == "NodeAffinity"
    path = "/api/v1/nodes/node-1"
    node = node_world.api.objects[path]
    labels = {**node["metadata"]["labels"], "zone": "b"}
    await node_world.api.put(path, {**node, "metadata": {**node["metadata"], "labels": labels}})
    await node_world.add_pod("late", nodeSelector={"zone": "b"})
    await node_world.wait_ready("late")
