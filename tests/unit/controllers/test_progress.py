"""Conditions of a Deployment: others' are kept as they are, also when they say little."""

from datetime import UTC, datetime

from kutter.api.types.apps_v1 import DeploymentCondition
from kutter.controllers.deployment.progress import Conditions

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def test_a_foreign_condition_without_times_goes_back_without_them():
    conditions = Conditions([DeploymentCondition(type="StatusPatched", status="True")], NOW)
    conditions.set("Available", "True", "MinimumReplicasAvailable", "yes")
    foreign, available = conditions.trees()
    assert foreign == {"type": "StatusPatched", "status": "True"}
    assert available["lastTransitionTime"] == "2026-01-01T12:00:00Z"


def test_an_own_condition_that_lost_its_time_gets_one():
    conditions = Conditions([DeploymentCondition(type="Available", status="True")], NOW)
    conditions.set("Available", "True", "MinimumReplicasAvailable", "yes")
    assert conditions.trees()[0]["lastTransitionTime"] == "2026-01-01T12:00:00Z"
