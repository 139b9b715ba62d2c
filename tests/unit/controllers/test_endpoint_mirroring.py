"""Mirrored slices: hand-written Endpoints in slices' shape, moved as little as possible."""

from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Endpoints, Service
from kutter.api.types.discovery_v1 import EndpointSlice
from kutter.controllers.endpoints.mirroring import is_mirrored, plan_mirror

PORTS = [{"name": "http", "port": 80, "protocol": "TCP"}]


def endpoints(*subsets, labels=None, annotations=None):
    meta = {"name": "e", "namespace": "n", "labels": labels or {}, "annotations": annotations or {}}
    return convert(Endpoints, {"metadata": meta, "subsets": list(subsets)})


def service(**spec):
    return convert(Service, {"metadata": {"name": "e"}, "spec": spec})


def as_slice(body, name="e-1"):
    return convert(EndpointSlice, {**body, "metadata": {**body["metadata"], "name": name}})


def test_families_and_readiness_are_told_apart():
    written = endpoints(
        {
            "addresses": [{"ip": "10.0.0.1", "hostname": "h", "nodeName": "n1"}, {"ip": "fd00::1"}],
            "notReadyAddresses": [{"ip": "10.0.0.2"}],
            "ports": PORTS,
        },
        labels={"app": "x", "endpointslice.kubernetes.io/skip-mirror": "false"},
        annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}", "keep": "me"},
    )
    four, six = plan_mirror(written, []).create
    assert (four["addressType"], six["addressType"]) == ("IPv4", "IPv6")
    assert four["endpoints"] == [
        {
            "addresses": ["10.0.0.1"],
            "conditions": {"ready": True},
            "hostname": "h",
            "nodeName": "n1",
        },
        {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
    ]
    assert four["ports"] == PORTS
    assert four["metadata"]["labels"] == {
        "app": "x",
        "kubernetes.io/service-name": "e",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
    }
    assert four["metadata"]["annotations"] == {"keep": "me"}


def test_what_is_mirrored_already_is_left_alone_and_leftovers_go():
    written = endpoints({"addresses": [{"ip": "10.0.0.1"}], "ports": PORTS})
    mirrored = as_slice(plan_mirror(written, []).create[0])
    again = plan_mirror(written, [mirrored])
    assert (again.create, again.update, again.delete) == ([], [], [])
    moved = endpoints({"addresses": [{"ip": "10.0.0.9"}], "ports": PORTS})
    assert [item for item, _ in plan_mirror(moved, [mirrored]).update] == [mirrored]
    assert plan_mirror(endpoints(), [mirrored]).delete == [mirrored]


def test_a_thousand_addresses_of_a_subset_are_mirrored():
    many = [{"ip": f"10.1.{n // 250}.{n % 250 + 1}"} for n in range(1005)]
    assert len(plan_mirror(endpoints({"addresses": many}), []).create[0]["endpoints"]) == 1000


def test_only_endpoints_written_by_hand_are_mirrored():
    free = service()
    assert is_mirrored(endpoints(), free)
    assert not is_mirrored(endpoints(), None)
    assert not is_mirrored(endpoints(), service(selector={"a": "b"}))
    skip = endpoints(labels={"endpointslice.kubernetes.io/skip-mirror": "true"})
    assert not is_mirrored(skip, free)
    leader = endpoints(annotations={"control-plane.alpha.kubernetes.io/leader": "{}"})
    assert not is_mirrored(leader, free)
