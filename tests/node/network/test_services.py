"""Services with real kernel rules and sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from dataclasses import replace

import pytest
from tests.node.network.topology import CLIENT_IP, NODE_IP, run_scenario, unfilter_bridges

from kutter.network.interface import ServicePort

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
]

IP = "10.43.1.1"
WEB = ServicePort("default", "web", "http", "TCP", 80, (IP,))
DNS = ServicePort("default", "names", "udp", "UDP", 53, ("10.43.1.2",))
OPEN = replace(WEB, node_port=30080, load_balancer_ips=(NODE_IP,), external_ips=("198.51.100.7",))
REMOTE = ("203.0.113.77", 80, False)  # an endpoint on another node; nothing answers there


async def two_pods(node):
    one, two = await node.pod("one"), await node.pod("two")
    await node.serve(one, 8080)
    await node.serve(two, 8080)
    return one, two


def at(*pods, port=8080):
    return tuple((pod.address, port, True) for pod in pods)


async def cluster_address(node) -> None:
    one, two = await two_pods(node)
    caller = await node.pod("caller")
    await node.rules.apply([replace(WEB, endpoints=at(one, two))])
    seen = [await node.ask(caller, IP, 80) for _ in range(40)]
    assert {who for who, _ in seen} == {"one", "two"}
    assert {address for _, address in seen} == {caller.address}  # the source is kept
    assert (await node.ask(node.host, IP, 80))[0] in {"one", "two"}
    with pytest.raises(ConnectionRefusedError):
        await node.ask(caller, IP, 81)  # a port the service does not have
    with pytest.raises(TimeoutError):
        await node.ask(caller, "10.43.9.9", 80, within_s=1)  # nobody's address


async def hairpin(node) -> None:
    one = await node.pod("one")
    await node.serve(one, 8080)
    await node.rules.apply([replace(OPEN, endpoints=at(one))])
    for address, port in ((IP, 80), (NODE_IP, 30080), (NODE_IP, 80), ("198.51.100.7", 80)):
        assert (await node.ask(one, address, port))[0] == "one"


async def hairpin_without_bridge_filter(node) -> None:
    unfilter_bridges()
    await hairpin(node)
    await node.rules.purge()


async def from_outside(node) -> None:
    one, two = await two_pods(node)
    await node.rules.apply([replace(OPEN, endpoints=at(one, two))])
    for port in (30080, 80):
        seen = [await node.ask(node.client, NODE_IP, port) for _ in range(20)]
        assert {who for who, _ in seen} == {"one", "two"}
        assert {address for _, address in seen} == {"10.42.0.1"}  # Cluster policy masquerades
    for address in ("127.0.0.1", NODE_IP, node.network.gateway):
        assert (await node.ask(node.host, address, 30080))[0] in {"one", "two"}
    assert (await node.ask(node.host, NODE_IP, 80))[0] in {"one", "two"}
    pod = await node.pod("caller")
    assert (await node.ask(pod, NODE_IP, 30080))[0] in {"one", "two"}


async def node_endpoint(node) -> None:
    """An endpoint in the node's own network (hostNetwork, the API server)."""
    await node.serve(node.host, 6443)
    await node.rules.apply([replace(WEB, node_port=30443, endpoints=((NODE_IP, 6443, True),))])
    pod = await node.pod("caller")
    assert await node.ask(pod, IP, 80) == ("node", pod.address)
    for address, port in ((IP, 80), (NODE_IP, 30443), ("127.0.0.1", 30443)):
        assert (await node.ask(node.host, address, port))[0] == "node"
    assert (await node.ask(node.client, NODE_IP, 30443))[0] == "node"


async def external_local(node) -> None:
    one, _ = await two_pods(node)
    local = replace(OPEN, external_traffic_local=True, endpoints=(*at(one), REMOTE))
    await node.rules.apply([local])
    for _ in range(10):
        assert await node.ask(node.client, NODE_IP, 30080) == ("one", CLIENT_IP)
        assert await node.ask(node.client, NODE_IP, 80) == ("one", CLIENT_IP)
    await node.rules.apply([replace(local, endpoints=(REMOTE,))])
    with pytest.raises(TimeoutError):  # dropped, not refused
        await node.ask(node.client, NODE_IP, 30080, within_s=1)
    # From inside, the policy does not bind: a remote endpoint (here: a pod) is used.
    pod = await node.pod("caller")
    await node.rules.apply([replace(local, endpoints=((one.address, 8080, False),))])
    assert await node.ask(pod, NODE_IP, 30080) == ("one", pod.address)
    assert (await node.ask(node.host, "127.0.0.1", 30080))[0] == "one"


async def internal_local(node) -> None:
    one, two = await two_pods(node)
    pod = await node.pod("caller")
    mixed = (*at(one), (two.address, 8080, False))
    await node.rules.apply([replace(WEB, internal_traffic_local=True, endpoints=mixed)])
    assert {(await node.ask(pod, IP, 80))[0] for _ in range(20)} == {"one"}
    only_far = ((two.address, 8080, False),)
    await node.rules.apply([replace(WEB, internal_traffic_local=True, endpoints=only_far)])
    with pytest.raises(TimeoutError):
        await node.ask(pod, IP, 80, within_s=1)


async def affinity(node) -> None:
    one, two = await two_pods(node)
    sticky = replace(OPEN, affinity_timeout_s=2, endpoints=at(one, two))
    await node.rules.apply([sticky])
    pods = [await node.pod(f"caller{number}") for number in range(6)]
    firsts = {pod.name: (await node.ask(pod, IP, 80))[0] for pod in pods}
    for _ in range(5):
        for pod in pods:
            assert (await node.ask(pod, IP, 80))[0] == firsts[pod.name]
    # Another service changes: nobody is moved.
    await node.rules.apply([sticky, replace(DNS, endpoints=at(one))])
    for pod in pods:
        assert (await node.ask(pod, IP, 80))[0] == firsts[pod.name]
    assert len({(await node.ask(node.client, NODE_IP, 30080))[0] for _ in range(10)}) == 1
    # The endpoint goes: its clients move to the one that is left.
    await node.rules.apply([replace(sticky, endpoints=at(two))])
    assert {(await node.ask(pod, IP, 80))[0] for pod in pods} == {"two"}
    # The timeout passes: a client may land anywhere again.
    await node.rules.apply([replace(sticky, affinity_timeout_s=1, endpoints=at(one, two))])
    who = set()
    async with asyncio.timeout(30):
        while len(who) < 2:
            who.add((await node.ask(pods[0], IP, 80))[0])
            await asyncio.sleep(1.1)  # the law under test is this passing of time


async def no_endpoints(node) -> None:
    pod = await node.pod("caller")
    await node.rules.apply([OPEN, DNS])
    for where, address, port in (
        (pod, IP, 80),
        (node.host, IP, 80),
        (pod, NODE_IP, 30080),
        (node.host, "127.0.0.1", 30080),
        (node.client, NODE_IP, 30080),
        (node.client, NODE_IP, 80),
    ):
        with pytest.raises(ConnectionRefusedError):
            await node.ask(where, address, port)
    with pytest.raises(ConnectionRefusedError):
        await node.ask_udp(pod, "10.43.1.2", 53)


async def udp_endpoint_change(node) -> None:
    one, two = await node.pod("one"), await node.pod("two")
    await node.serve_udp(one, 5353)
    await node.serve_udp(two, 5353)
    service = replace(DNS, node_port=30053)
    await node.rules.apply([replace(service, endpoints=at(one, port=5353))])
    caller = await node.pod("caller")
    # One socket, one source port: without clean-up its packets would follow the old entry.
    inner = caller.socket(socket.SOCK_DGRAM)
    outer = node.client.socket(socket.SOCK_DGRAM)
    assert (await node.ask_udp(caller, "10.43.1.2", 53, inner))[0] == "one"
    assert (await node.ask_udp(node.client, NODE_IP, 30053, outer))[0] == "one"
    await node.rules.apply([replace(service, endpoints=at(two, port=5353))])
    assert (await node.ask_udp(caller, "10.43.1.2", 53, inner))[0] == "two"
    assert (await node.ask_udp(node.client, NODE_IP, 30053, outer))[0] == "two"
    inner.close()
    outer.close()


async def established_survive(node) -> None:
    one, two = await two_pods(node)
    pod = await node.pod("caller")
    await node.rules.apply([replace(WEB, endpoints=at(one))])
    reader, writer = await node.dial(pod, IP, 80)
    for change in ([replace(WEB, endpoints=at(two))], [WEB], []):
        await node.rules.apply(change)
        writer.write(b"?\n")
        assert (await asyncio.wait_for(reader.readline(), 30)).split()[0] == b"one"
    writer.close()


async def rollout_loses_no_connection(node) -> None:
    """Endpoints change all the time while clients connect: nobody is refused."""
    one, two = await two_pods(node)
    pod = await node.pod("caller")
    await node.rules.apply([replace(WEB, endpoints=at(one))])
    stop = asyncio.Event()

    async def load() -> int:
        count = 0
        while not stop.is_set():
            await node.ask(pod, IP, 80)
            count += 1
        return count

    async with asyncio.TaskGroup() as group:
        loads = [group.create_task(load()) for _ in range(4)]
        for number in range(30):
            ends = (at(one), at(one, two), at(two))[number % 3]
            await node.rules.apply([replace(WEB, endpoints=ends)])
        stop.set()
    assert sum(task.result() for task in loads) > 100


async def source_ranges(node) -> None:
    one = await node.pod("one")
    await node.serve(one, 8080)
    fenced = replace(OPEN, endpoints=at(one), load_balancer_source_ranges=("198.18.0.0/15",))
    await node.rules.apply([fenced])
    with pytest.raises(TimeoutError):
        await node.ask(node.client, NODE_IP, 80, within_s=1)
    assert (await node.ask(node.client, NODE_IP, 30080))[0] == "one"
    wide = replace(fenced, load_balancer_source_ranges=("198.18.0.0/15", f"{CLIENT_IP}/32"))
    await node.rules.apply([wide])
    assert (await node.ask(node.client, NODE_IP, 80))[0] == "one"


async def beside_others(node) -> None:
    """Foreign tables stay; a flush of everything is noticed and repaired."""
    one = await node.pod("one")
    await node.serve(one, 8080)
    wanted = [replace(WEB, endpoints=at(one))]
    await node.rules.apply(wanted)
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    assert await node.rules.repair() is True
    assert await node.rules.repair() is False
    assert (await node.ask(node.host, IP, 80))[0] == "one"
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    subprocess.run(["nft", "add table inet foreign"], check=True)
    await node.rules.apply([replace(OPEN, endpoints=at(one))])  # a change over rules that are gone
    assert (await node.ask(node.host, IP, 80))[0] == "one"
    await node.rules.purge()
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    assert tables.stdout.split("\n")[:-1] == ["table inet foreign"]


async def incremental_equals_full(node) -> None:
    """Whatever the way, the kernel ends with the same table."""
    one, two = await node.pod("one"), await node.pod("two")
    steps = [
        [],
        [replace(OPEN, endpoints=at(one)), DNS],
        [
            replace(OPEN, endpoints=at(one, two), affinity_timeout_s=9),
            replace(DNS, node_port=30053),
        ],
        [replace(OPEN, endpoints=at(two), affinity_timeout_s=9, external_traffic_local=True)],
        [replace(OPEN, load_balancer_source_ranges=("10.0.0.0/8",), endpoints=(*at(one), REMOTE))],
        [WEB],
    ]

    def table() -> list[str]:
        out = subprocess.run(
            ["nft", "list", "table", "inet", "kutter-services"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return sorted(out.split("\n"))

    for step in steps:
        await node.rules.apply(step)
        changed = table()
        await node.rules.purge()
        await node.rules.apply(step)
        assert changed == table()
        await node.rules.apply(steps[1])
        await node.rules.apply(step)
        assert changed == table()


@pytest.mark.parametrize(
    "scenario",
    [
        cluster_address,
        hairpin,
        hairpin_without_bridge_filter,
        from_outside,
        node_endpoint,
        external_local,
        internal_local,
        affinity,
        no_endpoints,
        udp_endpoint_change,
        established_survive,
        rollout_loses_no_connection,
        source_ranges,
        beside_others,
        incremental_equals_full,
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_services(scenario) -> None:
    run_scenario(scenario)
