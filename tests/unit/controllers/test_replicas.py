"""ReplicaSet arithmetic: counts add up, the right pods go, a satisfied set is left alone."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Pod
from kutter.controllers.replicas import plan

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def pod(name, *, phase="Running", ready=True, node="n", since="2026-01-01T11:00:00Z", **meta):
    conditions = [
        {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}
    ]
    return convert(
        Pod,
        {
            "metadata": {"name": name, "uid": name, "labels": {"app": "web"}, **meta},
            "spec": {"nodeName": node},
            "status": {"phase": phase, "conditions": conditions},
        },
    )


def decide(replicas, pods, *, min_ready_s=0, may_change=True, peers=None):
    return plan(
        replicas=replicas,
        min_ready_s=min_ready_s,
        template_labels={"app": "web"},
        pods=pods,
        peers_on_node=peers or {},
        may_change=may_change,
        generation=3,
        now=NOW,
    )


def names(pods):
    return [p.metadata.name for p in pods]


def test_missing_pods_are_created_and_finished_ones_do_not_count():
    made = decide(3, [pod("a"), pod("b", phase="Failed"), pod("c", phase="Succeeded")])
    assert made.create == 2
    assert made.delete == []


def test_the_least_useful_pods_are_deleted_first():
    pods = [
        pod("ready-old"),
        pod("ready-new", since="2026-01-01T11:59:00Z"),
        pod("not-ready", ready=False),
        pod("pending", phase="Pending", ready=False),
        pod("unassigned", phase="Pending", ready=False, node=""),
    ]
    order = names(decide(0, pods).delete)
    assert order == ["unassigned", "pending", "not-ready", "ready-new", "ready-old"]


def test_deletion_cost_and_crowded_nodes_decide_between_equals():
    cheap = pod("cheap", annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"})
    assert names(decide(1, [pod("a"), cheap]).delete) == ["cheap"]
    crowded = pod("crowded", node="busy")
    assert names(decide(1, [pod("a"), crowded], peers={"busy": 4, "n": 1}).delete) == ["crowded"]


def test_nothing_changes_while_earlier_requests_are_unseen():
    blocked = decide(5, [pod("a")], may_change=False)
    assert (blocked.create, blocked.delete) == (0, [])
    assert blocked.status["replicas"] == 1


def test_available_waits_for_min_ready_seconds():
    young = decide(1, [pod("a", since="2026-01-01T11:59:50Z")], min_ready_s=30)
    assert young.status["readyReplicas"] == 1
    assert young.status["availableReplicas"] == 0
    assert young.requeue_after_s == 20


@given(
    st.integers(0, 20),
    st.lists(
        st.tuples(
            st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=25,
    ),
)
def test_counts_add_up(replicas, shapes):
    """Property: existing active pods, plus created, minus deleted, are the wanted number."""
    pods = []
    for index, (phase, ready, going) in enumerate(shapes):
        meta = {"deletionTimestamp": "2026-01-01T11:00:00Z"} if going else {}
        pods.append(pod(f"p{index}", phase=phase, ready=ready, **meta))
    active = [
        p
        for p in pods
        if p.status.phase not in ("Succeeded", "Failed") and not p.metadata.deletion_timestamp
    ]
    decision = decide(replicas, pods)
    assert len(active) + decision.create - len(decision.delete) == replicas
    assert not (decision.create and decision.delete)
    assert all(p in active for p in decision.delete)
    status = decision.status
    assert status["replicas"] == len(active)
    assert status["availableReplicas"] <= status["readyReplicas"] <= status["replicas"]
