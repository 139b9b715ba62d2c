"""Services: defaults, addresses and ports taken and given back, changes of type."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.unit.apiserver.fake_reader import FakeReader
from tests.unit.apiserver.kinds.samples import change_errors, context, errors_of, sample, strategy

from kutter.api.errors import ApiError
from kutter.apiserver.kinds.registry import KindOptions, Kinds


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    tree = sample("services")
    tree["metadata"]["name"] = name
    tree["spec"].update(spec)
    return tree


class Cluster:
    """A service strategy over a reader, as the core drives it."""

    def __init__(self, **options: Any) -> None:
        self.kinds = Kinds(KindOptions(**options))
        self.kind = strategy("services", self.kinds)
        self.reader = FakeReader()

    @property
    def ranges(self):
        return self.kinds.service_ranges

    async def create(self, tree: dict[str, Any], *, stored: bool = True) -> dict[str, Any]:
        look = context(self.reader)
        self.kind.default(tree)
        self.kind.prepare_for_create(look, tree)
        assert [str(e) for e in self.kind.validate_create(look, tree)] == []
        finish = await self.kind.begin_create(look, tree)
        if stored:
            self.reader.put("services", tree)
        assert finish is not None
        await finish(stored)
        return tree

    async def update(self, new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
        look = context(self.reader)
        self.kind.default(new)
        self.kind.prepare_for_update(look, new, old)
        assert [str(e) for e in self.kind.validate_update(look, new, old)] == []
        finish = await self.kind.begin_update(look, new, old)
        self.reader.put("services", new)
        assert finish is not None
        await finish(True)
        return new


async def test_a_service_gets_an_address_above_the_static_part() -> None:
    cluster = Cluster()
    spec = (await cluster.create(service()))["spec"]
    third, fourth = (int(part) for part in spec["clusterIP"].split(".")[2:])
    assert spec["clusterIP"].startswith("10.43.")
    assert third * 256 + fourth > 256
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    assert (spec["type"], spec["sessionAffinity"]) == ("ClusterIP", "None")
    assert spec["internalTrafficPolicy"] == "Cluster"
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert "externalTrafficPolicy" not in spec


async def test_a_taken_address_is_refused() -> None:
    cluster = Cluster()
    await cluster.create(service(clusterIP="10.43.0.10"))
    with pytest.raises(ApiError) as caught:
        await cluster.create(service("other", clusterIP="10.43.0.10"))
    assert caught.value.code == 422
    assert caught.value.message == (
        'Service "other" is invalid: spec.clusterIPs: Invalid value: ["10.43.0.10"]: failed to '
        "allocate IP 10.43.0.10: provided IP is already allocated"
    )


async def test_an_address_outside_the_range_is_refused() -> None:
    with pytest.raises(ApiError, match="the provided network does not match the current range"):
        await Cluster().create(service(clusterIP="10.44.0.10"))
    with pytest.raises(ApiError, match=r"The range of valid IPs is 10\.43\.0\.0/16"):
        await Cluster().create(service(clusterIP="10.43.255.255"))


async def test_node_ports_are_taken_and_refused() -> None:
    cluster = Cluster()
    first = await cluster.create(service(type="NodePort"))
    port = first["spec"]["ports"][0]["nodePort"]
    assert 30086 <= port <= 32767
    assert first["spec"]["externalTrafficPolicy"] == "Cluster"
    taken = [{"port": 80, "nodePort": port}]
    with pytest.raises(ApiError, match="provided port is already allocated"):
        await cluster.create(service("other", type="NodePort", ports=taken))
    low = [{"port": 80, "nodePort": 80}]
    with pytest.raises(ApiError, match="The range of valid ports is 30000-32767"):
        await cluster.create(service("low", type="NodePort", ports=low))


async def test_a_failed_write_gives_everything_back() -> None:
    cluster = Cluster()
    await cluster.create(service(type="LoadBalancer"), stored=False)
    assert cluster.ranges.addresses[0].used == 0
    assert cluster.ranges.ports.used == 0


async def test_a_refused_port_gives_the_address_back() -> None:
    cluster = Cluster()
    with pytest.raises(ApiError):
        await cluster.create(service(type="NodePort", ports=[{"port": 80, "nodePort": 1}]))
    assert cluster.ranges.addresses[0].used == 0


async def test_deleting_gives_back() -> None:
    cluster = Cluster()
    await cluster.create(service(type="NodePort"))
    assert cluster.ranges.addresses[0].used == 1
    cluster.reader.remove("services", "default", "web")
    assert cluster.ranges.addresses[0].used == 0
    assert cluster.ranges.ports.used == 0


async def test_a_new_server_learns_what_is_taken() -> None:
    cluster = Cluster()
    await cluster.create(service(clusterIP="10.43.0.10"))
    restarted = Cluster()
    restarted.reader = cluster.reader
    with pytest.raises(ApiError, match="provided IP is already allocated"):
        await restarted.create(service("other", clusterIP="10.43.0.10"))


async def test_dry_run_takes_nothing() -> None:
    cluster = Cluster()
    tree = service()
    look = context(cluster.reader, dry_run=True)
    cluster.kind.default(tree)
    cluster.kind.prepare_for_create(look, tree)
    assert not cluster.kind.validate_create(look, tree)
    finish = await cluster.kind.begin_create(look, tree)
    assert tree["spec"]["clusterIP"]
    assert finish is not None
    await finish(False)
    assert cluster.ranges.addresses[0].used == 0


async def test_a_full_range_is_an_internal_error() -> None:
    cluster = Cluster(service_cidrs=("10.43.0.0/30",))
    await cluster.create(service("a"))
    await cluster.create(service("b"))
    with pytest.raises(ApiError, match="range is full") as caught:
        await cluster.create(service("c"))
    assert caught.value.code == 500


async def test_headless_and_external_name_get_no_address() -> None:
    cluster = Cluster()
    headless = (await cluster.create(service("h", clusterIP="None")))["spec"]
    assert headless["clusterIPs"] == ["None"]
    assert headless["ipFamilies"] == ["IPv4"]
    named = service("n", type="ExternalName", externalName="a.example.com")
    spec = (await cluster.create(named))["spec"]
    assert "clusterIP" not in spec
    assert "ipFamilies" not in spec
    assert cluster.ranges.addresses[0].used == 0


async def test_two_ranges_give_two_addresses() -> None:
    cluster = Cluster(service_cidrs=("10.43.0.0/16", "fd00::/108"))
    spec = (await cluster.create(service(ipFamilyPolicy="PreferDualStack")))["spec"]
    assert spec["ipFamilies"] == ["IPv4", "IPv6"]
    assert [":" in a for a in spec["clusterIPs"]] == [False, True]


async def test_local_traffic_gets_a_health_port_and_releases_it() -> None:
    cluster = Cluster()
    old = await cluster.create(service(type="LoadBalancer", externalTrafficPolicy="Local"))
    assert old["spec"]["healthCheckNodePort"]
    assert cluster.ranges.ports.used == 2
    new = copy.deepcopy(old)
    new["spec"]["type"] = "ClusterIP"
    spec = (await cluster.update(new, old))["spec"]
    for field in ("healthCheckNodePort", "externalTrafficPolicy", "allocateLoadBalancerNodePorts"):
        assert field not in spec
    assert "nodePort" not in spec["ports"][0]
    assert cluster.ranges.ports.used == 0
    assert spec["clusterIP"] == old["spec"]["clusterIP"]


async def test_external_name_and_back() -> None:
    cluster = Cluster()
    old = await cluster.create(service())
    named = copy.deepcopy(old)
    named["spec"]["type"] = "ExternalName"
    named["spec"]["externalName"] = "a.example.com"
    named = await cluster.update(named, old)
    assert "clusterIP" not in named["spec"]
    assert cluster.ranges.addresses[0].used == 0
    back = copy.deepcopy(named)
    back["spec"]["type"] = "ClusterIP"
    del back["spec"]["externalName"]
    assert (await cluster.update(back, named))["spec"]["clusterIP"]


async def test_an_update_that_names_no_address_keeps_it() -> None:
    cluster = Cluster()
    old = await cluster.create(service(type="NodePort"))
    new = service(type="NodePort")
    spec = (await cluster.update(new, old))["spec"]
    assert spec["clusterIP"] == old["spec"]["clusterIP"]
    assert spec["ports"] == old["spec"]["ports"]


async def test_dns_over_both_protocols_shares_a_node_port() -> None:
    ports = [
        {"name": "udp", "port": 53, "protocol": "UDP"},
        {"name": "tcp", "port": 53, "protocol": "TCP"},
    ]
    spec = (await Cluster().create(service(type="NodePort", ports=ports)))["spec"]
    assert spec["ports"][0]["nodePort"] == spec["ports"][1]["nodePort"]


REFUSED = [
    (service(ports=[]), "spec.ports: Required value"),
    (
        service(ports=[{"port": 1}, {"port": 2, "name": "b"}]),
        "spec.ports[0].name: Required value",
    ),
    (
        service(ports=[{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]),
        (
            'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,'
            '"Port":1,"TargetPort":0,"NodePort":0}'
        ),
    ),
    (
        service(ports=[{"port": 1, "nodePort": 30001}]),
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    ),
    (service(type="ExternalName"), "spec.externalName: Required value"),
    (
        service(type="Magic"),
        (
            'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", '
            '"LoadBalancer", "NodePort"'
        ),
    ),
    (
        service(clusterIP="nonsense"),
        (
            'spec.clusterIPs[0]: Invalid value: "nonsense": must be a valid IP address, (e.g. '
            "10.9.8.7 or 2001:db8::ffff)"
        ),
    ),
    (
        service(externalIPs=["127.0.0.1"]),
        (
            'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range '
            "(127.0.0.0/8, ::1/128)"
        ),
    ),
    (
        service(type="NodePort", clusterIP="None"),
        "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
    ),
    (
        service(externalTrafficPolicy="Local"),
        (
            'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for '
            "externally-accessible services"
        ),
    ),
    (
        service("web-"),
        (
            'metadata.name: Invalid value: "web-": a lowercase RFC 1123 label must consist of lower '
            "case alphanumeric characters or '-', and must start and end with an alphanumeric "
            "character (e.g. 'my-name',  or '123-abc', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ),
    ),
]


@pytest.mark.parametrize(("tree", "error"), REFUSED, ids=[e.split(":")[0] for _, e in REFUSED])
def test_refused(tree: dict[str, Any], error: str) -> None:
    assert error in errors_of("services", copy.deepcopy(tree))


async def test_a_set_address_stays() -> None:
    old = await Cluster().create(service())
    new = copy.deepcopy(old)
    new["spec"]["clusterIP"] = "10.43.0.99"
    assert change_errors("services", new, old) == [
        'spec.clusterIPs[0]: Invalid value: ["10.43.0.99"]: may not change once set'
    ]


def test_client_affinity_gets_a_timeout() -> None:
    tree = service(sessionAffinity="ClientIP")
    strategy("services").default(tree)
    assert tree["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
