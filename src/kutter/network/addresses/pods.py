"""Gives pods their addresses: :class:`kutter.network.interface.PodNetwork` on a bridge.

Between the runtime (which pins network namespaces) and the kernel. Laws: the lease is on disk
before anything is made and goes after everything is gone, so whatever a kill -9 leaves behind
has an owner's name and ``start`` finds it; ``attach`` and ``detach`` may be repeated. Netlink
calls block, so they run in two threads of our own; the loop's thread never changes namespace.

Routes to other nodes' pod ranges are the overlay's business and are added beside these.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from kutter.linux import nft
from kutter.linux.links import (
    SCOPE_LINK,
    add_address,
    add_route,
    add_veth,
    delete_link,
    find_link,
    list_links,
    set_hairpin,
    set_link,
    set_master,
)
from kutter.linux.netlink import NetlinkSocket, open_socket_in
from kutter.network.addresses import bridge
from kutter.network.addresses.foreign import close_forwarding, open_forwarding
from kutter.network.addresses.ipam import AddressPool, Lease
from kutter.network.addresses.rules import TABLE, render_base, render_host_ports
from kutter.network.interface import NetworkConfig

_POD_INTERFACE = "eth0"
_PREFIX = "kut"
_LOOPBACK_INDEX = 1
_PASSING_LOOKS, _PASSING_PAUSE_S = 500, 0.001
T = TypeVar("T")


def interface_name(sandbox_id: str) -> str:
    """The node's end of a sandbox's pair: fits the kernel's 15 characters."""
    return _PREFIX + hashlib.blake2b(sandbox_id.encode(), digest_size=6).hexdigest()


class BridgePodNetwork:
    """Pods on one node's bridge. ``folder`` keeps the leases across restarts.

    Must be used in the network namespace it was started in. ``attach`` raises
    :class:`~kutter.network.addresses.ipam.AddressesExhaustedError`, OSError from the kernel or
    NftError (a host port that is taken); it then has left nothing behind.
    """

    def __init__(self, config: NetworkConfig, folder: Path) -> None:
        self._config = config
        self._folder = folder
        self._pool: AddressPool | None = None
        self._master = 0
        self._mtu = 0
        # Two: a slow removal (the kernel waits for its readers) does not hold up an attach.
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="network")
        self._rules_lock = asyncio.Lock()  # order of nft scripts is order of leases

    @property
    def gateway(self) -> str:
        """The node's address on the bridge."""
        assert self._pool is not None, "start() comes first"
        return self._pool.gateway

    def addresses_of(self, sandbox_id: str) -> tuple[str, ...]:
        """What ``attach`` answered for this sandbox; empty when it holds nothing."""
        lease = self._pool.find(sandbox_id) if self._pool else None
        return (lease.address,) if lease else ()

    async def start(self, keep: Sequence[str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        pool = self._pool = AddressPool(self._config.pod_cidr, self._folder)
        gone = pool.unwanted(keep)
        await self._in_thread(lambda: self._start_links(pool, gone))
        for lease in gone:
            pool.release(lease.sandbox_id)
        await nft.run_script(render_base(self._config, pool.leases()))
        await open_forwarding(self._config.bridge)

    async def repair(self) -> bool:
        """Put back what others took away (bridge, rules); answers whether anything was amiss.

        Cheap enough for every half minute: it starts one process.
        """
        pool = self._pool
        assert pool is not None, "start() comes first"
        amiss = await self._in_thread(self._bridge_is_amiss)
        if amiss:
            await self._in_thread(lambda: self._start_links(pool, ()))
        async with self._rules_lock:
            if await nft.list_objects("inet", self._config.table(TABLE)) is None:
                await nft.run_script(render_base(self._config, pool.leases()))
                amiss = True
        return await open_forwarding(self._config.bridge) or amiss

    def _bridge_is_amiss(self) -> bool:
        with NetlinkSocket() as kernel:
            link = find_link(kernel, self._config.bridge)
        return link is None or not link.up or link.index != self._master

    def _start_links(self, pool: AddressPool, gone: Sequence[Lease]) -> None:
        with NetlinkSocket() as kernel:
            link = bridge.ensure_bridge(kernel, self._config, pool.gateway, pool.network.prefixlen)
            self._master, self._mtu = link.index, link.mtu
            dead = {lease.sandbox_id for lease in gone}
            kept = {
                interface_name(lease.sandbox_id)
                for lease in pool.leases()
                if lease.sandbox_id not in dead
            }
            for found in list_links(kernel):
                ours = found.master == link.index and found.name.startswith(_PREFIX)
                if found.name in kept and not ours:  # the bridge was made anew
                    set_master(kernel, found.index, link.index)
                    set_hairpin(kernel, found.index)
                elif ours and found.name not in kept:
                    delete_link(kernel, found.name)
        bridge.enable_forwarding(self._folder)

    async def attach(
        self, namespace: Path, sandbox_id: str, ports: Sequence[tuple[int, int, str, str]]
    ) -> tuple[str, ...]:
        pool = self._pool
        assert pool is not None, "start() comes first"
        lease = pool.acquire(sandbox_id, ports)
        try:
            await self._in_thread(lambda: self._make_pair(namespace, lease, pool.gateway))
            await self._change_host_ports(lease, "add")
        except BaseException:
            await asyncio.shield(self._undo(lease))
            raise
        return (lease.address,)

    async def _undo(self, lease: Lease) -> None:
        name = interface_name(lease.sandbox_id)
        await self._in_thread(lambda: _remove_link(name))
        if self._pool is not None:
            self._pool.release(lease.sandbox_id)

    def _make_pair(self, namespace: Path, lease: Lease, gateway: str) -> None:
        name = interface_name(lease.sandbox_id)
        opened = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with NetlinkSocket() as kernel, open_socket_in(opened) as inside:
                if find_link(kernel, name) is None:
                    add_veth(
                        kernel,
                        name,
                        master=self._master,
                        mtu=self._mtu,
                        peer_namespace=opened,
                        peer_name=_POD_INTERFACE,
                        peer_mac=bridge.stable_mac(lease.address),
                    )
                port = find_link(kernel, name)
                assert port is not None
                set_hairpin(kernel, port.index)
                set_link(inside, _LOOPBACK_INDEX)
                own = find_link(inside, _POD_INTERFACE)
                assert own is not None
                set_link(inside, own.index)
                add_address(inside, own.index, lease.address, 32)
                add_route(inside, own.index, f"{gateway}/32", scope=SCOPE_LINK)
                add_route(inside, own.index, "0.0.0.0/0", gateway=gateway)
                _wait_passing(inside, _POD_INTERFACE)
                _wait_passing(kernel, name)
        finally:
            os.close(opened)

    async def detach(self, sandbox_id: str) -> None:
        pool = self._pool
        assert pool is not None, "start() comes first"
        lease = pool.find(sandbox_id)
        name = interface_name(sandbox_id)
        await self._in_thread(lambda: _remove_link(name))
        if lease is not None:
            await self._change_host_ports(lease, "delete")
            pool.release(sandbox_id)

    async def _change_host_ports(self, lease: Lease, verb: str) -> None:
        script = render_host_ports(self._config, lease, verb)
        if script:
            async with self._rules_lock:
                await nft.run_script(script)

    async def purge(self) -> None:
        await self._in_thread(self._purge_links)
        await nft.delete_table("inet", self._config.table(TABLE))
        await close_forwarding(self._config.bridge)
        pool = self._pool or AddressPool(self._config.pod_cidr, self._folder)
        pool.purge()
        self._pool = None
        if not await nft.tables_like(TABLE):  # another cluster on this machine needs it on
            bridge.restore_forwarding(self._folder)

    def _purge_links(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with NetlinkSocket() as kernel:
            own = find_link(kernel, self._config.bridge)
            if own is None:
                return
            for found in list_links(kernel):
                if found.master == own.index and found.name.startswith(_PREFIX):
                    delete_link(kernel, found.name)
            delete_link(kernel, self._config.bridge)

    def close(self) -> None:
        """Let the threads go; pods keep their network."""
        self._threads.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _remove_link(name: str) -> None:
    with NetlinkSocket() as kernel:
        delete_link(kernel, name)


def _wait_passing(kernel: NetlinkSocket, name: str) -> None:
    """The kernel notices a new carrier a little later; packets sent before that are lost, and
    the pod's first connection would wait a second for its retry. Asking hurries it up.
    """
    for _ in range(_PASSING_LOOKS):
        link = find_link(kernel, name)
        if link is None or link.passing:
            return
        time.sleep(_PASSING_PAUSE_S)
