"""Services and their endpoints as the kernel's rules and the name server need them.

Between informers and :mod:`kutter.network`, which knows what they mean; changes are gathered for
a moment and programmed once.
"""

from __future__ import annotations

import asyncio

from kutter.api.types.core_v1 import Service
from kutter.api.types.discovery_v1 import EndpointSlice
from kutter.base.clock import Clock
from kutter.base.log import get_logger
from kutter.machinery.informer import Informer
from kutter.network.interface import DnsServer, ServiceRules
from kutter.network.services.from_api import dns_services, group_slices, service_ports

_log = get_logger("node.services")

GATHER_S = 0.01


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
            self._changed.clear()
            try:
                await self._program()
            except Exception as error:
                _log.error("services not programmed", error=repr(error))
                await self._clock.sleep(1.0)
                self._changed.set()

    async def _program(self) -> None:
        slices = group_slices(self._slices.items())
        services = sorted(
            self._services.items(), key=lambda s: (s.metadata.namespace, s.metadata.name)
        )
        if self._dns is not None:
            self._dns.set_services(dns_services(services, slices))
        if self._rules is not None:
            await self._rules.apply(service_ports(services, slices, self._node_name))
