"""Workloads and batch: defaults, selectors, forbidden changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.unit.apiserver.kinds.samples import (
    change_errors,
    errors_of,
    sample,
    stored,
    strategy,
)


def of(plural: str, **spec: Any) -> dict[str, Any]:
    tree = sample(plural)
    tree["spec"].update(spec)
    return tree


def test_deployment_defaults() -> None:
    spec = stored("deployments")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    assert spec["template"]["spec"]["restartPolicy"] == "Always"
    assert "enableServiceLinks" not in spec["template"]["spec"]


def test_stateful_set_defaults() -> None:
    spec = stored("statefulsets")["spec"]
    assert spec["podManagementPolicy"] == "OrderedReady"
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {
        "whenDeleted": "Retain",
        "whenScaled": "Retain",
    }
    claim = spec["volumeClaimTemplates"][0]
    assert (claim["kind"], claim["apiVersion"]) == ("PersistentVolumeClaim", "v1")
    assert claim["spec"]["volumeMode"] == "Filesystem"
    assert claim["status"] == {"phase": "Pending"}


def test_daemon_set_and_cron_job_defaults() -> None:
    spec = stored("daemonsets")["spec"]
    assert spec["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    cron = stored("cronjobs")["spec"]
    assert (cron["concurrencyPolicy"], cron["suspend"]) == ("Allow", False)
    assert (cron["successfulJobsHistoryLimit"], cron["failedJobsHistoryLimit"]) == (3, 1)


def test_replication_controller_takes_labels_from_its_template() -> None:
    tree = stored("replicationcontrollers")
    assert tree["spec"]["selector"] == {"app": "web"}
    assert tree["metadata"]["labels"] == {"app": "web"}
    assert strategy("replicationcontrollers").default_garbage_collection(tree) == "orphan"


def test_a_job_selects_by_its_own_uid() -> None:
    tree = stored("jobs")
    uid = tree["metadata"]["uid"]
    spec = tree["spec"]
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert spec["template"]["metadata"]["labels"] == {
        "controller-uid": uid,
        "batch.kubernetes.io/controller-uid": uid,
        "job-name": "web",
        "batch.kubernetes.io/job-name": "web",
    }
    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (1, 1, 6)
    assert (spec["completionMode"], spec["suspend"]) == ("NonIndexed", False)
    assert spec["podReplacementPolicy"] == "TerminatingOrFailed"


_OTHER = {"matchLabels": {"app": "other"}}
_MISMATCH = (
    'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match '
    "template `labels`"
)
_NEVER = {"metadata": {"labels": {"app": "web"}}, "spec": {"restartPolicy": "Never"}}
REFUSED = [
    ("deployments", of("deployments", selector=_OTHER), _MISMATCH),
    ("replicasets", of("replicasets", selector=_OTHER), _MISMATCH),
    ("daemonsets", of("daemonsets", selector=_OTHER), _MISMATCH),
    ("statefulsets", of("statefulsets", selector=_OTHER), _MISMATCH),
    ("replicationcontrollers", of("replicationcontrollers", selector={"app": "x"}), _MISMATCH),
    ("deployments", of("deployments", selector=None), "spec.selector: Required value"),
    (
        "deployments",
        of("deployments", selector={}),
        "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
    ),
    (
        "deployments",
        of("deployments", replicas=-1),
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    ),
    (
        "deployments",
        of("deployments", strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
        (
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when "
            "`maxSurge` is 0"
        ),
    ),
    (
        "deployments",
        of("deployments", strategy={"rollingUpdate": {"maxUnavailable": "101%"}}),
        (
            'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater '
            "than 100%"
        ),
    ),
    (
        "deployments",
        of("deployments", strategy={"type": "Recreate", "rollingUpdate": {}}),
        (
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is "
            "'Recreate'"
        ),
    ),
    (
        "deployments",
        of("deployments", template=_NEVER),
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
    ),
    (
        "deployments",
        of("deployments", progressDeadlineSeconds=5, minReadySeconds=5),
        "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
    ),
    (
        "daemonsets",
        of(
            "daemonsets",
            updateStrategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
        ),
        (
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when "
            "maxUnavailable is non-zero"
        ),
    ),
    (
        "jobs",
        of("jobs", completionMode="Indexed", completions=None, parallelism=2),
        "spec.completions: Required value: when completion mode is Indexed",
    ),
    (
        "jobs",
        of("jobs", selector={"matchLabels": {"app": "mine"}}),
        (
            'spec.selector: Invalid value: {"matchLabels":{"app":"mine",'
            '"batch.kubernetes.io/controller-uid":"11111111-2222-3333-4444-555555555555"}}: '
            "`selector` not auto-generated"
        ),
    ),
    (
        "jobs",
        of("jobs", template={"spec": {"containers": [{"name": "a", "image": "a"}]}}),
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
    ),
    (
        "cronjobs",
        of("cronjobs", schedule="* * *"),
        'spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]',
    ),
    (
        "cronjobs",
        of("cronjobs", timeZone="Middle/Earth"),
        'spec.timeZone: Invalid value: "Middle/Earth": unknown time zone Middle/Earth',
    ),
]


@pytest.mark.parametrize(
    ("plural", "tree", "error"), REFUSED, ids=[f"{p} {e.split(':')[0]}" for p, _, e in REFUSED]
)
def test_refused(plural: str, tree: dict[str, Any], error: str) -> None:
    assert error in errors_of(plural, copy.deepcopy(tree))


@pytest.mark.parametrize("plural", ["deployments", "replicasets", "daemonsets"])
def test_selectors_are_immutable(plural: str) -> None:
    old = stored(plural)
    new = copy.deepcopy(old)
    new["spec"]["selector"]["matchLabels"]["tier"] = "x"
    new["spec"]["template"]["metadata"]["labels"]["tier"] = "x"
    (error,) = change_errors(plural, new, old)
    assert error.startswith("spec.selector: Invalid value: ")
    assert error.endswith(": field is immutable")


def test_stateful_sets_change_little() -> None:
    old = stored("statefulsets")
    new = copy.deepcopy(old)
    new["spec"]["replicas"] = 5
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    assert change_errors("statefulsets", new, old) == []
    new["spec"]["serviceName"] = "other"
    assert change_errors("statefulsets", new, old) == [
        (
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', "
            "'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
            "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
        )
    ]


def test_job_templates_are_immutable_but_for_placement_before_the_start() -> None:
    old = stored("jobs", of("jobs", suspend=True))
    new = copy.deepcopy(old)
    new["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
    assert change_errors("jobs", new, old) == []
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    (error,) = change_errors("jobs", new, old)
    assert error.startswith("spec.template.spec: Invalid value: ")


def test_indexed_jobs_grow_in_tandem() -> None:
    old = stored("jobs", of("jobs", completionMode="Indexed", completions=3, parallelism=3))
    new = copy.deepcopy(old)
    new["spec"]["completions"] = 5
    assert change_errors("jobs", new, old) == [
        "spec.completions: Invalid value: 5: can only be modified in tandem with spec.parallelism"
    ]
    new["spec"]["parallelism"] = 5
    assert change_errors("jobs", new, old) == []
