from __future__ import annotations

from typing import Any

import pytest
from tests.unit.apiserver.admission.admission_kit import admit, pod, refused, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.admission.limit_ranger import LimitRanger


def reader(**limit: Any) -> FakeReader:
    made = FakeReader()
    tree = {"metadata": {"name": "l", "namespace": "blue"}, "spec": {"limits": [limit]}}
    made.put("limitranges", tree)
    return made


def sized(requests: dict[str, str], limits: dict[str, str] | None = None) -> dict[str, Any]:
    resources = {"requests": requests, **({"limits": limits} if limits else {})}
    return pod(containers=[{"name": "c", "resources": resources}])


async def test_defaults_fill_gaps_only() -> None:
    ranges = reader(
        type="Container",
        default={"cpu": "500m", "memory": "1Gi"},
        defaultRequest={"cpu": "100m", "memory": "512Mi"},
    )
    given = sized({"cpu": "200m"})
    made = await admit(LimitRanger(), request("pods", given, ranges))
    resources = made["spec"]["containers"][0]["resources"]
    assert resources == {
        "requests": {"cpu": "200m", "memory": "512Mi"},
        "limits": {"cpu": "500m", "memory": "1Gi"},
    }
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"].startswith(
        "LimitRanger plugin set: "
    )


@pytest.mark.parametrize(
    ("limit", "given", "complaint"),
    [
        (
            {"type": "Container", "min": {"cpu": "100m"}},
            sized({"cpu": "50m"}),
            "minimum cpu usage per Container is 100m, but request is 50m",
        ),
        (
            {"type": "Container", "min": {"memory": "1Mi"}},
            sized({"cpu": "50m"}),
            "minimum memory usage per Container is 1Mi.  No request is specified",
        ),
        (
            {"type": "Container", "max": {"memory": "1Gi"}},
            sized({"memory": "1Gi"}, {"memory": "2Gi"}),
            "maximum memory usage per Container is 1Gi, but limit is 2Gi",
        ),
        (
            {"type": "Container", "max": {"memory": "1Gi"}},
            sized({"memory": "1Gi"}),
            "maximum memory usage per Container is 1Gi.  No limit is specified",
        ),
        (
            {"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}},
            sized({"cpu": "1"}, {"cpu": "3"}),
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
        ),
        (
            {"type": "Pod", "max": {"cpu": "1"}},
            pod(
                containers=[
                    {"name": n, "resources": {"limits": {"cpu": "600m"}, "requests": {"cpu": "1m"}}}
                    for n in "ab"
                ]
            ),
            "maximum cpu usage per Pod is 1, but limit is 1200m",
        ),
    ],
)
async def test_bounds(limit: dict[str, Any], given: dict[str, Any], complaint: str) -> None:
    error = await refused(LimitRanger(), request("pods", given, reader(**limit)))
    assert (error.code, error.message) == (403, f'pods "p" is forbidden: {complaint}')


async def test_within_bounds_and_claims() -> None:
    limit = {"type": "Container", "min": {"cpu": "10m"}, "max": {"cpu": "1"}}
    await admit(
        LimitRanger(), request("pods", sized({"cpu": "10m"}, {"cpu": "1"}), reader(**limit))
    )
    claim = {
        "metadata": {"name": "c"},
        "spec": {"resources": {"requests": {"storage": "1Gi"}}},
    }
    ranges = reader(type="PersistentVolumeClaim", min={"storage": "2Gi"})
    error = await refused(LimitRanger(), request("persistentvolumeclaims", claim, ranges))
    assert "minimum storage usage per PersistentVolumeClaim is 2Gi, but request is 1Gi" in (
        error.message
    )


async def test_what_a_pod_says_for_itself_counts_instead_of_the_sum() -> None:
    ranges = reader(type="Pod", max={"cpu": "1"})
    given = sized({"cpu": "100m"}, {"cpu": "200m"})
    given["spec"]["resources"] = {"limits": {"cpu": "2"}}
    error = await refused(LimitRanger(), request("pods", given, ranges))
    assert "maximum cpu usage per Pod is 1, but limit is 2" in error.message


async def test_the_note_names_requests_before_limits() -> None:
    ranges = reader(type="Container", default={"cpu": "1"}, defaultRequest={"cpu": "1"})
    made = await admit(LimitRanger(), request("pods", pod(), ranges))
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    )
