"""Rules of the pod network as text."""

from __future__ import annotations

import pytest

from kutter.network.addresses.bridge import stable_mac
from kutter.network.addresses.ipam import Lease
from kutter.network.addresses.pods import interface_name
from kutter.network.addresses.rules import render_base, render_host_ports
from kutter.network.interface import NetworkConfig
from kutter.network.services.render import render_services


def test_host_ports_come_and_go() -> None:
    lease = Lease(
        "a", "10.42.0.5", ((80, 8080, "TCP", ""), (53, 53, "UDP", "192.0.2.1"), (9, 0, "TCP", ""))
    )
    added = render_host_ports(NetworkConfig(), lease).splitlines()
    assert "host-ports { tcp . 8080 : 10.42.0.5 . 80 }" in added[0]
    assert "host-address-ports { 192.0.2.1 . udp . 53 : 10.42.0.5 . 53 }" in added[1]
    assert "hairpins { 10.42.0.5 . 10.42.0.5 }" in added[2]
    removed = render_host_ports(NetworkConfig(), lease, "delete").splitlines()
    assert removed[0] == "delete element inet kutter-pods host-ports { tcp . 8080 }"
    assert len(removed) == len(added) == 3


def test_wildcards_and_other_families() -> None:
    for wildcard in ("", "0.0.0.0", "::"):
        lease = Lease("a", "10.42.0.5", ((80, 8080, "", wildcard),))
        assert "host-ports { tcp . 8080" in render_host_ports(NetworkConfig(), lease)
    assert (
        render_host_ports(NetworkConfig(), Lease("a", "10.42.0.5", ((80, 80, "TCP", "fd00::1"),)))
        == ""
    )


def test_odd_values_are_refused() -> None:
    for port in ((80, 80, "TCP }; flush", ""), (80, 80, "TCP", "1.2.3.4; flush")):
        with pytest.raises(ValueError, match="flush"):
            render_host_ports(NetworkConfig(), Lease("a", "10.42.0.5", (port,)))


def test_table_is_replaced_in_one_go() -> None:
    text = render_base(NetworkConfig(), [Lease("a", "10.42.0.5", ((80, 8080, "TCP", ""),))])
    assert text.splitlines()[:2] == [
        "add table inet kutter-pods",
        "delete table inet kutter-pods",
    ]
    assert 'iifname "kutter0" ip daddr 127.0.0.0/8 drop' in text
    assert text.count("host-ports { tcp . 8080") == 1


def test_names_and_hardware_addresses() -> None:
    assert len(interface_name("x" * 64)) == 15
    mac = bytes.fromhex(stable_mac("10.42.0.5").replace(":", ""))
    assert len(mac) == 6
    assert mac[0] & 0b11 == 0b10  # local, one receiver
    assert stable_mac("a") != stable_mac("b")


def test_a_cluster_with_a_bridge_of_its_own_has_tables_of_its_own() -> None:
    lease = Lease("a", "10.52.0.5", ((80, 8080, "TCP", ""),))
    config = NetworkConfig(bridge="second0", pod_cidr="10.52.0.0/24")
    text = render_base(config, [lease]) + render_host_ports(config, lease, "delete")
    for line in text.splitlines():
        assert "inet kutter-pods-second0 " in f"{line} ", line
    assert render_services([], config).table == "kutter-services-second0"
    assert render_services([], NetworkConfig()).table == "kutter-services"
