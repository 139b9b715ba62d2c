from datetime import UTC, datetime

import pytest

from kutter.api.quota.amounts import write_amounts
from kutter.api.quota.pods import missing_names, names_of, pod_in_scope, pod_usage
from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Pod, ScopedResourceSelectorRequirement

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def container(name="c", requests=None, limits=None, **more):
    return {"name": name, "resources": {"requests": requests or {}, "limits": limits or {}}, **more}


def pod(*containers, status=None, metadata=None, **spec):
    tree = {
        "metadata": {"name": "p", **(metadata or {})},
        "spec": {"containers": list(containers) or [container()], **spec},
        "status": status or {},
    }
    return convert(Pod, tree)


def usage(view):
    return write_amounts(pod_usage(view, NOW))


def test_every_name_a_request_or_limit_counts_against():
    view = pod(
        container(
            requests={"cpu": "1", "memory": "1Gi", "hugepages-2Mi": "4Mi", "example.com/gpu": "2"},
            limits={"cpu": "2", "ephemeral-storage": "1Gi", "example.com/gpu": "2"},
        )
    )
    assert usage(view) == {
        "count/pods": "1",
        "pods": "1",
        "cpu": "1",
        "requests.cpu": "1",
        "limits.cpu": "2",
        "memory": "1Gi",
        "requests.memory": "1Gi",
        "limits.ephemeral-storage": "1Gi",
        "hugepages-2Mi": "4Mi",
        "requests.hugepages-2Mi": "4Mi",
        "requests.example.com/gpu": "2",
    }


def test_init_containers_sidecars_overhead_and_pod_level():
    view = pod(
        container(requests={"cpu": "1"}),
        initContainers=[
            container("first", {"cpu": "1500m"}),
            container("side", {"cpu": "500m"}, restartPolicy="Always"),
            container("last", {"cpu": "3"}),
        ],
        overhead={"cpu": "100m"},
    )
    assert usage(view)["cpu"] == "3600m"
    level = pod(container(requests={"cpu": "1"}), resources={"requests": {"cpu": "4"}})
    assert usage(level)["cpu"] == "4"


def test_while_a_resize_is_under_way_the_larger_counts():
    given = {"name": "c", "allocatedResources": {"cpu": "2"}}
    view = pod(container(requests={"cpu": "1"}), status={"containerStatuses": [given]})
    assert usage(view)["cpu"] == "2"
    bigger = pod(container(requests={"cpu": "3"}), status={"containerStatuses": [given]})
    assert usage(bigger)["cpu"] == "3"
    never = {
        "containerStatuses": [given],
        "conditions": [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}],
    }
    assert usage(pod(container(requests={"cpu": "3"}), status=never))["cpu"] == "2"


@pytest.mark.parametrize(
    ("status", "metadata", "charged"),
    [
        ({"phase": "Running"}, {}, True),
        ({"phase": "Succeeded"}, {}, False),
        ({"phase": "Failed"}, {}, False),
        (
            {},
            {"deletionTimestamp": "2026-01-01T11:59:50Z", "deletionGracePeriodSeconds": 30},
            True,
        ),
        (
            {},
            {"deletionTimestamp": "2026-01-01T11:59:20Z", "deletionGracePeriodSeconds": 30},
            False,
        ),
    ],
)
def test_what_has_ended_is_counted_as_an_object_only(status, metadata, charged):
    found = usage(pod(container(requests={"cpu": "1"}), status=status, metadata=metadata))
    assert found["count/pods"] == "1"
    assert ("pods" in found, "cpu" in found) == (charged, charged)


def scope(name, operator="Exists", *values):
    return ScopedResourceSelectorRequirement(scope_name=name, operator=operator, values=values)


@pytest.mark.parametrize(
    ("view", "wanted", "inside"),
    [
        (pod(), scope("BestEffort"), True),
        (pod(container(limits={"cpu": "1"})), scope("BestEffort"), False),
        (pod(container(limits={"example.com/x": "1"})), scope("BestEffort"), True),
        (pod(container(limits={"cpu": "1"})), scope("NotBestEffort"), True),
        (pod(activeDeadlineSeconds=0), scope("Terminating"), True),
        (pod(), scope("Terminating"), False),
        (pod(), scope("NotTerminating"), True),
        (pod(priorityClassName="high"), scope("PriorityClass"), True),
        (pod(), scope("PriorityClass"), False),
        (pod(priorityClassName="high"), scope("PriorityClass", "In", "low", "high"), True),
        (pod(priorityClassName="high"), scope("PriorityClass", "NotIn", "high"), False),
        (pod(), scope("PriorityClass", "NotIn", "high"), True),
        (pod(), scope("PriorityClass", "DoesNotExist"), True),
        (pod(), scope("CrossNamespacePodAffinity"), False),
        (
            pod(
                affinity={
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 1, "podAffinityTerm": {"namespaces": ["other"]}}
                        ]
                    }
                }
            ),
            scope("CrossNamespacePodAffinity"),
            True,
        ),
        (pod(), scope("VolumeAttributesClass"), False),
    ],
)
def test_scopes(view, wanted, inside):
    assert pod_in_scope(view, wanted) is inside


def test_containers_must_say_what_a_quota_limits():
    view = pod(
        container("a", {"cpu": "1"}), container("b"), initContainers=[container("i", {"cpu": "1"})]
    )
    assert missing_names(view, ["cpu", "limits.memory", "pods", "requests.example.com/x"]) == (
        "cpu for: b; limits.memory for: a,b,i"
    )
    assert missing_names(view, ["ephemeral-storage"]) == ""
    level = pod(container("a"), resources={"requests": {"cpu": "1"}})
    assert missing_names(level, ["cpu", "requests.cpu"]) == ""


def test_names():
    names = ["pods", "count/pods", "hugepages-1Gi", "requests.example.com/gpu", "services"]
    names += ["gold.storageclass.storage.k8s.io/requests.storage", "requests.storage"]
    assert names_of(names) == names[:4]
