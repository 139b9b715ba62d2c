from datetime import UTC, datetime

import pytest

from kutter.api.quota.amounts import count_of, write_amounts
from kutter.api.quota.measures import measure_of, resources_of, scopes_of, total_charge
from kutter.api.types.base import convert
from kutter.api.types.core_v1 import PersistentVolumeClaim, ScopedResourceSelectorRequirement

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KNOWN = {"pods", "services", "persistentvolumeclaims", "configmaps", "deployments.apps", "events"}


def charge(resource, tree):
    measure = measure_of(resource)
    view = convert(measure.view, tree) if measure.view else None
    return write_amounts(measure.charge(view, NOW))


def test_plain_objects_are_counted_under_all_their_names():
    assert charge("configmaps", {}) == {"configmaps": "1", "count/configmaps": "1"}
    assert charge("deployments.apps", {}) == {"count/deployments.apps": "1"}


@pytest.mark.parametrize(
    ("spec", "ports", "balancers"),
    [
        ({"type": "ClusterIP", "ports": [{"port": 1}]}, "0", "0"),
        ({"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}, "2", "0"),
        ({"type": "LoadBalancer", "ports": [{"port": 1}]}, "1", "1"),
        (
            {
                "type": "LoadBalancer",
                "allocateLoadBalancerNodePorts": False,
                "ports": [{"port": 1, "nodePort": 30001}, {"port": 2}],
            },
            "1",
            "1",
        ),
    ],
)
def test_services_cost_node_ports_by_intent(spec, ports, balancers):
    found = charge("services", {"spec": spec})
    assert (found["services.nodeports"], found["services.loadbalancers"]) == (ports, balancers)
    assert found["services"] == found["count/services"] == "1"


def claim(**status):
    return {
        "spec": {
            "storageClassName": "gold",
            "volumeAttributesClassName": "fast",
            "resources": {"requests": {"storage": "1500m"}},
        },
        "status": status,
    }


def test_claims_cost_whole_bytes_and_what_is_set_aside():
    found = charge("persistentvolumeclaims", claim())
    assert found["requests.storage"] == "2"
    assert found["gold.storageclass.storage.k8s.io/requests.storage"] == "2"
    assert found["gold.storageclass.storage.k8s.io/persistentvolumeclaims"] == "1"
    grown = charge("persistentvolumeclaims", claim(allocatedResources={"storage": "1Gi"}))
    assert grown["requests.storage"] == "1Gi"


def test_devices_of_alternatives_cost_the_dearest():
    spec = {
        "devices": {
            "requests": [
                {"exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}},
                {"exactly": {"deviceClassName": "gpu"}},
                {
                    "firstAvailable": [
                        {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1},
                        {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 3},
                        {"deviceClassName": "nic", "allocationMode": "All"},
                    ]
                },
            ]
        }
    }
    assert charge("resourceclaims.resource.k8s.io", {"spec": spec}) == {
        "count/resourceclaims.resource.k8s.io": "1",
        "gpu.deviceclass.resource.k8s.io/devices": "6",
        "nic.deviceclass.resource.k8s.io/devices": "32",
    }


def test_scopes_take_out_what_is_not_in_them():
    measure = measure_of("persistentvolumeclaims")
    views = [convert(PersistentVolumeClaim, claim()), convert(PersistentVolumeClaim, {})]
    wanted = ScopedResourceSelectorRequirement(
        scope_name="VolumeAttributesClass", operator="In", values=("fast",)
    )
    total = total_charge(measure, views, scopes_of((), (wanted,)), NOW)
    assert total["persistentvolumeclaims"] == count_of(1)
    assert total_charge(measure, views, (), NOW)["persistentvolumeclaims"] == count_of(2)
    assert total_charge(measure, views, scopes_of(("BestEffort",), ()), NOW) == {}


def test_only_what_a_quota_names_is_looked_at():
    assert resources_of(["cpu", "configmaps", "count/deployments.apps"], KNOWN) == [
        "configmaps",
        "deployments.apps",
        "pods",
    ]
    assert resources_of(["count/foos.example.com"], KNOWN) == []
    assert resources_of(["count/events"], KNOWN) == []
    named = ["gold.storageclass.storage.k8s.io/requests.storage"]
    assert resources_of(named, KNOWN) == ["persistentvolumeclaims"]
