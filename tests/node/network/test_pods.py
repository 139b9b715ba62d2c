"""Pod addresses with real interfaces and sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from tests.node.network.topology import (
    CLIENT_IP,
    NODE_IP,
    Namespace,
    run_scenario,
    unfilter_bridges,
)

from kutter.linux import nft
from kutter.linux.links import find_link, list_links
from kutter.linux.netlink import NetlinkSocket
from kutter.network.addresses.pods import BridgePodNetwork, interface_name
from kutter.network.interface import NetworkConfig
from kutter.network.services.rules import NftServiceRules

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
]


def _links() -> dict[str, object]:
    with NetlinkSocket() as kernel:
        return {link.name: link for link in list_links(kernel)}


# The machine may run a cluster of its own beside the tests.
BEFORE = set(_links())


async def traffic(node) -> None:
    one, two = await node.pod("one"), await node.pod("two")
    await node.serve(one, 80)
    await node.serve(two, 80)
    await node.serve(node.host, 7000)
    await node.serve(node.client, 7000)
    assert await node.ask(one, two.address, 80) == ("two", one.address)
    assert await node.ask(node.host, two.address, 80) == ("two", "10.42.0.1")
    assert await node.ask(one, NODE_IP, 7000) == ("node", one.address)
    assert await node.ask(one, node.network.gateway, 7000) == ("node", one.address)
    assert await node.ask(one, "127.0.0.1", 80) == ("one", "127.0.0.1")
    # Leaving the cluster it wears the node's address.
    assert await node.ask(one, CLIENT_IP, 7000) == ("client", NODE_IP)
    with NetlinkSocket() as kernel:
        assert find_link(kernel, "kutter0").mtu == 1400  # the uplink's


async def bridged_packets_unfiltered(node) -> None:
    unfilter_bridges()
    await traffic(node)


async def node_loopback_is_closed_to_pods(node) -> None:
    """CVE-2020-8558; shown open without our rules first, so that the test can fail."""
    one = await node.pod("one")
    loop = asyncio.get_running_loop()
    inside = node.host.socket(socket.SOCK_DGRAM)
    inside.bind(("127.0.0.1", 7001))

    def route_loopback_out() -> None:
        for command in (
            ["ip", "address", "delete", "127.0.0.1/8", "dev", "lo"],
            ["ip", "route", "add", "127.0.0.1", "via", "10.42.0.1", "dev", "eth0"],
        ):
            subprocess.run(command, check=True)

    one.run(route_loopback_out)
    attacker = one.socket(socket.SOCK_DGRAM)
    await loop.sock_connect(attacker, ("127.0.0.1", 7001))
    subprocess.run(["nft", "delete", "table", "inet", "kutter-pods"], check=True)
    await loop.sock_sendall(attacker, b"open")
    assert await asyncio.wait_for(loop.sock_recv(inside, 9), 30) == b"open"
    await node.network.repair()
    await loop.sock_sendall(attacker, b"shut")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(loop.sock_recv(inside, 9), 0.3)
    attacker.close()
    inside.close()


async def host_ports(node) -> None:
    web = await node.pod("web", [(80, 8080, "TCP", ""), (53, 5353, "UDP", "")])
    picky = await node.pod("picky", [(80, 8081, "TCP", "127.0.0.1")])
    other = await node.pod("other")
    await node.serve(web, 80)
    await node.serve_udp(web, 53)
    await node.serve(picky, 80)
    assert await node.ask(node.client, NODE_IP, 8080) == ("web", CLIENT_IP)
    assert await node.ask_udp(node.client, NODE_IP, 5353) == ("web", CLIENT_IP)
    assert (await node.ask(node.host, "127.0.0.1", 8080))[0] == "web"
    assert (await node.ask(node.host, NODE_IP, 8080))[0] == "web"
    assert await node.ask(other, NODE_IP, 8080) == ("web", other.address)
    assert (await node.ask(web, NODE_IP, 8080))[0] == "web"  # hairpin
    assert (await node.ask(node.host, "127.0.0.1", 8081))[0] == "picky"
    with pytest.raises(OSError):
        await node.ask(node.client, NODE_IP, 8081)
    from kutter.linux.nft import NftError

    third = Namespace("third")
    with pytest.raises(NftError):
        await node.network.attach(third.path, "third", [(1, 8080, "TCP", "")])
    assert interface_name("third") not in _links()
    assert node.network.addresses_of("third") == ()
    await node.network.detach("web")
    with pytest.raises(OSError):
        await node.ask(node.client, NODE_IP, 8080)
    await node.network.attach(third.path, "third", [(1, 8080, "TCP", "")])


async def restart(node) -> None:
    """A new agent finds what an agent that was killed left behind."""
    one, two = await node.pod("one", [(80, 8080, "TCP", "")]), await node.pod("two")
    await node.serve(one, 80)
    reader, writer = await node.dial(two, one.address, 80)
    again = BridgePodNetwork(node.config, node.folder / "network")
    await again.start(["one", "two"])
    writer.write(b"?\n")
    assert (await asyncio.wait_for(reader.readline(), 30)).split()[0] == b"one"
    assert (await node.ask(node.client, NODE_IP, 8080))[0] == "one"
    assert await again.attach(one.path, "one", [(80, 8080, "TCP", "")]) == (one.address,)
    await again.start(["one"])
    assert interface_name("two") not in _links()
    assert interface_name("one") in _links()
    fresh = Namespace("fresh")
    (address,) = await again.attach(fresh.path, "fresh", [])
    assert address not in (one.address, two.address)  # the released one comes last
    again.close()


async def purge(node) -> None:
    before_links = set(_links()) - {"kutter0"}
    await node.pod("one", [(80, 8080, "TCP", "")])
    await node.rules.apply([])
    subprocess.run(["nft", "add table inet foreign"], check=True)
    await node.rules.purge()
    await node.network.purge()
    assert set(_links()) == before_links
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True)
    assert rules.stdout.split() == ["table", "inet", "foreign", "{", "}"]
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    assert "10.4" not in routes
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"
    assert not list((node.folder / "network").rglob("*"))
    await node.network.purge()  # safe without anything


async def others_take_things_away(node) -> None:
    one, two = await node.pod("one", [(80, 8080, "TCP", "")]), await node.pod("two")
    await node.serve(one, 80)
    assert await node.network.repair() is False
    subprocess.run(["ip", "link", "delete", "kutter0"], check=True)
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    assert await node.network.repair() is True
    assert await node.network.repair() is False
    assert await node.ask(two, one.address, 80) == ("one", two.address)
    assert (await node.ask(node.client, NODE_IP, 8080))[0] == "one"


async def foreign_drop_policy(node) -> None:
    """Docker's forwarding policy must not cut pods off."""
    one = await node.pod("one", [(80, 8080, "TCP", "")])
    await node.serve(one, 80)
    subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
    with pytest.raises(TimeoutError):
        await node.ask(node.client, NODE_IP, 8080, within_s=1)
    assert await node.network.repair() is True
    assert await node.network.repair() is False
    assert (await node.ask(node.client, NODE_IP, 8080))[0] == "one"
    await node.network.purge()
    rules = subprocess.run(
        ["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=True
    ).stdout
    assert rules == "-P FORWARD DROP\n"


async def another_cluster_beside(node) -> None:
    """Two clusters in one network: taking one down leaves the other's rules and forwarding."""
    one = await node.pod("one")
    await node.serve(one, 80)
    config = NetworkConfig(
        cluster_cidr="10.52.0.0/16",
        pod_cidr="10.52.0.0/24",
        service_cidr="10.53.0.0/16",
        node_addresses=(NODE_IP,),
        bridge="second0",
    )
    with tempfile.TemporaryDirectory() as folder:
        second, rules = BridgePodNetwork(config, Path(folder)), NftServiceRules(config)
        await second.start([])
        await rules.apply([])
        space = Namespace("other")
        await second.attach(space.path, space.name, [(80, 8081, "TCP", "")])
        tables = await nft.tables_like("kutter-")
        assert {"kutter-pods", "kutter-pods-second0", "kutter-services-second0"} <= set(tables)
        await rules.purge()
        await second.purge()
        rules.close()
        second.close()
    assert [name for name in await nft.tables_like("kutter-") if "second0" in name] == []
    assert "kutter-pods" in await nft.tables_like("kutter-")
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    assert "second0" not in _links()
    assert (await node.ask(node.host, one.address, 80))[0] == "one"


async def many_pods(node) -> None:
    spaces = [Namespace(f"n{number}") for number in range(40)]
    for space in spaces:
        await node.network.attach(space.path, space.name, [])
    addresses = {node.network.addresses_of(space.name) for space in spaces}
    assert len(addresses) == 40
    await asyncio.gather(*(node.network.detach(space.name) for space in spaces))
    assert [name for name in _links() if name.startswith("kut")] == ["kutter0"]


@pytest.mark.parametrize(
    "scenario",
    [
        traffic,
        bridged_packets_unfiltered,
        node_loopback_is_closed_to_pods,
        host_ports,
        restart,
        purge,
        others_take_things_away,
        foreign_drop_policy,
        another_cluster_beside,
        many_pods,
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_pods(scenario) -> None:
    run_scenario(scenario)


def test_leaves_nothing_behind() -> None:
    ours = {name for name in set(_links()) - BEFORE if name.startswith("kut")}
    assert ours == set()
