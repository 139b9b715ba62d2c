"""Slices: everything is in exactly one, none is too large, and little moves."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Pod, Service
from kutter.api.types.discovery_v1 import EndpointSlice
from kutter.controllers.endpoints.classic import plan_subsets
from kutter.controllers.endpoints.membership import compute_members
from kutter.controllers.endpoints.slices import PER_SLICE, plan_slices

SERVICE = convert(
    Service,
    {
        "metadata": {"name": "web", "namespace": "default", "uid": "s"},
        "spec": {
            "selector": {"app": "web"},
            "clusterIP": "10.43.0.9",
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
        },
    },
)


def pod(index, *, ready=True, going=False, port_name=None):
    ports = [{"name": port_name, "containerPort": 9000 + index}] if port_name else []
    meta = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if going else {}
    return convert(
        Pod,
        {
            "metadata": {
                "name": f"p{index:04}",
                "namespace": "default",
                "uid": f"u{index}",
                "labels": {"app": "web"},
                **meta,
            },
            "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": ports}]},
            "status": {
                "phase": "Running",
                "podIP": f"10.42.{index // 250}.{index % 250 + 1}",
                "podIPs": [{"ip": f"10.42.{index // 250}.{index % 250 + 1}"}],
                "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            },
        },
    )


def slices_for(pods, existing=()):
    plan = plan_slices(
        families=["IPv4"],
        members=compute_members(SERVICE, pods),
        service_ports=(("http", "TCP", 8080, ""),),
        existing=list(existing),
        labels={"kubernetes.io/service-name": "web"},
        zones={},
    )
    kept = {s.metadata.name: s for s in existing}
    for gone in plan.delete:
        kept.pop(gone.metadata.name)
    for number, body in enumerate(plan.create):
        body["metadata"]["name"] = f"new-{len(existing)}-{number}-{id(body)}"
        kept[body["metadata"]["name"]] = convert(EndpointSlice, body)
    for old, body in plan.update:
        body["metadata"]["name"] = old.metadata.name
        kept[old.metadata.name] = convert(EndpointSlice, body)
    return plan, list(kept.values())


def addresses(slices):
    return [e.addresses[0] for s in slices for e in s.endpoints]


def test_a_service_without_pods_keeps_one_empty_slice():
    _, slices = slices_for([])
    assert len(slices) == 1
    assert slices[0].endpoints == ()
    again, _ = slices_for([], slices)
    assert (again.create, again.update, again.delete) == ([], [], [])


def test_conditions_follow_the_pod():
    _, slices = slices_for([pod(1, ready=False), pod(2, going=True)])
    facts = [
        (e.conditions.ready, e.conditions.serving, e.conditions.terminating)
        for e in slices[0].endpoints
    ]
    assert facts == [(False, False, False), (False, True, True)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.integers(0, 260)), min_size=1, max_size=4))
def test_every_address_is_in_one_slice_and_a_second_look_changes_nothing(rounds):
    slices = []
    for wanted in rounds:
        _, slices = slices_for([pod(i) for i in sorted(wanted)], slices)
        found = addresses(slices)
        assert len(found) == len(set(found)) == len(wanted)
        assert all(len(s.endpoints) <= PER_SLICE for s in slices)
        again, _ = slices_for([pod(i) for i in sorted(wanted)], slices)
        assert (again.create, again.update, again.delete) == ([], [], [])


def test_one_more_pod_rewrites_one_slice():
    _, slices = slices_for([pod(i) for i in range(150)])
    plan, _ = slices_for([pod(i) for i in range(151)], slices)
    assert len(plan.create) + len(plan.update) + len(plan.delete) == 1


def test_classic_subsets_split_ready_and_not_ready_and_cut_at_a_thousand():
    members = compute_members(SERVICE, [pod(1), pod(2, ready=False)])
    subsets, cut = plan_subsets(SERVICE, members)
    assert not cut
    assert [a["ip"] for a in subsets[0]["addresses"]] == ["10.42.0.2"]
    assert [a["ip"] for a in subsets[0]["notReadyAddresses"]] == ["10.42.0.3"]
    assert subsets[0]["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    many = compute_members(SERVICE, [pod(i) for i in range(1100)])
    subsets, cut = plan_subsets(SERVICE, many)
    assert cut
    assert sum(len(s["addresses"]) for s in subsets) == 1000
