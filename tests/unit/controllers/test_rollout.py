"""Sizes of ReplicaSets in a rollout: the promises hold at every step, and the rollout ends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.api.types.apps_v1 import Deployment, ReplicaSet
from kutter.api.types.base import convert
from kutter.controllers.deployment import rollout


def deployment(replicas, surge="25%", unavailable="25%", kind="RollingUpdate"):
    strategy = {"type": kind}
    if kind == "RollingUpdate":
        strategy["rollingUpdate"] = {"maxSurge": surge, "maxUnavailable": unavailable}
    return convert(
        Deployment,
        {"metadata": {"name": "d"}, "spec": {"replicas": replicas, "strategy": strategy}},
    )


def replica_set(name, size, available=0, created=0, desired=None, largest=None):
    notes = {}
    if desired is not None:
        notes["deployment.kubernetes.io/desired-replicas"] = str(desired)
    if largest is not None:
        notes["deployment.kubernetes.io/max-replicas"] = str(largest)
    return convert(
        ReplicaSet,
        {
            "metadata": {
                "name": name,
                "uid": name,
                "creationTimestamp": f"2026-01-01T00:00:{created:02}Z",
                "annotations": notes,
            },
            "spec": {"replicas": size},
            "status": {"replicas": size, "availableReplicas": available},
        },
    )


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "wanted"),
    [
        (4, "25%", "25%", (1, 1)),
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (3, 0, "1%", (0, 1)),
        (2, 1, 0, (1, 0)),
        (2, 0, 5, (0, 2)),
    ],
)
def test_limits_round_surge_up_and_unavailable_down(replicas, surge, unavailable, wanted):
    limits = rollout.limits_of(deployment(replicas, surge, unavailable))
    assert (limits.surge, limits.unavailable) == wanted


def test_unhealthy_old_pods_go_first():
    d = deployment(4, 1, 1)
    new = replica_set("new", 1, available=0, created=9)
    sick, well = replica_set("sick", 2, available=0), replica_set("well", 2, available=2, created=1)
    plan = rollout.plan_old_sets(d, new, [sick, well])
    assert [(s.replica_set.metadata.name, s.replicas) for s in plan] == [("sick", 1)]


def test_scaling_in_the_middle_is_spread_in_proportion():
    d = deployment(20, 0, 5)
    new = replica_set("new", 5, 5, 9, desired=10, largest=10)
    old = replica_set("old", 5, 5, 1, desired=10, largest=10)
    plan = {s.replica_set.metadata.name: s.replicas for s in rollout.plan_scaling(d, new, [old])}
    assert plan == {"new": 10, "old": 10}


def test_a_single_set_takes_the_whole_change():
    d = deployment(7)
    only = replica_set("only", 3, 3, desired=3)
    plan = rollout.plan_scaling(d, only, [])
    assert [(s.replica_set.metadata.name, s.replicas) for s in plan] == [("only", 7)]


def test_recreate_has_no_surge():
    assert rollout.limits_of(deployment(5, kind="Recreate")) == rollout.Limits(0, 0)


@settings(max_examples=150, deadline=None)
@given(
    replicas=st.integers(1, 30),
    surge=st.integers(0, 10),
    unavailable=st.integers(0, 10),
    order=st.randoms(use_true_random=False),
)
def test_a_rollout_keeps_its_promises_and_ends(replicas, surge, unavailable, order):
    """Property: pods ≤ replicas + surge, available ≥ replicas - unavailable, and it finishes."""
    d = deployment(replicas, surge, unavailable)
    limits = rollout.limits_of(d)
    sizes = {"new": 0, "old": replicas}
    available = {"new": 0, "old": replicas}
    for _ in range(10 * replicas + 20):
        new = replica_set("new", sizes["new"], available["new"], 9)
        old = replica_set("old", sizes["old"], available["old"], 1)
        size = rollout.new_set_size(d, new, [old])
        if size != sizes["new"]:
            sizes["new"] = size
        else:
            for scale in rollout.plan_old_sets(d, new, [old]):
                sizes["old"] = scale.replicas
        assert sizes["new"] + sizes["old"] <= replicas + limits.surge
        # Pods that are no longer wanted go; some of those started become available.
        available["old"] = min(available["old"], sizes["old"])
        if sizes["new"] > available["new"]:
            available["new"] += order.randint(0, sizes["new"] - available["new"])
        assert available["new"] + available["old"] >= replicas - limits.unavailable
        if sizes == {"new": replicas, "old": 0} and available["new"] == replicas:
            return
        if order.random() < 0.3:
            available["new"] = sizes["new"]
    raise AssertionError(f"the rollout did not end: {sizes} {available}")
