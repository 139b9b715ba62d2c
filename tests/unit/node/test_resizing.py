"""Resizes in place: granted, deferred, refused by use, carried on after a restart of the agent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.node.conftest import NodeWorld, container_tree, pod_path
from tests.unit.node.test_plan import EXITED, RUNNING, facts, pod, run

from kutter.node.facts import REPLACE_QUIET_S
from kutter.node.plan import KillContainer, StartContainer, plan_pod
from kutter.node.resources import cpu_shares
from kutter.node.status import compute_status
from kutter.runtime.cri import Container, ContainerStats

Tree = dict[str, Any]

_MIB = 1 << 20


def sized(cpu: str, memory: str = "64Mi", **more: Any) -> Tree:
    amounts = {"cpu": cpu, "memory": memory}
    return container_tree(resources={"requests": amounts, "limits": amounts}, **more)


async def resize(world: NodeWorld, container: Tree, name: str = "web") -> None:
    tree = world.pod(name)
    assert tree is not None
    meta = {**tree["metadata"], "generation": tree["metadata"].get("generation", 1) + 1}
    spec = {**tree["spec"], "containers": [container]}
    await world.api.put(pod_path(name), {**tree, "metadata": meta, "spec": spec})


def told(world: NodeWorld, name: str = "web") -> Tree:
    tree = world.pod(name)
    assert tree is not None
    found: Tree = tree["status"]["containerStatuses"][0]
    return found


def resize_conditions(world: NodeWorld, name: str = "web") -> dict[str, tuple[Any, ...]]:
    conditions = (world.pod(name) or {}).get("status", {}).get("conditions", [])
    return {
        c["type"].removeprefix("PodResize"): (c.get("reason", ""), c.get("message", ""))
        for c in conditions
        if c["type"].startswith("PodResize")
    }


def running(world: NodeWorld, name: str = "web") -> Container:
    uid = (world.pod(name) or {})["metadata"]["uid"]
    return world.agent.view.containers(uid)["app"][0]


async def wait_sized(world: NodeWorld, cpu: str, name: str = "web") -> None:
    def settled() -> bool:
        status = told(world, name)
        return (
            status["resources"]["requests"]["cpu"] == cpu
            and status["allocatedResources"]["cpu"] == cpu
            and not resize_conditions(world, name)
            and world.condition(name, "Ready") == "True"
        )

    await world.api.wait_for(settled)


async def test_a_running_container_is_resized(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod(containers=[sized("100m")])
    await node_world.wait_ready()
    before = running(node_world)
    await resize(node_world, sized("200m"))
    await wait_sized(node_world, "200m")
    after = running(node_world)
    assert after.id == before.id
    assert (after.resources.cpu_shares, after.resources.cpu_quota_us) == (cpu_shares(200), 20_000)
    groups = [g for path, g in node_world.cgroups.groups.items() if "/pod" in path]
    assert [group.cpu_quota_us for group in groups] == [20_000]
    await node_world.api.wait_for(
        lambda: {r for r, _ in node_world.events()} >= {"ResizeStarted", "ResizeCompleted"}
    )
    texts = dict(node_world.events())
    assert texts["ResizeStarted"] == (
        'Pod resize started: {"containers":[{"name":"app","resources":{"limits":{"cpu":"200m",'
        '"memory":"64Mi"},"requests":{"cpu":"200m","memory":"64Mi"}}}],"generation":2}'
    )


async def test_a_container_is_made_anew_where_it_wants_that(node_world: NodeWorld) -> None:
    """Also one that ends well on TERM, and without a back-off; it is shown ready all the while."""
    await node_world.start()
    policy = [
        {"resourceName": "cpu", "restartPolicy": "RestartContainer"},
        {"resourceName": "memory", "restartPolicy": "NotRequired"},
    ]
    container = sized("100m", resizePolicy=policy)
    await node_world.add_pod(containers=[container], restartPolicy="OnFailure")
    await node_world.wait_ready()
    mark = len(node_world.api.log)
    await resize(node_world, sized("200m", resizePolicy=policy))
    await wait_sized(node_world, "200m")
    await node_world.api.wait_for(lambda: told(node_world)["restartCount"] == 1)
    assert running(node_world).metadata.attempt == 1
    shown = [t for _, path, t in node_world.api.log[mark:] if path == pod_path("web")]
    ready = [c["status"] for t in shown for c in t["status"]["conditions"] if c["type"] == "Ready"]
    assert set(ready) == {"True"}
    kills = [message for reason, message in node_world.events() if reason == "Killing"]
    assert kills == ["Container app resize requires restart"]
    # Memory may change where it runs.
    await resize(node_world, sized("200m", "96Mi", resizePolicy=policy))
    await node_world.api.wait_for(
        lambda: running(node_world).resources.memory_limit_bytes == 96 * _MIB
    )
    assert running(node_world).metadata.attempt == 1


async def test_what_does_not_fit_waits_until_it_does(node_world: NodeWorld) -> None:
    node_world.options = replace(node_world.options, maximum_pods=10)
    node_world.agent = node_world.make_agent()
    await node_world.start()
    room = int(node_world.agent.kit.allocatable["cpu"] * 1000)
    await node_world.add_pod("big", containers=[sized(f"{room - 200}m")])
    await node_world.add_pod("web", containers=[sized("100m")])
    await node_world.wait_ready("big")
    await node_world.wait_ready("web")
    await resize(node_world, sized("300m"))
    await node_world.api.wait_for(lambda: "Pending" in resize_conditions(node_world))
    reason, message = resize_conditions(node_world)["Pending"]
    assert reason == "Deferred"
    assert message == (
        f"Node didn't have enough resource: cpu, requested: 300, used: {room - 200}, "
        f"capacity: {room}"
    )
    assert told(node_world)["allocatedResources"]["cpu"] == "100m"
    assert running(node_world).resources.cpu_shares == cpu_shares(100)
    # A new agent still knows what was granted and what was not.
    await node_world.restart()
    assert running(node_world).resources.cpu_shares == cpu_shares(100)
    assert "Pending" in resize_conditions(node_world)
    await node_world.api.remove(pod_path("big"))
    await wait_sized(node_world, "300m")
    assert running(node_world).resources.cpu_shares == cpu_shares(300)


async def test_a_deferred_resize_is_forgotten_with_its_wish(node_world: NodeWorld) -> None:
    await node_world.start()
    room = int(node_world.agent.kit.allocatable["cpu"] * 1000)
    await node_world.add_pod("big", containers=[sized(f"{room - 200}m")])
    await node_world.add_pod("web", containers=[sized("100m")])
    await node_world.wait_ready("web")
    await node_world.wait_ready("big")
    await resize(node_world, sized("300m"))
    await node_world.api.wait_for(lambda: "Pending" in resize_conditions(node_world))
    await resize(node_world, sized("100m"))
    await wait_sized(node_world, "100m")


async def test_memory_in_use_is_not_taken_away(
    node_world: NodeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = 48 * _MIB

    async def stats(container_id: str) -> ContainerStats:
        return ContainerStats(container_id, "app", 0, 0, used, used)

    monkeypatch.setattr(node_world.runtime, "container_stats", stats)
    monkeypatch.setattr("kutter.node.resizing.RETRY_S", 0.05)
    await node_world.start()
    await node_world.add_pod(containers=[sized("100m", "64Mi")])
    await node_world.wait_ready()
    await resize(node_world, sized("100m", "32Mi"))
    await node_world.api.wait_for(
        lambda: resize_conditions(node_world).get("InProgress", ("",))[0] == "Error"
    )
    assert "below current usage" in resize_conditions(node_world)["InProgress"][1]
    assert told(node_world)["resources"]["limits"]["memory"] == "64Mi"
    assert told(node_world)["allocatedResources"]["memory"] == "32Mi"
    used = 16 * _MIB
    await node_world.api.wait_for(lambda: not resize_conditions(node_world))
    assert running(node_world).resources.memory_limit_bytes == 32 * _MIB


async def test_a_resize_goes_on_under_the_next_agent(node_world: NodeWorld) -> None:
    await node_world.start()
    await node_world.add_pod(containers=[sized("100m")])
    await node_world.wait_ready()
    await node_world.kill()
    await resize(node_world, sized("200m"))
    node_world.agent = node_world.make_agent()
    await node_world.start()
    await wait_sized(node_world, "200m")
    assert running(node_world).resources.cpu_shares == cpu_shares(200)


def test_a_run_stopped_to_be_made_anew_is_followed_by_another() -> None:
    """Whatever it ended with, at once, and a pod that never restarts has not ended."""
    one = pod(restartPolicy="Never", containers=[sized("100m")])
    changed = facts(one, run(state=RUNNING), resize_restarts=frozenset({"app"}))
    (kill,) = plan_pod(changed).steps
    assert isinstance(kill, KillContainer)
    assert kill.replace
    stopped = facts(one, run(state=EXITED), replaced={"app-0": changed.now})
    plan = plan_pod(stopped)
    assert plan.steps == (StartContainer("app", 1),)
    # Whose successor is long in coming (a pull) is looked at when something changes, not all the time.
    since = {"app-0": changed.now - REPLACE_QUIET_S}
    late = facts(one, run(state=EXITED), replaced=since, images={}, busy=frozenset({"image/app"}))
    assert (plan_pod(late).steps, plan_pod(late).requeue_at) == ((), 0.0)
    assert compute_status(stopped, plan)["phase"] == "Running"
    assert plan_pod(facts(one, run(state=EXITED))).ended
