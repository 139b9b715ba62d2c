"""Service and EndpointSlice views → packet rules' and name server's input."""

from __future__ import annotations

import msgspec

from kutter.api.types.core_v1 import Service
from kutter.api.types.discovery_v1 import EndpointSlice
from kutter.network.interface import DnsService
from kutter.network.services.from_api import dns_services, group_slices, service_ports


def service(spec: dict, *, labels: dict | None = None, status: dict | None = None) -> Service:
    tree = {
        "metadata": {"name": "web", "namespace": "default", "labels": labels or {}},
        "spec": spec,
        "status": status or {},
    }
    return msgspec.convert(tree, Service)


def slice_of(
    *endpoints: dict, labels: dict | None = None, name: str = "web-1", **more
) -> EndpointSlice:
    tree = {
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "web", **(labels or {})},
        },
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        **more,
    }
    return msgspec.convert(tree, EndpointSlice)


def end(address: str, node: str = "here", **conditions) -> dict:
    return {"addresses": [address], "nodeName": node, "conditions": conditions}


SPEC = {
    "clusterIP": "10.43.1.1",
    "clusterIPs": ["10.43.1.1"],
    "type": "ClusterIP",
    "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "x"}],
}


def ports(spec=SPEC, *slices, **more):
    return service_ports([service(spec, **more)], group_slices(slices), "here")


def test_ready_endpoints_with_their_place() -> None:
    (port,) = ports(
        SPEC,
        slice_of(end("10.42.0.2", ready=True), end("10.42.0.3", ready=False)),
        slice_of(end("10.42.1.2", "there"), name="web-2"),
        slice_of(end("fd00::2"), addressType="IPv6"),
    )
    assert port.endpoints == (("10.42.0.2", 8080, True), ("10.42.1.2", 8080, False))
    assert (port.namespace, port.name, port.port_name, port.port) == ("default", "web", "http", 80)


def test_terminating_serve_only_when_nobody_is_ready() -> None:
    ending = end("10.42.0.9", ready=False, serving=True, terminating=True)
    (port,) = ports(SPEC, slice_of(end("10.42.0.2", ready=True), ending))
    assert port.endpoints == (("10.42.0.2", 8080, True),)
    (port,) = ports(SPEC, slice_of(ending))
    assert port.endpoints == (("10.42.0.9", 8080, True),)
    local = SPEC | {"type": "NodePort", "externalTrafficPolicy": "Local"}
    (port,) = ports(local, slice_of(end("10.42.1.2", "there", ready=True), ending))
    assert port.endpoints == (("10.42.0.9", 8080, True), ("10.42.1.2", 8080, False))


def test_node_port_and_load_balancer() -> None:
    spec = SPEC | {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "internalTrafficPolicy": "Local",
        "sessionAffinity": "ClientIP",
        "loadBalancerSourceRanges": ["198.18.0.0/15"],
        "externalIPs": ["198.51.100.7"],
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
    }
    ingress = [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2", "ipMode": "Proxy"}, {"hostname": "x"}]
    (port,) = ports(spec, status={"loadBalancer": {"ingress": ingress}})
    assert port.node_port == 30080
    assert port.load_balancer_ips == ("192.0.2.1",)
    assert port.load_balancer_source_ranges == ("198.18.0.0/15",)
    assert port.external_ips == ("198.51.100.7",)
    assert port.affinity_timeout_s == 10800
    assert port.external_traffic_local
    assert port.internal_traffic_local
    timed = spec | {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 9}}}
    assert ports(timed)[0].affinity_timeout_s == 9


def test_others_serve_what_is_labelled_so() -> None:
    for label in ("service-proxy-name", "headless"):
        assert ports(SPEC, labels={f"service.kubernetes.io/{label}": "x"}) == []
    assert ports(SPEC | {"clusterIP": "None", "clusterIPs": ["None"]}) == []
    assert ports({"type": "ExternalName", "externalName": "a.example"}) == []


def names(spec, *slices):
    return dns_services([service(spec)], group_slices(slices))


def test_dns() -> None:
    assert names(SPEC) == [
        DnsService("default", "web", ("10.43.1.1",), ports=(("http", "TCP", 80),))
    ]
    assert names({"type": "ExternalName", "externalName": "a.example"}) == [
        DnsService("default", "web", external_name="a.example")
    ]
    headless = SPEC | {"clusterIP": "None", "clusterIPs": ["None"]}
    named = end("10.42.0.2", ready=True) | {"hostname": "web-0"}
    assert names(headless, slice_of(named, end("10.42.0.3", ready=False))) == [
        DnsService(
            "default",
            "web",
            ports=(("http", "TCP", 8080),),
            endpoints=(("web-0", "10.42.0.2", True), ("", "10.42.0.3", False)),
        )
    ]
