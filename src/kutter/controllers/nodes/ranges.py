"""Pod address ranges: every node gets its own block of the cluster's range.

Owns: ``spec.podCIDR(s)`` of nodes that have none. Invariants: blocks never overlap; a node keeps
its block for life.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence

from kutter.api.types.core_v1 import Node
from kutter.client.client import Client
from kutter.machinery.controller import Result, Source, Terminal, own_key
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import Change, InformerFactory

BLOCK_PREFIX = 24


class Blocks:
    """Which blocks of a range are taken. Asking and giving cost the same however many there are.

    What is taken may be of another size than the blocks (given by hand): it takes every block it
    touches. Texts outside the range, or none at all, take nothing.
    """

    def __init__(self, cluster_cidr: str, prefix: int = BLOCK_PREFIX) -> None:
        network = ipaddress.ip_network(cluster_cidr)
        # A range smaller than a block is one block.
        self._prefix = max(prefix, network.prefixlen)
        self._network = network
        self._shift = network.max_prefixlen - self._prefix
        self._count = 1 << (self._prefix - network.prefixlen)
        self._takers: Counter[int] = Counter()
        self._hint = 0  # every block before it is taken

    def take(self, text: str) -> None:
        """``text`` is a node's from now on; to be released as often as taken."""
        self._takers.update(self._touched(text))

    def release(self, text: str) -> None:
        for index in self._touched(text):
            self._takers[index] -= 1
            if self._takers[index] <= 0:
                del self._takers[index]
                self._hint = min(self._hint, index)

    def free(self) -> str | None:
        """The first free block; None when all are taken."""
        while self._hint < self._count and self._hint in self._takers:
            self._hint += 1
        if self._hint >= self._count:
            return None
        start = int(self._network.network_address) + (self._hint << self._shift)
        address = type(self._network.network_address)(start)
        return f"{address}/{self._prefix}"

    def _touched(self, text: str) -> range:
        try:
            found = ipaddress.ip_network(text)
        except ValueError:
            return range(0)
        if found.version != self._network.version or not found.overlaps(self._network):
            return range(0)
        base = int(self._network.network_address)
        first = max(0, int(found.network_address) - base) >> self._shift
        last = min(self._count - 1, (int(found.broadcast_address) - base) >> self._shift)
        return range(first, last + 1)


class NodeRangeController:
    name = "node-ipam"

    def __init__(
        self,
        client: Client,
        informers: InformerFactory,
        recorder: EventRecorder,
        cluster_cidr: str,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._cluster_cidr = cluster_cidr
        self._blocks = Blocks(cluster_cidr)
        # What each node has, or was given by us and perhaps not seen to have yet.
        self._given: dict[str, str] = {}
        self._nodes = informers.informer(Node)
        self._nodes.on_event(self._node_changed)

    def sources(self) -> Sequence[Source]:
        return [Source(self._nodes, own_key)]

    async def reconcile(self, key: str) -> Result:
        node = self._nodes.get(key)
        if node is None or node.spec.pod_cidr:
            return Result()
        block = self._given.get(key) or self._blocks.free()
        if block is None:
            self._recorder.event(
                node, "Warning", "CIDRNotAvailable", "Node status is now: CIDRNotAvailable"
            )
            raise Terminal(f"no block is left in {self._cluster_cidr}")
        self._give(key, block)
        await self._client.patch(Node, key, {"spec": {"podCIDR": block, "podCIDRs": [block]}})
        return Result(f"gave it {block}")

    def _node_changed(self, change: Change[Node]) -> None:
        if change.new is None:
            self._give(change.key, "")
        elif change.new.spec.pod_cidr:
            self._give(change.key, change.new.spec.pod_cidr)

    def _give(self, key: str, block: str) -> None:
        """``block`` is the node's (empty: it is gone)."""
        before = self._given.pop(key, "")
        if before:
            self._blocks.release(before)
        if block:
            self._given[key] = block
            self._blocks.take(block)
