"""Pod address ranges: every node gets its own block of the cluster's range.

Owns: ``spec.podCIDR(s)`` of nodes that have none. Invariants: blocks never overlap; a node keeps
its block for life.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from kutter.api.types.core_v1 import Node
from kutter.client.client import Client
from kutter.machinery.controller import Result, Source, Terminal, own_key
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import InformerFactory

BLOCK_PREFIX = 24


def next_block(cluster_cidr: str, used: Iterable[str], prefix: int = BLOCK_PREFIX) -> str | None:
    """The first free block of the range; None when all are taken. Pure."""
    taken = {ipaddress.ip_network(u) for u in used}
    for block in ipaddress.ip_network(cluster_cidr).subnets(new_prefix=prefix):
        if block not in taken and not any(block.overlaps(t) for t in taken):
            return str(block)
    return None


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
        self._nodes = informers.informer(Node)
        self._given: dict[str, str] = {}  # given by us, perhaps not seen in the informer yet

    def sources(self) -> Sequence[Source]:
        return [Source(self._nodes, own_key)]

    async def reconcile(self, key: str) -> Result:
        node = self._nodes.get(key)
        if node is None:
            self._given.pop(key, None)
            return Result()
        if node.spec.pod_cidr:
            self._given[key] = node.spec.pod_cidr
            return Result()
        used = {n.spec.pod_cidr for n in self._nodes.items() if n.spec.pod_cidr}
        block = self._given.get(key) or next_block(
            self._cluster_cidr, used | set(self._given.values())
        )
        if block is None:
            self._recorder.event(
                node, "Warning", "CIDRNotAvailable", "Node status is now: CIDRNotAvailable"
            )
            raise Terminal(f"no block is left in {self._cluster_cidr}")
        self._given[key] = block
        await self._client.patch(Node, key, {"spec": {"podCIDR": block, "podCIDRs": [block]}})
        return Result(f"gave it {block}")
