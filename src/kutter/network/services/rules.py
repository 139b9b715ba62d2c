"""Programs the kernel with services: :class:`kutter.network.interface.ServiceRules`.

Between the pure renderer and ``nft``. Laws: every change is one transaction; unchanged input
starts no process; what differs from the last applied table is sent, and when the kernel refuses
that (somebody flushed the rules) the whole table is. UDP has no end of connection, so entries
that still lead to endpoints which are gone are removed from the connection table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from kutter.base.log import get_logger
from kutter.linux import nft
from kutter.linux.conntrack import delete_flow, list_udp_flows
from kutter.linux.links import list_addresses
from kutter.linux.netlink import NETLINK_NETFILTER, NetlinkSocket
from kutter.network.interface import NetworkConfig, ServicePort
from kutter.network.services.render import TABLE, render_services
from kutter.network.services.ruleset import Ruleset, render_change, render_full

_log = get_logger("network.services")

Front = tuple[str, int]  # address ("" for every address of the node) and port
Answers = Mapping[Front, frozenset[Front]]


def udp_answers(ports: Sequence[ServicePort]) -> dict[Front, frozenset[Front]]:
    """Who may answer for each UDP front of the services; pure."""
    answers: dict[Front, frozenset[Front]] = {}
    for port in ports:
        if port.protocol != "UDP":
            continue
        ends = frozenset((address, number) for address, number, _ in port.endpoints)
        for address in (*port.cluster_ips, *port.external_ips, *port.load_balancer_ips):
            answers[(address, port.port)] = ends
        if port.node_port:
            answers[("", port.node_port)] = ends
    return answers


class NftServiceRules:
    """Service rules in the network namespace of the calling process."""

    def __init__(self, config: NetworkConfig) -> None:
        self._config = config
        self._ports: tuple[ServicePort, ...] | None = None
        self._applied: Ruleset | None = None
        self._answers: Answers = {}
        self._lock = asyncio.Lock()  # transactions in the order of their calls
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="conntrack")

    async def apply(self, ports: Sequence[ServicePort]) -> None:
        """Raises NftError; the kernel then still holds the table from before."""
        wanted = tuple(ports)
        async with self._lock:
            if wanted == self._ports and self._applied is not None:
                return
            rules = render_services(wanted, self._config)
            await self._swap(rules)
            self._ports, self._applied = wanted, rules
            await self._forget_stale_flows(udp_answers(wanted))

    async def _swap(self, rules: Ruleset) -> None:
        if self._applied is not None:
            script = render_change(self._applied, rules)
            if not script:
                return
            try:
                await nft.run_script(script)
            except nft.NftError as error:
                _log.warning("service rules were changed by others, rewriting", error=str(error))
            else:
                return
        await nft.run_script(render_full(rules))

    async def repair(self) -> bool:
        """Put the table back when somebody removed it; answers whether it was missing."""
        async with self._lock:
            if self._applied is None or await self._is_there():
                return False
            await nft.run_script(render_full(self._applied))
            return True

    async def _is_there(self) -> bool:
        return await nft.list_objects("inet", self._config.table(TABLE)) is not None

    async def _forget_stale_flows(self, answers: Answers) -> None:
        before, self._answers = self._answers, answers
        suspects = {
            front: ends
            for front, ends in answers.items()
            if front not in before or before[front] - ends or not before[front]
        }
        suspects |= {front: frozenset() for front in before if front not in answers}
        if suspects:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, forget_flows, suspects)

    async def purge(self) -> None:
        async with self._lock:
            self._ports = self._applied = None
            self._answers = {}
            await nft.delete_table("inet", self._config.table(TABLE))

    def close(self) -> None:
        """Let the thread go; the rules stay."""
        self._thread.shutdown(wait=False)


def forget_flows(suspects: Answers) -> int:
    """Remove UDP entries to these fronts that others than the named answer; blocking."""
    with NetlinkSocket() as route:
        local = {address for _, address, _ in list_addresses(route)}
    removed = 0
    with NetlinkSocket(NETLINK_NETFILTER) as kernel:
        for flow in list_udp_flows(kernel):
            ends = suspects.get(flow.destination)
            if ends is None and flow.destination[0] in local:
                ends = suspects.get(("", flow.destination[1]))
            if ends is not None and flow.answered_by not in ends:
                delete_flow(kernel, flow)
                removed += 1
    return removed
