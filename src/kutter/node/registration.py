"""Keeps this machine's Node object and its Lease in the API.

Owns the Node (status, the labels above) and its Lease in ``kube-node-lease``. Laws: the lease is
renewed on time whatever else happens; the status is reported when it changed and every five
minutes. https://kubernetes.io/docs/concepts/architecture/nodes/#node-heartbeats
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.coordination_v1 import Lease
from kutter.api.types.core_v1 import Node
from kutter.base.clock import Clock, render_micro_time
from kutter.base.log import get_logger
from kutter.client.client import Client
from kutter.node.node_object import NodeFacts, compute_node_status, default_labels
from kutter.node.options import NodeOptions

_log = get_logger("node.registration")

LEASE_NAMESPACE = "kube-node-lease"
RETRY_S = 0.5
Tree = dict[str, Any]


class Registration:
    """``gather`` reads the node's facts; ``node`` is the object as known last."""

    def __init__(
        self,
        client: Client,
        options: NodeOptions,
        gather: Callable[[], Awaitable[NodeFacts]],
        *,
        hostname: str,
        clock: Clock,
    ) -> None:
        self._client = client
        self._options = options
        self._gather = gather
        self._hostname = hostname
        self._clock = clock
        self._changed = asyncio.Event()
        self._reported: Tree | None = None
        self._lease: Tree | None = None
        self.node: Node | None = None
        self.registered = asyncio.Event()

    def report_soon(self) -> None:
        """Something the status tells of has changed."""
        self._changed.set()

    async def register(self) -> Node:
        """Create the Node, or bring labels and status of an existing one up to date."""
        while True:
            try:
                self.node = await self._register()
            except (ApiError, OSError, TimeoutError) as error:
                _log.warning("node not registered yet", error=str(error))
                await self._clock.sleep(RETRY_S)
            else:
                self.registered.set()
                return self.node

    async def _register(self) -> Node:
        options, name = self._options, self._options.node_name
        facts = await self._gather()
        labels = default_labels(options, facts.machine, self._hostname)
        try:
            node = await self._client.get(Node, name)
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise
            status = compute_node_status(options, facts, self._hostname, None, self._clock.now())
            body: Tree = {
                "kind": "Node",
                "apiVersion": "v1",
                "metadata": {"name": name, "labels": labels},
                "spec": {"taints": [dict(t) for t in options.taints]} if options.taints else {},
                "status": status,
            }
            await self._client.create(Node, body)
        else:
            if any(node.metadata.labels.get(k) != v for k, v in labels.items()):
                await self._client.patch(Node, name, {"metadata": {"labels": labels}})
        await self._report()
        return await self._client.get(Node, name)

    async def refresh(self) -> None:
        """Learn what others changed of the Node: its labels. Raises what the client raises."""
        self.node = await self._client.get(Node, self._options.node_name)

    async def _report(self) -> None:
        """Write the status if it says something new."""
        name = self._options.node_name
        facts = await self._gather()
        node = self.node = await self._client.get(Node, name)
        status = compute_node_status(self._options, facts, self._hostname, node, self._clock.now())
        await self._client.patch(
            Node, name, {"status": status}, kind="strategic", subresource="status"
        )
        self._reported = _essence(status)

    async def report_forever(self) -> None:
        """Report on change (at most once a second) and every ``status_report_s``."""
        while True:
            timer = asyncio.ensure_future(self._clock.sleep(self._options.status_report_s))
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({timer, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
                changed.cancel()
            self._changed.clear()
            try:
                await self._report()
            except ApiError as error:
                if is_reason(error, "NotFound"):
                    await self.register()
                    continue
                _log.warning("node status not reported", error=str(error))
                self._changed.set()
            except (OSError, TimeoutError) as error:
                _log.warning("node status not reported", error=str(error))
                self._changed.set()
            await self._clock.sleep(1.0)

    async def heartbeat_forever(self) -> None:
        """Renew the lease, for ever."""
        while True:
            try:
                await self._renew()
            except (ApiError, OSError, TimeoutError) as error:
                _log.warning("lease not renewed", error=str(error))
                self._lease = None
                await self._clock.sleep(1.0)
                continue
            await self._clock.sleep(self._options.heartbeat_s)

    async def _renew(self) -> None:
        name, options = self._options.node_name, self._options
        now = render_micro_time(self._clock.now())
        if self._lease is None:
            try:
                self._lease = await self._client.get_tree(Lease, name, LEASE_NAMESPACE)
            except ApiError as error:
                if not is_reason(error, "NotFound"):
                    raise
                meta: Tree = {"name": name, "namespace": LEASE_NAMESPACE}
                if self.node is not None:
                    owner = {
                        "apiVersion": "v1",
                        "kind": "Node",
                        "name": name,
                        "uid": self.node.metadata.uid,
                    }
                    meta["ownerReferences"] = [owner]
                spec = {
                    "holderIdentity": name,
                    "leaseDurationSeconds": options.lease_duration_s,
                    "renewTime": now,
                }
                body = {
                    "kind": "Lease",
                    "apiVersion": "coordination.k8s.io/v1",
                    "metadata": meta,
                    "spec": spec,
                }
                self._lease = await self._client.create(Lease, body, LEASE_NAMESPACE)
                return
        self._lease["spec"] |= {
            "holderIdentity": name,
            "leaseDurationSeconds": options.lease_duration_s,
            "renewTime": now,
        }
        self._lease = await self._client.update(Lease, self._lease, LEASE_NAMESPACE)


def _essence(status: Tree) -> Tree:
    """A status without what changes every time."""
    conditions = [
        {k: v for k, v in c.items() if k != "lastHeartbeatTime"} for c in status["conditions"]
    ]
    return {**status, "conditions": conditions}
