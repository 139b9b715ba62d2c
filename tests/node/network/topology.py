"""A node in a network namespace of its own, with pods and an outside client; real sockets.

A test's scenario is a coroutine ``scenario(node)``. :func:`run_scenario` runs it in a new
process that has left our network namespace: when the process ends the kernel takes back
everything in it, so a failing test leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kutter.linux.links import add_address, add_route, add_veth, find_link, set_link
from kutter.linux.netlink import NetlinkSocket, _set_network_namespace, open_socket_in
from kutter.network.addresses.pods import BridgePodNetwork
from kutter.network.interface import NetworkConfig
from kutter.network.services.rules import NftServiceRules

NODE_IP = "192.0.2.1"
CLIENT_IP = "192.0.2.9"
_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """Another network namespace: sockets can be made in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = ""
        with ThreadPoolExecutor(1) as thread:
            self.descriptor = thread.submit(self._create).result()
        self.path = Path(f"/proc/self/fd/{self.descriptor}")

    def _create(self) -> int:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        assert _libc.unshare(_NEWNET) == 0, os.strerror(ctypes.get_errno())
        made = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _set_network_namespace(home)
        os.close(home)
        return made

    def run(self, work):
        """Run a blocking function in this namespace."""

        def inside():
            home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            _set_network_namespace(self.descriptor)
            try:
                return work()
            finally:
                _set_network_namespace(home)
                os.close(home)

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(inside).result()

    def socket(self, kind: int) -> socket.socket:
        made = self.run(lambda: socket.socket(socket.AF_INET, kind))
        made.setblocking(False)
        return made


class Host:
    """The node's own namespace, with the same shape."""

    name = "node"
    address = NODE_IP

    def socket(self, kind: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, kind)
        made.setblocking(False)
        return made


class _UdpEcho(asyncio.DatagramProtocol):
    def __init__(self, name: str) -> None:
        self.name = name

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data, peer) -> None:
        self.transport.sendto(f"{self.name} {peer[0]} {data.decode()}".encode(), peer)


class Node:
    """The node under test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = NetworkConfig(node_addresses=(NODE_IP,))
        self.network = BridgePodNetwork(self.config, folder / "network")
        self.rules = NftServiceRules(self.config)
        self.host = Host()
        self.client = Namespace("client")
        self._servers: list = []
        self._asked = 0

    def connect_outside(self) -> None:
        with NetlinkSocket() as kernel:
            set_link(kernel, 1)
            add_veth(
                kernel,
                "uplink",
                master=0,
                mtu=1400,
                peer_namespace=self.client.descriptor,
                peer_name="eth0",
                peer_mac="0e:00:00:00:00:09",
            )
            own = find_link(kernel, "uplink")
            add_address(kernel, own.index, NODE_IP, 24)
            set_link(kernel, own.index)

        def outside() -> None:
            with open_socket_in(self.client.descriptor) as kernel:
                set_link(kernel, 1)
                there = find_link(kernel, "eth0")
                set_link(kernel, there.index)
                add_address(kernel, there.index, CLIENT_IP, 24)

        with ThreadPoolExecutor(1) as thread:
            thread.submit(outside).result()
        with NetlinkSocket() as kernel:
            add_route(kernel, own.index, "0.0.0.0/0", gateway=CLIENT_IP)

    async def pod(self, name: str, ports=()) -> Namespace:
        made = Namespace(name)
        (made.address,) = await self.network.attach(made.path, name, ports)
        return made

    async def serve(self, where, port: int, address: str = "0.0.0.0") -> None:
        """TCP: one connection, lines in, ``<server> <peer address>`` back for each."""

        async def answer(reader, writer) -> None:
            with contextlib.suppress(OSError):
                while await reader.readline():
                    peer = writer.get_extra_info("peername")[0]
                    writer.write(f"{where.name} {peer}\n".encode())
            writer.close()

        listener = where.socket(socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(64)
        self._servers.append(await asyncio.start_server(answer, sock=listener))

    async def serve_udp(self, where, port: int) -> None:
        listener = where.socket(socket.SOCK_DGRAM)
        listener.bind(("0.0.0.0", port))
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _UdpEcho(where.name), sock=listener
        )
        self._servers.append(transport)

    async def dial(self, where, address: str, port: int, within_s: float = 30):
        made = where.socket(socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(within_s):
                await asyncio.get_running_loop().sock_connect(made, (address, port))
        except BaseException:
            made.close()
            raise
        return await asyncio.open_connection(sock=made)

    async def ask(self, where, address: str, port: int, within_s: float = 30) -> tuple[str, str]:
        """(who answered, which address it saw) over a new TCP connection."""
        reader, writer = await self.dial(where, address, port, within_s)
        writer.write(b"?\n")
        async with asyncio.timeout(within_s):
            who, seen = (await reader.readline()).decode().split()
        writer.close()
        return who, seen

    async def ask_udp(self, where, address: str, port: int, made=None) -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        own = made or where.socket(socket.SOCK_DGRAM)
        try:
            await loop.sock_connect(own, (address, port))
            for _ in range(20):  # the first datagram may meet an unresolved neighbour
                self._asked += 1
                await loop.sock_sendall(own, str(self._asked).encode())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        while True:
                            data = await loop.sock_recv(own, 512)
                            who, seen, number = data.decode().split()
                            if int(number) == self._asked:  # not a late one
                                return who, seen
            raise TimeoutError
        finally:
            if made is None:
                own.close()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        self.network.close()
        self.rules.close()


Scenario = Callable[[Node], Awaitable[None]]


def unfilter_bridges() -> None:
    """Let bridged packets pass by the filter, as where the module for it is not loaded."""
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if switch.exists():
        switch.write_text("0")


async def _main(scenario: Scenario) -> None:
    assert _libc.unshare(_NEWNET) == 0, os.strerror(ctypes.get_errno())
    # A new namespace starts with the machine's setting, which another cluster may have changed.
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder))
        node.connect_outside()
        await node.network.start([])
        try:
            async with asyncio.timeout(40):
                await scenario(node)
        finally:
            await node.close()


def run_scenario(scenario: Scenario, **environment: str) -> None:
    """Run it in its own process and namespace; fails with what the process wrote."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, scenario.__module__, scenario.__name__],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
        env=os.environ | environment | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert done.returncode == 0, done.stderr[-4000:]


if __name__ == "__main__":
    asyncio.run(_main(getattr(importlib.import_module(sys.argv[1]), sys.argv[2])))
