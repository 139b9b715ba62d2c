"""A node falls silent: it becomes unknown, is tainted, its pods go, and it may come back."""

import time
from datetime import UTC, datetime

import pytest
from kubernetes import client as k8s

from kutter.testing.clock import ShiftedClock


def wait_until(check, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {check.__name__}"
        time.sleep(0.01)


@pytest.fixture
def clock():
    return ShiftedClock()


@pytest.fixture
def cluster(kutter_cluster_factory, clock):
    return kutter_cluster_factory(nodes=2, clock=clock)


@pytest.fixture
def api(cluster):
    client = cluster.kubernetes_client()
    yield client
    client.close()


def renew(api, clock, name):
    now = clock.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    k8s.CoordinationV1Api(api).patch_namespaced_lease(
        name, "kube-node-lease", {"spec": {"renewTime": now}}
    )


def touch(core, name):
    """Any change of the node makes the controller look at it now, not when its timer fires."""
    core.patch_node(name, {"metadata": {"annotations": {"touched": str(time.monotonic())}}})


def taints(core, name):
    return {(t.key, t.effect) for t in core.read_node(name).spec.taints or []}


def ready(core, name):
    conditions = core.read_node(name).status.conditions or []
    return next((c.status for c in conditions if c.type == "Ready"), None)


def test_a_silent_node_loses_its_pods_and_may_come_back(cluster, api, core, clock):
    wait_until(lambda: len(core.list_node().items) == 2 and ready(core, "sim-0") == "True")
    core.create_namespaced_pod(
        "default",
        {
            "metadata": {"name": "p"},
            "spec": {"nodeName": "sim-0", "containers": [{"name": "c", "image": "x"}]},
        },
    )
    wait_until(lambda: core.read_namespaced_pod("p", "default").status.phase == "Running")
    cluster.simulated.silence("sim-0")

    clock.advance(61)
    renew(api, clock, "sim-1")
    touch(core, "sim-0")
    wait_until(lambda: ready(core, "sim-0") == "Unknown")
    unreachable = "node.kubernetes.io/unreachable"
    wait_until(
        lambda: taints(core, "sim-0") == {(unreachable, "NoSchedule"), (unreachable, "NoExecute")}
    )
    assert ready(core, "sim-1") == "True"
    assert taints(core, "sim-1") == set()

    def not_ready():
        conditions = core.read_namespaced_pod("p", "default").status.conditions
        return next(c.status for c in conditions if c.type == "Ready") == "False"

    wait_until(not_ready)

    # The pod tolerates this for five minutes, then it has to go.
    pod = core.read_namespaced_pod("p", "default")
    tolerated = {
        (t.key, t.effect, t.toleration_seconds)
        for t in pod.spec.tolerations
        if t.key == unreachable
    }
    assert tolerated == {(unreachable, "NoExecute", 300)}
    clock.advance(301)
    renew(api, clock, "sim-1")
    core.patch_namespaced_pod("p", "default", {"metadata": {"labels": {"touched": "yes"}}})
    going = wait_until(
        lambda: (p := core.read_namespaced_pod("p", "default")).metadata.deletion_timestamp and p
    )
    assert any(
        (c.type, c.reason, c.observed_generation)
        == ("DisruptionTarget", "DeletionByTaintManager", 1)
        for c in going.status.conditions
    )

    # It comes back: its agent says so, the taints go, the pod is let go by its node.
    cluster.simulated.wake("sim-0")
    renew(api, clock, "sim-0")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    healthy = {"type": "Ready", "status": "True", "reason": "Back", "lastTransitionTime": now}
    core.patch_node_status("sim-0", {"status": {"conditions": [healthy]}})
    wait_until(lambda: taints(core, "sim-0") == set())


def test_when_every_node_is_silent_nothing_is_marked_for_eviction(cluster, core, clock):
    wait_until(lambda: ready(core, "sim-0") == "True" and ready(core, "sim-1") == "True")
    for name in ("sim-0", "sim-1"):
        cluster.simulated.silence(name)
    clock.advance(61)
    for name in ("sim-0", "sim-1"):
        touch(core, name)
    wait_until(lambda: ready(core, "sim-0") == ready(core, "sim-1") == "Unknown")
    # Both down: whichever was seen first may have been marked while the other still looked up.
    wait_until(lambda: all(taints(core, n) for n in ("sim-0", "sim-1")))
    assert ("node.kubernetes.io/unreachable", "NoExecute") not in taints(core, "sim-1")


def test_cordon_and_pressure_become_taints(api, core):
    wait_until(lambda: ready(core, "sim-0") == "True")
    core.patch_node("sim-0", {"spec": {"unschedulable": True}})
    wait_until(lambda: ("node.kubernetes.io/unschedulable", "NoSchedule") in taints(core, "sim-0"))
    core.patch_node("sim-0", {"spec": {"unschedulable": None}})
    wait_until(lambda: taints(core, "sim-0") == set())
    pressure = {"type": "MemoryPressure", "status": "True", "reason": "x"}
    core.patch_node_status("sim-0", {"status": {"conditions": [pressure]}})
    wait_until(
        lambda: taints(core, "sim-0") == {("node.kubernetes.io/memory-pressure", "NoSchedule")}
    )


def test_pods_of_a_node_that_is_gone_are_collected(cluster, core, clock):
    wait_until(lambda: ready(core, "sim-0") == "True")
    core.create_namespaced_pod(
        "default",
        {
            "metadata": {"name": "p"},
            "spec": {"nodeName": "sim-0", "containers": [{"name": "c", "image": "x"}]},
        },
    )
    wait_until(lambda: core.read_namespaced_pod("p", "default").status.phase == "Running")
    cluster.simulated.silence("sim-0")
    core.delete_node("sim-0")

    def collected():
        # The collector counts from when it first looks, which is when the pod changes.
        try:
            labels = {"touched": str(time.monotonic())}
            core.patch_namespaced_pod("p", "default", {"metadata": {"labels": labels}})
        except k8s.ApiException as error:
            return error.status == 404
        clock.advance(41)
        return False

    wait_until(collected)


@pytest.fixture
def core(api):
    return k8s.CoreV1Api(api)
