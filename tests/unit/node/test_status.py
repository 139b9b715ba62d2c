"""The status of a pod from facts: phases, states, conditions, patches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.node.conftest import container_tree, pod_tree
from tests.unit.node.test_plan import CREATED, EXITED, NOW, RUNNING, facts, pod, run

from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Pod
from kutter.node.facts import ProbeFacts, Problem, Termination
from kutter.node.plan import Plan, plan_pod
from kutter.node.status import compute_phase, compute_status
from kutter.node.status_writer import compute_patch
from kutter.runtime.cri import Container, LinuxUser


@pytest.mark.parametrize(
    ("policy", "runs", "phase"),
    [
        ("Always", [], "Pending"),
        ("Always", [run(state=CREATED)], "Pending"),
        ("Always", [run()], "Running"),
        ("Always", [run(state=EXITED, code=1)], "Running"),
        ("OnFailure", [run(state=EXITED, code=1)], "Running"),
        ("OnFailure", [run(state=EXITED)], "Succeeded"),
        ("Never", [run(state=EXITED)], "Succeeded"),
        ("Never", [run(state=EXITED, code=2)], "Failed"),
    ],
)
def test_phase(policy: str, runs: list[Container], phase: str) -> None:
    assert compute_phase(facts(pod(restartPolicy=policy), *runs)) == phase


def test_mixed_ends_fail_and_terminal_phases_stay() -> None:
    two = pod(restartPolicy="Never", containers=[container_tree("a"), container_tree("b")])
    ended = facts(two, run("a", EXITED), run("b", EXITED, 1))
    assert compute_phase(ended) == "Failed"
    assert compute_phase(facts(two, run("a"), run("b", EXITED, 1))) == "Running"
    over = facts(two, run("a"), told={"phase": "Failed"})
    assert compute_phase(over) == "Failed"


def test_init_phases() -> None:
    one = pod(restartPolicy="Never", initContainers=[container_tree("i")])
    assert compute_phase(facts(one, run("i"))) == "Pending"
    assert compute_phase(facts(one, run("i", EXITED, 1))) == "Failed"
    again = pod(restartPolicy="Always", initContainers=[container_tree("i")])
    assert compute_phase(facts(again, run("i", EXITED, 1))) == "Pending"


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(c for c in status["conditions"] if c["type"] == kind)


def test_conditions_of_a_waiting_pod() -> None:
    one = pod(initContainers=[container_tree("i")])
    status = compute_status(facts(one, run("i")), Plan())
    assert condition(status, "Initialized")["status"] == "False"
    assert condition(status, "Initialized")["message"] == "containers with incomplete status: [i]"
    ready = condition(status, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert ready["message"] == "containers with unready status: [app]"
    waiting = status["containerStatuses"][0]["state"]["waiting"]
    assert waiting == {"reason": "PodInitializing"}
    assert condition(status, "PodReadyToStartContainers")["status"] == "True"


def test_transition_time_moves_only_with_the_status() -> None:
    first = compute_status(facts(pod(), run()), Plan())
    later = facts(pod(), run(), told=first)
    object.__setattr__(later, "now", NOW + 100)
    second = compute_status(later, Plan())
    assert second["conditions"] == first["conditions"]
    assert second["startTime"] == first["startTime"]
    unready = facts(pod(), run(), told=first, probes={"app-0": ProbeFacts(True, False)})
    object.__setattr__(unready, "now", NOW + 200)
    third = compute_status(unready, Plan())
    before, after = condition(first, "Ready"), condition(third, "Ready")
    assert after["lastTransitionTime"] != before["lastTransitionTime"]


def test_readiness_gates() -> None:
    tree = pod_tree(readinessGates=[{"conditionType": "x/y"}])
    status = compute_status(facts(convert(Pod, tree), run()), Plan())
    assert condition(status, "Ready")["reason"] == "ReadinessGatesNotReady"
    assert condition(status, "ContainersReady")["status"] == "True"
    tree["status"]["conditions"] = [{"type": "x/y", "status": "True"}]
    status = compute_status(facts(convert(Pod, tree), run()), Plan())
    assert condition(status, "Ready")["status"] == "True"


def test_states_of_containers() -> None:
    problem = {"app": Problem("ImagePullBackOff", "Back-off pulling image", NOW + 1)}
    status = compute_status(facts(pod(), problems=problem), Plan())
    state = status["containerStatuses"][0]["state"]
    assert state == {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    runs = [run(state=EXITED, code=1), run(attempt=1)]
    status = compute_status(facts(pod(), *runs), Plan())["containerStatuses"][0]
    assert "running" in status["state"]
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert status["restartCount"] == 1
    message = facts(pod(restartPolicy="Never"), run(state=EXITED), messages={"app-0": "bye"})
    ended = compute_status(message, Plan())["containerStatuses"][0]["state"]["terminated"]
    assert (ended["message"], ended["reason"]) == ("bye", "Completed")


def test_rejected_pod_tells_reason_alone() -> None:
    end = Termination(0, "OutOfcpu", "Node didn't have enough resource: cpu", phase="Failed")
    status = compute_status(facts(pod(), sandbox=None, termination=end), Plan())
    assert (status["phase"], status["reason"]) == ("Failed", "OutOfcpu")
    assert "containerStatuses" not in status


def test_evicted_pod_says_so() -> None:
    end = Termination(0, "Evicted", "low on memory", phase="Failed")
    ended = facts(pod(), run(state=EXITED, code=137), termination=end, released=True)
    status = compute_status(ended, plan_pod(ended))
    assert condition(status, "DisruptionTarget")["reason"] == "TerminationByKubelet"
    assert status["reason"] == "Evicted"
    assert "terminated" in status["containerStatuses"][0]["state"]


def test_patch_holds_differences_only() -> None:
    old = {"phase": "Pending", "reason": "x", "podIPs": [{"ip": "1"}]}
    new = {"phase": "Running", "podIPs": [{"ip": "2"}], "podIP": "2"}
    assert compute_patch(old, new, "u") == {
        "metadata": {"uid": "u"},
        "status": {
            "phase": "Running",
            "podIPs": [{"$patch": "replace"}, {"ip": "2"}],
            "podIP": "2",
            "reason": None,
        },
    }
    assert compute_patch(new, new, "u")["status"] == {}


def test_who_a_container_runs_as_is_told() -> None:
    one = replace(run(), user=LinuxUser(0, 0, (0, 50)))
    (told,) = compute_status(facts(pod(), one), Plan())["containerStatuses"]
    assert told["user"] == {"linux": {"uid": 0, "gid": 0, "supplementalGroups": [0, 50]}}
    (told,) = compute_status(facts(pod(), run()), Plan())["containerStatuses"]
    assert "user" not in told


def test_what_a_condition_no_longer_says_is_taken_away() -> None:
    """Conditions are merged by type: a reason that is left out would stay for good."""
    unready = compute_status(facts(pod(), run(state=CREATED)), Plan())
    ready = compute_status(facts(pod(), run()), Plan())
    patch = compute_patch(unready, ready, "u")["status"]["conditions"]
    found = next(c for c in patch if c["type"] == "Ready")
    assert (found["status"], found["reason"], found["message"]) == ("True", None, None)


def test_running_pod_tells_all() -> None:
    status = compute_status(facts(pod(), run(state=RUNNING), host_ips=("192.0.2.1",)), Plan())
    assert status["podIP"] == "10.0.0.2"
    assert status["hostIPs"] == [{"ip": "192.0.2.1"}]
    assert condition(status, "Ready")["status"] == "True"
