"""The STATUS, READY and RESTARTS of pods in all their states."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from kutter.apiserver.printing.pods import PodPrinter, event_cells

NOW = datetime(2026, 1, 1, 1, 0, 0, tzinfo=UTC)
_ENDED = {"terminated": {"exitCode": 0, "reason": "Completed"}}
_RUNS = {"running": {}}


def row(status: dict[str, Any], *, spec: dict[str, Any] | None = None, gone: bool = False):
    metadata: dict[str, Any] = {"name": "web", "creationTimestamp": "2026-01-01T00:55:00Z"}
    if gone:
        metadata["deletionTimestamp"] = "2026-01-01T00:59:00Z"
    spec = {"containers": [{"name": "a"}, {"name": "b"}], **(spec or {})}
    printer = PodPrinter()
    cells = printer.cells({"metadata": metadata, "spec": spec, "status": status}, NOW)
    return dict(zip((c["name"] for c in printer.columns), cells, strict=True))


def statuses(*states: dict[str, Any], ready: bool = True, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"name": name, "state": state, "ready": ready and "running" in state, **fields}
        for name, state in zip("ab", states, strict=False)
    ]


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


INIT = {"initContainers": [{"name": "a"}, {"name": "b"}]}
SIDECAR = {"initContainers": [{"name": "a", "restartPolicy": "Always"}, {"name": "b"}]}
CASES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("Pending", "0/2", {"phase": "Pending"}, {}),
    (
        "Running",
        "2/2",
        {"phase": "Running", "containerStatuses": statuses(_RUNS, _RUNS)},
        {},
    ),
    (
        "CrashLoopBackOff",
        "1/2",
        {"phase": "Running", "containerStatuses": statuses(waiting("CrashLoopBackOff"), _RUNS)},
        {},
    ),
    (
        "ContainerCreating",
        "0/2",
        {"phase": "Pending", "containerStatuses": statuses(*[waiting("ContainerCreating")] * 2)},
        {},
    ),
    (
        "Completed",
        "0/2",
        {"phase": "Succeeded", "containerStatuses": statuses(_ENDED, _ENDED)},
        {},
    ),
    (
        "NotReady",
        "1/2",
        {"phase": "Running", "containerStatuses": statuses(_ENDED, _RUNS)},
        {},
    ),
    (
        "Running",
        "1/2",
        {
            "phase": "Running",
            "containerStatuses": statuses(_ENDED, _RUNS),
            "conditions": [{"type": "Ready", "status": "True"}],
        },
        {},
    ),
    (
        "ExitCode:3",
        "0/2",
        {"phase": "Failed", "containerStatuses": statuses({"terminated": {"exitCode": 3}})},
        {},
    ),
    (
        "Signal:9",
        "0/2",
        {
            "phase": "Failed",
            "containerStatuses": statuses({"terminated": {"exitCode": 137, "signal": 9}}),
        },
        {},
    ),
    (
        "ExitCode:3",
        "1/2",
        {
            "phase": "Running",
            "containerStatuses": statuses(_RUNS, {"terminated": {"exitCode": 3}}),
        },
        {},
    ),
    (
        "Error",
        "0/2",
        {
            "phase": "Failed",
            "containerStatuses": statuses(
                _ENDED, {"terminated": {"exitCode": 3, "reason": "Error"}}
            ),
        },
        {},
    ),
    ("Evicted", "0/2", {"phase": "Failed", "reason": "Evicted"}, {}),
    (
        "Init:0/2",
        "0/2",
        {"phase": "Pending", "initContainerStatuses": statuses(_RUNS, waiting("PodInitializing"))},
        INIT,
    ),
    (
        "Init:1/2",
        "0/2",
        {"phase": "Pending", "initContainerStatuses": statuses(_ENDED, _RUNS)},
        INIT,
    ),
    (
        "Init:ImagePullBackOff",
        "0/2",
        {"phase": "Pending", "initContainerStatuses": statuses(waiting("ImagePullBackOff"))},
        INIT,
    ),
    (
        "Init:Error",
        "0/2",
        {
            "phase": "Pending",
            "initContainerStatuses": statuses({"terminated": {"exitCode": 1, "reason": "Error"}}),
        },
        INIT,
    ),
    (
        "Init:ExitCode:1",
        "0/2",
        {
            "phase": "Pending",
            "initContainerStatuses": statuses({"terminated": {"exitCode": 1}}),
        },
        INIT,
    ),
    (
        "Running",
        "3/3",
        {
            "phase": "Running",
            "initContainerStatuses": statuses(_RUNS, _ENDED, started=True),
            "containerStatuses": statuses(_RUNS, _RUNS),
        },
        SIDECAR,
    ),
    (
        "SchedulingGated",
        "0/2",
        {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}],
        },
        {},
    ),
]


@pytest.mark.parametrize(("word", "ready", "status", "spec"), CASES)
def test_status_and_ready(
    word: str, ready: str, status: dict[str, Any], spec: dict[str, Any]
) -> None:
    shown = row(status, spec=spec)
    assert (shown["Status"], shown["Ready"]) == (word, ready)


def test_deleted_pods_terminate_unless_they_have_ended() -> None:
    running = {"phase": "Running", "containerStatuses": statuses(_RUNS, _RUNS)}
    assert row(running, gone=True)["Status"] == "Terminating"
    assert row({**running, "reason": "NodeLost"}, gone=True)["Status"] == "Unknown"
    ended = {"phase": "Succeeded", "containerStatuses": statuses(_ENDED, _ENDED)}
    assert row(ended, gone=True)["Status"] == "Completed"


def test_restarts_say_when() -> None:
    last = {"terminated": {"finishedAt": "2026-01-01T00:55:00Z"}}
    status = {
        "phase": "Running",
        "containerStatuses": statuses(_RUNS, restartCount=2, lastState=last),
    }
    assert row(status)["Restarts"] == "2 (5m ago)"
    assert row({"phase": "Running"})["Restarts"] == "0"


def test_wide_columns() -> None:
    status = {
        "phase": "Running",
        "podIPs": [{"ip": "10.42.0.7"}],
        "conditions": [{"type": "example.com/up", "status": "True"}],
    }
    shown = row(
        status,
        spec={
            "nodeName": "n1",
            "readinessGates": [
                {"conditionType": "example.com/up"},
                {"conditionType": "example.com/b"},
            ],
        },
    )
    assert (shown["IP"], shown["Node"], shown["Age"]) == ("10.42.0.7", "n1", "5m")
    assert (shown["Nominated Node"], shown["Readiness Gates"]) == ("<none>", "1/2")


def test_finished_pods_are_marked() -> None:
    printer = PodPrinter()
    assert printer.conditions({"status": {"phase": "Running"}}) == []
    (condition,) = printer.conditions({"status": {"phase": "Succeeded"}})
    assert (condition["type"], condition["reason"]) == ("Completed", "Succeeded")


def test_events_of_both_versions() -> None:
    old = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{a}"},
        "lastTimestamp": "2026-01-01T00:59:30Z",
        "firstTimestamp": "2026-01-01T00:50:00Z",
        "count": 3,
        "type": "Normal",
        "reason": "Started",
        "message": "Started container a\n",
        "source": {"component": "kubelet", "host": "n1"},
    }
    assert event_cells(old, NOW) == [
        "30s",
        "Normal",
        "Started",
        "pod/web",
        "spec.containers{a}",
        "kubelet, n1",
        "Started container a",
        "10m",
        3,
        "e",
    ]
    new = {
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "name": "web"},
        "eventTime": "2026-01-01T00:59:00.000000Z",
        "series": {"count": 5, "lastObservedTime": "2026-01-01T00:59:50.000000Z"},
        "type": "Warning",
        "reason": "Failed",
        "note": "x",
        "reportingController": "scheduler",
    }
    assert event_cells(new, NOW)[:5] == ["10s", "Warning", "Failed", "pod/web", ""]
    assert event_cells(new, NOW)[8] == 5
