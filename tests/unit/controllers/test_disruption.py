"""Disruption budgets: what may be missing, and evictions that are not yet seen to have gone."""

from datetime import UTC, datetime

import pytest

from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Pod
from kutter.api.types.policy_v1 import PodDisruptionBudget
from kutter.controllers.disruption import Expectation, expect, plan

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def budget(status=None, **spec):
    meta = {"name": "b", "namespace": "n", "generation": 3}
    return convert(PodDisruptionBudget, {"metadata": meta, "spec": spec, "status": status or {}})


def pod(name, *, ready=True, **meta):
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return convert(
        Pod,
        {
            "metadata": {"name": name, "namespace": "n", **meta},
            "status": {"phase": "Running", "conditions": conditions},
        },
    )


@pytest.mark.parametrize(
    ("spec", "pods", "healthy"),
    [
        ({"maxUnavailable": 1}, 7, 6),
        ({"maxUnavailable": "30%"}, 7, 4),  # 2.1 may be missing, rounded up to 3
        ({"maxUnavailable": 9}, 7, 0),
        ({"minAvailable": "50%"}, 7, 4),  # 3.5 rounded up
        ({"minAvailable": 2}, 5, 2),
        ({}, 0, 0),
    ],
)
def test_what_a_budget_insists_on(spec, pods, healthy):
    assert expect(budget(**spec), 5, 7) == Expectation(pods, healthy)


def test_only_ready_pods_that_stay_are_healthy():
    pods = [
        pod("a"),
        pod("b"),
        pod("unready", ready=False),
        pod("going", deletionTimestamp="2026-01-01T11:59:00Z"),
    ]
    status = plan(budget(), pods, Expectation(4, 1), NOW).status
    assert (status["currentHealthy"], status["disruptionsAllowed"]) == (2, 1)
    assert status["observedGeneration"] == 3
    assert [(c["type"], c["status"], c["reason"]) for c in status["conditions"]] == [
        ("DisruptionAllowed", "True", "SufficientPods")
    ]


def test_an_evicted_pod_does_not_count_until_its_time_is_over():
    evicted = {
        "fresh": "2026-01-01T11:59:00Z",
        "stuck": "2026-01-01T11:50:00Z",
        "gone": "2026-01-01T11:59:30Z",
    }
    planned = plan(
        budget({"disruptedPods": evicted}),
        [pod("fresh"), pod("stuck"), pod("other")],
        Expectation(3, 2),
        NOW,
    )
    assert planned.status["currentHealthy"] == 2
    assert planned.status["disruptionsAllowed"] == 0
    assert planned.status["disruptedPods"] == {
        "fresh": "2026-01-01T11:59:00Z",
        "stuck": None,
        "gone": None,
    }
    assert planned.requeue_after_s == 60
    assert [p.metadata.name for p in planned.overdue] == ["stuck"]


def test_a_budget_over_no_pods_allows_nothing():
    status = plan(budget(), [], Expectation(0, 0), NOW).status
    assert status["disruptionsAllowed"] == 0
    assert status["conditions"][0]["reason"] == "InsufficientPods"


def test_conditions_of_others_and_the_time_of_no_change_are_kept():
    old = [
        {"type": "StatusUpdate", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {
            "type": "DisruptionAllowed",
            "status": "True",
            "reason": "SufficientPods",
            "lastTransitionTime": "2026-01-01T01:00:00Z",
        },
    ]
    status = plan(budget({"conditions": old}), [pod("a")], Expectation(1, 0), NOW).status
    assert [c["type"] for c in status["conditions"]] == ["StatusUpdate", "DisruptionAllowed"]
    assert status["conditions"][1]["lastTransitionTime"] == "2026-01-01T01:00:00Z"
