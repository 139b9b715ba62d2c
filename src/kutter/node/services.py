"""Services and their endpoints as the kernel's rules and the name server need them.

Between informers and :mod:`kutter.network`, which knows what they mean; changes are gathered for
a moment and programmed once. A pod that ends can wait here until the kernel leads no new
connection to it, so that a rolling update loses none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator

from kutter.api.types.core_v1 import Service
from kutter.api.types.discovery_v1 import EndpointSlice
from kutter.base.clock import Clock
from kutter.base.log import get_logger
from kutter.machinery.informer import Informer
from kutter.network.interface import DnsServer, ServiceRules
from kutter.network.services.from_api import dns_services, group_slices, service_ports

_log = get_logger("node.services")

GATHER_S = 0.01
# A pod without a readiness probe is Ready when its process has started; to listen takes a moment
# more. Until then those who listened before go on being led to.
LISTEN_S = 0.05
# Connections the kernel has just led to a pod are taken by its process within this time.
SETTLE_S = 0.02


class ServiceProgrammer:
    """Follows services and endpoint slices and programs rules and zone."""

    def __init__(
        self,
        services: Informer[Service],
        slices: Informer[EndpointSlice],
        *,
        node_name: str,
        rules: ServiceRules | None,
        dns: DnsServer | None,
        clock: Clock,
    ) -> None:
        self._services = services
        self._slices = slices
        self._node_name = node_name
        self._rules = rules
        self._dns = dns
        self._clock = clock
        self._changed = asyncio.Event()
        self._applied = asyncio.Condition()
        self._led: frozenset[tuple[str, str]] = frozenset()
        services.on_event(lambda _: self._changed.set())
        slices.on_event(lambda _: self._changed.set())

    async def run(self) -> None:
        """Program whenever something changed."""
        await self._services.wait_synced()
        await self._slices.wait_synced()
        self._changed.set()
        while True:
            await self._changed.wait()
            await self._clock.sleep(GATHER_S)
            if not self._led.issuperset(_pods_in_use(self._slices.items())):
                await self._clock.sleep(LISTEN_S)
            self._changed.clear()
            try:
                await self._program()
            except Exception as error:
                _log.error("services not programmed", error=repr(error))
                await self._clock.sleep(1.0)
                self._changed.set()

    async def drained(self, namespace: str, name: str, timeout_s: float) -> None:
        """Wait until no new connection is led to the pod; ``timeout_s`` at most."""
        pod = (namespace, name)
        if pod not in self._led:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._applied:
                await self._applied.wait_for(lambda: pod not in self._led)
        await self._clock.sleep(SETTLE_S)

    async def _program(self) -> None:
        led = frozenset(_pods_in_use(self._slices.items()))
        slices = group_slices(self._slices.items())
        services = sorted(
            self._services.items(), key=lambda s: (s.metadata.namespace, s.metadata.name)
        )
        if self._dns is not None:
            self._dns.set_services(dns_services(services, slices))
        if self._rules is not None:
            await self._rules.apply(service_ports(services, slices, self._node_name))
            async with self._applied:
                self._led = led
                self._applied.notify_all()


def _pods_in_use(slices: Iterable[EndpointSlice]) -> Iterator[tuple[str, str]]:
    """Namespace and name of the pods that new connections are led to."""
    for item in slices:
        for endpoint in item.endpoints:
            state, pod = endpoint.conditions, endpoint.target_ref
            if pod is not None and state.ready is not False and not state.terminating:
                yield pod.namespace or "", pod.name or ""
