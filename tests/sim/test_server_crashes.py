"""kill -9 of the whole server under load, over HTTPS, judged by the same promises.

Clients write ConfigMaps and watch them; the server dies after a seeded number of answers and is
started again. Watchers resume from what they saw last; a 410 makes them list anew, as upstream's
clients do.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bench.target import OwnServer
from tests.sim.promises import Listing, Run, Seen, Session, Write, find_broken_promises
from tests.sim.seeds import seeds

from kutter.api.errors import ApiError
from kutter.api.types.core_v1 import ConfigMap
from kutter.client.client import Client
from kutter.client.http import HttpTransport
from kutter.client.kubeconfig import load_connection

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

WRITERS, WATCHERS, DEATHS, KEYS = 6, 3, 3, 8
NAMESPACE = "default"
# What a client sees of a server that dies: refused, reset, cut off, silent.
LOST = (OSError, EOFError, asyncio.IncompleteReadError, TimeoutError)


class Crashes:
    """One seeded run against one server."""

    def __init__(self, server: OwnServer, seed: str) -> None:
        self.server = server
        self.seed = seed
        self.rng = random.Random(seed)
        self.run = Run()
        self.answers = 0
        self.kill_at = self.rng.randrange(100, 300)
        self.died = asyncio.Event()
        self.over = False

    def client(self) -> Client:
        return Client(HttpTransport(load_connection(self.server.kubeconfig), timeout_s=10))

    def answered(self) -> None:
        self.answers += 1
        if self.answers == self.kill_at:
            os.kill(self.server.pid, signal.SIGKILL)
            self.died.set()

    async def write_on(self, number: int) -> None:
        rng, client, counter = random.Random(f"{self.seed}/{number}"), self.client(), 0
        known: dict[str, str] = {}
        while not self.over:
            counter += 1
            key = f"m{rng.randrange(KEYS)}"
            write = Write(key, f"{number}.{counter}" if rng.random() < 0.75 else None)
            self.run.writes.append(write)
            try:
                await self._send(client, rng, known, write)
            except ApiError as error:
                # A 5xx may have happened or not.
                write.outcome = "refused" if error.code < 500 else "unknown"
                known.pop(key, None)
                self.answered()
            except LOST:
                await client.close()
                client = self.client()
                await asyncio.sleep(0.05)
            else:
                self.answered()
        await client.close()

    async def _send(
        self, client: Client, rng: random.Random, known: dict[str, str], write: Write
    ) -> None:
        believed = known.get(write.key, "")
        if write.value is None:
            if rng.random() < 0.5 and believed:
                write.expected = int(believed)
            await client.delete(
                ConfigMap,
                write.key,
                NAMESPACE,
                resource_version=believed if write.expected else None,
            )
            known.pop(write.key, None)
            # The answer of a deletion does not tell its revision: the watchers will.
            write.outcome = "unknown"
            return
        tree: dict[str, Any] = {
            "metadata": {"name": write.key, "namespace": NAMESPACE},
            "data": {"value": write.value},
        }
        if believed:
            if rng.random() < 0.7:
                tree["metadata"]["resourceVersion"] = believed
                write.expected = int(believed)
            stored = await client.update(ConfigMap, tree)
        else:
            write.expected = 0
            stored = await client.create(ConfigMap, tree, NAMESPACE)
        known[write.key] = stored["metadata"]["resourceVersion"]
        write.outcome, write.revision = "acknowledged", int(known[write.key])

    async def watch_on(self, number: int) -> None:
        client, name, after = self.client(), f"watcher-{number}", 0
        while not self.over:
            try:
                if not after:
                    after = (await self.list(client)).revision
                session = Session(name, after)
                self.run.sessions.append(session)
                async for kind, seen in self._events(client, after):
                    if kind == "BOOKMARK":
                        session.bookmark = seen.revision
                    else:
                        session.events.append(seen)
                    after = session.told_until
            except ApiError as error:
                after = 0 if error.code == 410 else after
                await asyncio.sleep(0.02)
            except LOST:
                await client.close()
                client = self.client()
                await asyncio.sleep(0.05)
        await client.close()

    async def _events(self, client: Client, after: int) -> AsyncIterator[tuple[str, Seen]]:
        watch = client.watch(ConfigMap, NAMESPACE, resource_version=str(after), timeout_s=5)
        async for batch in watch:
            for event in batch:
                view = event.object
                name, revision = view.metadata.name, int(view.metadata.resource_version)
                if event.kind == "BOOKMARK" or name.startswith("m"):
                    value = (view.data or {}).get("value") if event.kind != "DELETED" else None
                    yield event.kind, Seen(name, value, revision)

    async def list(self, client: Client) -> Listing:
        found = await client.list(ConfigMap, NAMESPACE)
        values = {
            item.metadata.name: ((item.data or {})["value"], int(item.metadata.resource_version))
            for item in found.items
            if item.metadata.name.startswith("m")
        }
        listing = Listing(int(found.resource_version), values)
        self.run.listings.append(listing)
        return listing

    async def play(self) -> None:
        await self.server.start()
        await self.list(client := self.client())
        async with asyncio.TaskGroup() as tasks:
            for number in range(WRITERS):
                tasks.create_task(self.write_on(number))
            for number in range(WATCHERS):
                tasks.create_task(self.watch_on(number))
            for _ in range(DEATHS):
                await self.died.wait()
                self.died.clear()
                self.server.wait()
                self.kill_at = self.answers + self.rng.randrange(100, 300)
                await self.server.start()
            await self.died.wait()
            self.over = True
            self.server.wait()
            await self.server.start()
        await client.close()
        self.run.final = await self.list(client := self.client())
        await client.close()


@pytest.mark.parametrize("seed", seeds(2))
async def test_a_killed_server_keeps_its_promises(seed):
    server = OwnServer()
    try:
        crashes = Crashes(server, seed)
        await crashes.play()
    finally:
        server.close()
    problems = find_broken_promises(crashes.run)
    assert not problems, f"SEED={seed}: " + "\n".join(problems)
    acknowledged = [w for w in crashes.run.writes if w.outcome == "acknowledged"]
    assert len(acknowledged) > 100
    told = {e.revision for s in crashes.run.sessions for e in s.events}
    assert len(told & {w.revision for w in acknowledged}) > 100
