"""Pods nobody will finish go by themselves."""

import re

import pytest
from tests.conformance_kit import Rest, condition, pod, wait_until

from kutter.testing.clock import ShiftedClock

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def clock():
    return ShiftedClock()


@pytest.fixture
def rest(kutter_cluster_factory, clock):
    cluster = kutter_cluster_factory(nodes=1, clock=clock)
    client = cluster.kubernetes_client()
    yield Rest(client)
    client.close()


def deletions(rest):
    """How often the API was asked to delete a pod."""
    text = rest.call("GET", "/metrics").data.decode()
    pattern = r"^apiserver_request_total\{[^}]*\} (\d+)"
    found = [line for line in text.splitlines() if 'verb="DELETE"' in line and '"pods"' in line]
    return sum(int(m[1]) for line in found if (m := re.match(pattern, line)))


def test_an_unbound_pod_with_a_finalizer_is_deleted_once(rest):
    made = pod("gated", schedulingGates=[{"name": "example.com/wait"}])
    made["metadata"]["finalizers"] = ["example.com/hold"]
    rest.post(PODS, made)
    rest.delete(f"{PODS}/gated")

    def failed():
        tree = rest.get(f"{PODS}/gated")
        return tree if tree["status"].get("phase") == "Failed" else None

    lingering = wait_until(failed)
    assert lingering["metadata"]["deletionTimestamp"]
    assert lingering["metadata"]["deletionGracePeriodSeconds"] == 0
    # Changes make the collector look again; it has nothing more to ask for.
    for number in range(5):
        rest.patch(f"{PODS}/gated", {"metadata": {"labels": {"touched": str(number)}}})
    rest.post(PODS, pod("other"))
    # Before it is bound nobody would have to be asked.
    wait_until(lambda: rest.get(f"{PODS}/other")["spec"].get("nodeName"))
    rest.delete(f"{PODS}/other")
    rest.wait_gone(f"{PODS}/other")
    ours, its_node = 2, 1
    assert deletions(rest) == ours + its_node
    rest.patch(f"{PODS}/gated", {"metadata": {"finalizers": None}})
    rest.wait_gone(f"{PODS}/gated")


def test_pods_of_a_node_that_is_gone_fail_and_go(rest, clock):
    made = pod("lost")
    made["metadata"]["finalizers"] = ["example.com/hold"]
    rest.post(PODS, made)
    wait_until(lambda: rest.get(f"{PODS}/lost")["status"].get("phase") == "Running")
    rest.delete("/api/v1/nodes/sim-0")

    def failed():
        # The node has its time to come back; a change of the pod makes the collector look now.
        clock.advance(10)
        stamp = {"metadata": {"annotations": {"touched": str(clock.now())}}}
        tree = rest.patch(f"{PODS}/lost", stamp)
        return tree if tree["status"]["phase"] == "Failed" else None

    lost = condition(wait_until(failed), "DisruptionTarget")
    assert (lost["status"], lost["observedGeneration"], lost["reason"], lost["message"]) == (
        "True",
        1,
        "DeletionByPodGC",
        "PodGC: node no longer exists",
    )
    rest.patch(f"{PODS}/lost", {"metadata": {"finalizers": None}})
    rest.wait_gone(f"{PODS}/lost")
