"""Services and their endpoints as the kernel's rules and the name server need them.

Between informers and :mod:`kutter.network`, which knows what they mean; changes are gathered for
a moment and programmed once. A pod that ends can wait here until the kernel leads no new
connection to it, so that a rolling update loses none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from kutter.api.types.core_v1 import Service
from kutter.api.types.discovery_v1 import EndpointSlice
from kutter.base.clock import Clock
from kutter.base.log import get_logger
from kutter.machinery.informer import Informer
from kutter.network.interface import DnsServer, ServiceRules
from kutter.network.services.from_api import (
    SERVICE_NAME_LABEL,
    dns_services,
    group_slices,
    service_ports,
)

_log = get_logger("node.services")

Name = tuple[str, str]  # namespace and name
Led = Mapping[Name, AbstractSet[Name]]

GATHER_S = 0.01
# A pod without a readiness probe is Ready when its process has started; to listen takes a moment
# more. Until then those who listened before go on being led to; where nobody did, nothing is won.
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
        self._led: Led = {}
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
            if _are_joined(self._led, _pods_in_use(self._slices.items())):
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
        if not self._is_led_to(pod):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._applied:
                await self._applied.wait_for(lambda: not self._is_led_to(pod))
        await self._clock.sleep(SETTLE_S)

    def _is_led_to(self, pod: Name) -> bool:
        return any(pod in pods for pods in self._led.values())

    async def _program(self) -> None:
        led = _pods_in_use(self._slices.items())
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


def _pods_in_use(slices: Iterable[EndpointSlice]) -> Led:
    """The pods that new connections are led to, by service."""
    found: dict[Name, set[Name]] = {}
    for item in slices:
        meta = item.metadata
        service = meta.labels.get(SERVICE_NAME_LABEL, meta.name)
        pods = found.setdefault((meta.namespace, service), set())
        for endpoint in item.endpoints:
            state, pod = endpoint.conditions, endpoint.target_ref
            if pod is not None and state.ready is not False and not state.terminating:
                pods.add((pod.namespace or "", pod.name or ""))
    return found


def _are_joined(before: Led, now: Led) -> bool:
    """Whether pods come to a service beside, or instead of, others that serve it."""
    return any(before.get(service) and pods - before[service] for service, pods in now.items())
