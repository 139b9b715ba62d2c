"""Kubernetes DNS specification 1.1.0, section by section."""

from __future__ import annotations

import pytest

from kutter.network.dns import codec
from kutter.network.dns.codec import AAAA, ANY, CNAME, NO_SUCH_NAME, OK, PTR, SOA, SRV, TXT, A
from kutter.network.dns.zone import Zone
from kutter.network.interface import DnsService, NetworkConfig

ZONE = Zone(
    NetworkConfig(),
    [
        DnsService(
            "default",
            "web",
            ("10.43.1.1", "fd00::1"),
            ports=(("http", "TCP", 80), ("", "TCP", 81)),
        ),
        DnsService(
            "prod",
            "db",
            ports=(("pg", "TCP", 5432),),
            endpoints=(
                ("db-0", "10.42.0.7", True),
                ("db-1", "10.42.1.7", False),
                ("", "10.42.2.7", True),
            ),
        ),
        DnsService(
            "prod", "early", endpoints=(("e-0", "10.42.0.9", False),), publish_not_ready=True
        ),
        DnsService("prod", "empty"),
        DnsService("prod", "outside", external_name="api.example.com."),
        DnsService("prod", "alias", external_name="web.default.svc.cluster.local"),
    ],
)
SVC = "svc.cluster.local"


def ask(name: str, kind: int = A):
    found = ZONE.answer(name, kind)
    return found.rcode, [record.data for record in found.records]


def test_schema_version() -> None:
    assert ask("dns-version.cluster.local", TXT) == (OK, [(b"1.1.0",)])


def test_cluster_ip() -> None:
    assert ask(f"web.default.{SVC}") == (OK, ["10.43.1.1"])
    assert ask(f"web.default.{SVC}", AAAA) == (OK, ["fd00::1"])
    found = ZONE.answer(f"_http._tcp.web.default.{SVC}", SRV)
    assert [r.data for r in found.records] == [(0, 100, 80, f"web.default.{SVC}")]
    assert [r.data for r in found.extra] == ["10.43.1.1", "fd00::1"]
    assert ask("1.1.43.10.in-addr.arpa", PTR) == (OK, [f"web.default.{SVC}"])


def test_headless() -> None:
    assert ask(f"db.prod.{SVC}") == (OK, ["10.42.0.7", "10.42.2.7"])  # the ready ones
    assert ask(f"db-0.db.prod.{SVC}") == (OK, ["10.42.0.7"])
    assert ask(f"10-42-2-7.db.prod.{SVC}") == (OK, ["10.42.2.7"])
    assert ask(f"db-1.db.prod.{SVC}") == (NO_SUCH_NAME, [])
    found = ZONE.answer(f"_pg._tcp.db.prod.{SVC}", SRV)
    assert [(r.data.port, r.data.target) for r in found.records] == [
        (5432, f"db-0.db.prod.{SVC}"),
        (5432, f"10-42-2-7.db.prod.{SVC}"),
    ]
    assert [r.data for r in found.extra] == ["10.42.0.7", "10.42.2.7"]
    assert ask("7.0.42.10.in-addr.arpa", PTR) == (OK, [f"db-0.db.prod.{SVC}"])
    assert ask("7.1.42.10.in-addr.arpa", PTR) == (NO_SUCH_NAME, [])
    assert ask(f"e-0.early.prod.{SVC}") == (OK, ["10.42.0.9"])


def test_external_name() -> None:
    found = ZONE.answer(f"outside.prod.{SVC}", A)
    assert [(r.type, r.data) for r in found.records] == [(CNAME, "api.example.com")]
    assert found.follow == "api.example.com"
    assert ask(f"alias.prod.{SVC}") == (OK, [f"web.default.{SVC}", "10.43.1.1"])


def test_alias_loop_ends() -> None:
    loop = DnsService("a", "one", external_name="one.a.svc.cluster.local")
    found = Zone(NetworkConfig(), [loop]).answer(f"one.a.{SVC}", A)
    assert found.rcode == OK
    assert len(found.records) <= 8


def test_pod() -> None:
    assert ask("1-2-3-4.default.pod.cluster.local") == (OK, ["1.2.3.4"])
    assert ask("fd00--7.default.pod.cluster.local", AAAA) == (OK, ["fd00::7"])
    assert ask("1-2-3.default.pod.cluster.local") == (NO_SUCH_NAME, [])


@pytest.mark.parametrize(
    "name",
    [
        "cluster.local",
        SVC,
        f"default.{SVC}",
        f"empty.prod.{SVC}",
        f"_tcp.web.default.{SVC}",
        "pod.cluster.local",
        "default.pod.cluster.local",
    ],
)
def test_exists_without_address(name) -> None:
    assert ask(name) == (OK, [])


@pytest.mark.parametrize(
    "name",
    [
        "nothing.cluster.local",
        f"nobody.{SVC}",
        f"absent.default.{SVC}",
        f"x.web.default.{SVC}",
        f"_smtp._tcp.web.default.{SVC}",
        f"_http._udp.web.default.{SVC}",
        f"_udp.web.default.{SVC}",
        f"x.outside.prod.{SVC}",
        "9.9.43.10.in-addr.arpa",
    ],
)
def test_no_such_name(name) -> None:
    assert ask(name) == (NO_SUCH_NAME, [])


def test_what_the_zone_covers() -> None:
    assert ZONE.covers("cluster.local")
    assert ZONE.covers("9.9.43.10.in-addr.arpa")
    assert not ZONE.covers("xcluster.local")
    assert not ZONE.covers("8.8.8.8.in-addr.arpa")
    assert not ZONE.covers("a.1.43.10.in-addr.arpa")


def test_apex() -> None:
    assert ask("cluster.local", SOA)[1] == [ZONE.soa().data]
    assert ask("cluster.local", codec.NS) == (OK, ["ns.dns.cluster.local"])
    assert ask("ns.dns.cluster.local") == (OK, ["10.43.0.10"])
    assert len(ask(f"web.default.{SVC}", ANY)[1]) == 2
