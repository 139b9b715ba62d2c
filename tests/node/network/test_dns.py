"""The name server where pods look for it: at the cluster's DNS address."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from dataclasses import replace

import pytest
from tests.node.network.topology import CLIENT_IP, run_scenario

from kutter.network.dns.codec import A, Message, Question, parse_message, render_message
from kutter.network.dns.server import ClusterDns
from kutter.network.dns.upstream import Upstream
from kutter.network.interface import DnsService, ServicePort

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
]
NAME = "web.default.svc.cluster.local"


async def ask(where, address: str, name: str = NAME) -> Message:
    loop = asyncio.get_running_loop()
    own = where.socket(socket.SOCK_DGRAM)
    await loop.sock_connect(own, (address, 53))
    await loop.sock_sendall(own, render_message(Message(5, 0x100, (Question(name, A),))))
    data = await asyncio.wait_for(loop.sock_recv(own, 4096), 30)
    own.close()
    return parse_message(data)


async def ask_tcp(node, where, address: str) -> Message:
    reader, writer = await node.dial(where, address, 53)
    query = render_message(Message(5, 0x100, (Question(NAME, A),)))
    writer.write(struct.pack("!H", len(query)) + query)
    length = struct.unpack("!H", await reader.readexactly(2))[0]
    answer = parse_message(await reader.readexactly(length))
    writer.close()
    return answer


async def from_pods_and_node(node) -> None:
    upstream = Upstream(servers=[(CLIENT_IP, 53)])
    dns = ClusterDns(node.config, upstream)
    dns.set_services([DnsService("default", "web", ("10.43.1.1",))])
    await dns.start([node.config.cluster_dns])
    # The kube-dns service exists, without endpoints: that must not shut our server's door.
    service = ServicePort("kube-system", "kube-dns", "dns", "UDP", 53, (node.config.cluster_dns,))
    await node.rules.apply([service, replace(service, protocol="TCP", port_name="dns-tcp")])
    pod = await node.pod("pod")
    for where in (pod, node.host):
        answer = await ask(where, node.config.cluster_dns)
        assert [record.data for record in answer.answers] == ["10.43.1.1"]
        answer = await ask_tcp(node, where, node.config.cluster_dns)
        assert [record.data for record in answer.answers] == ["10.43.1.1"]

    def echo(data: bytes) -> bytes:
        query = parse_message(data)
        return render_message(replace(query, flags=0x8183))

    class Outside(asyncio.DatagramProtocol):
        def connection_made(self, transport) -> None:
            self.transport = transport

        def datagram_received(self, data, peer) -> None:
            self.transport.sendto(echo(data), peer)

    outside = node.client.socket(socket.SOCK_DGRAM)
    outside.bind(("0.0.0.0", 53))
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Outside, sock=outside)
    assert (await ask(pod, node.config.cluster_dns, "example.com")).rcode == 3
    transport.close()
    await dns.close()


async def pods_take_over(node) -> None:
    """A name server in pods behind the same service address is used instead of ours."""
    pod, other = await node.pod("pod"), await node.pod("other")
    dns = ClusterDns(node.config, Upstream(servers=[]))
    await dns.start([node.config.cluster_dns])
    await node.serve_udp(other, 5300)
    ends = ((other.address, 5300, True),)
    await node.rules.apply(
        [
            ServicePort(
                "kube-system", "dns", "", "UDP", 53, (node.config.cluster_dns,), endpoints=ends
            )
        ]
    )
    assert (await node.ask_udp(pod, node.config.cluster_dns, 53))[0] == "other"
    await dns.close()


@pytest.mark.parametrize(
    "scenario", [from_pods_and_node, pods_take_over], ids=lambda scenario: scenario.__name__
)
def test_dns(scenario) -> None:
    run_scenario(scenario)
