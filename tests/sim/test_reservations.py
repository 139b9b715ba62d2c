"""kill -9 of the server while quotas and cluster addresses are reserved, over HTTPS.

Clients create and delete ConfigMaps under a quota and services with node ports; the server dies
after a seeded number of answers and is started again. At no time may there be more than the quota allows;
in the end its status is the truth, and services and IPAddress objects belong together.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from typing import Any

import pytest
from bench.target import OwnServer
from tests.sim.seeds import seeds

from kutter.api.errors import ApiError
from kutter.api.types.core_v1 import ConfigMap, ResourceQuota, Service
from kutter.api.types.networking_v1 import IPAddress
from kutter.client.client import Client
from kutter.client.http import HttpTransport
from kutter.client.kubeconfig import load_connection

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

WRITERS, DEATHS, KEYS = 6, 3, 8
NAMESPACE, COUNT, HARD = "default", "count/configmaps", 5
DEADLINE_S = 90.0
LOST = (OSError, EOFError, asyncio.IncompleteReadError, TimeoutError)


class Crashes:
    """One seeded run against one server."""

    def __init__(self, server: OwnServer, seed: str) -> None:
        self.server = server
        self.seed = seed
        self.rng = random.Random(seed)
        self.answers = 0
        self.made = 0
        self.kill_at = self._next_death()
        self.died = asyncio.Event()
        self.over = False
        self.overspent: list[int] = []

    def _next_death(self) -> int:
        return self.answers + self.rng.randrange(40, 120)

    def client(self) -> Client:
        return Client(HttpTransport(load_connection(self.server.kubeconfig), timeout_s=10))

    def answered(self) -> None:
        self.answers += 1
        if self.answers == self.kill_at:
            os.kill(self.server.pid, signal.SIGKILL)
            self.died.set()

    async def write_on(self, number: int) -> None:
        rng, client = random.Random(f"{self.seed}/{number}"), self.client()
        while not self.over:
            view = rng.choice((ConfigMap, Service))
            name = f"x{rng.randrange(KEYS)}"
            try:
                if rng.random() < 0.6:
                    await client.create(view, self._body(view, name), NAMESPACE)
                    self.made += 1
                else:
                    await client.delete(view, name, NAMESPACE)
                if view is ConfigMap:
                    found = await client.list(ConfigMap, NAMESPACE)
                    self.overspent += [len(found.items)] if len(found.items) > HARD else []
            except ApiError:
                self.answered()
            except LOST:
                await client.close()
                client = self.client()
                await asyncio.sleep(0.05)
            else:
                self.answered()
        await client.close()

    def _body(self, view: type[ConfigMap] | type[Service], name: str) -> dict[str, Any]:
        body: dict[str, Any] = {"metadata": {"name": name}}
        if view is Service:
            body["spec"] = {"type": "NodePort", "ports": [{"port": 80}]}
        return body

    async def until(self, what: str, check: Any) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not await check():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"SEED={self.seed}: not in time: {what}") from None

    async def play(self) -> None:
        await self.server.start()
        client = self.client()

        async def knows_the_root_certificate() -> bool:
            return len((await client.list(ConfigMap, NAMESPACE)).items) == 1

        await self.until("the root certificate", knows_the_root_certificate)
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {COUNT: str(HARD)}}}
        await client.create(ResourceQuota, quota, NAMESPACE)

        async def is_counted() -> bool:
            return COUNT in (await client.get(ResourceQuota, "q", NAMESPACE)).status.used

        await self.until("the first count", is_counted)
        await client.close()
        async with asyncio.TaskGroup() as tasks:
            for number in range(WRITERS):
                tasks.create_task(self.write_on(number))
            for _ in range(DEATHS):
                await self.died.wait()
                self.died.clear()
                self.server.wait()
                self.kill_at = self._next_death()
                await self.server.start()
            await self.died.wait()
            self.over = True
            self.server.wait()
            await self.server.start()

    async def judge(self) -> None:
        client = self.client()

        async def is_true() -> bool:
            quota = await client.get(ResourceQuota, "q", NAMESPACE)
            there = len((await client.list(ConfigMap, NAMESPACE)).items)
            return quota.status.used == {COUNT: str(there)}

        async def belong_together() -> bool:
            services = (await client.list(Service)).items
            wanted = {
                s.spec.cluster_ip: f"{s.metadata.namespace}/{s.metadata.name}" for s in services
            }
            assert len(wanted) == len(services), "an address was given twice"
            found = {}
            for item in (await client.list(IPAddress)).items:
                parent = item.spec.parent_ref
                found[item.metadata.name] = f"{parent.namespace}/{parent.name}" if parent else ""
            return found == wanted

        await self.until("the quota's status is the truth", is_true)
        await self.until("services and addresses belong together", belong_together)
        services = (await client.list(Service)).items
        ports = [p.node_port for s in services for p in s.spec.ports if p.node_port]
        assert len(set(ports)) == len(ports)
        await client.close()


@pytest.mark.parametrize("seed", seeds(1))
async def test_a_killed_server_leaves_no_reservation_behind(seed):
    server = OwnServer()
    try:
        crashes = Crashes(server, seed)
        await crashes.play()
        await crashes.judge()
    finally:
        server.close()
    assert crashes.overspent == [], f"SEED={seed}"
    assert crashes.made > 30
