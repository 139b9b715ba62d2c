"""Many writers of one object, on a store that takes its time to be durable."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from tests.apiserver_harness import Api, start_server

from kutter.store.durable import SqliteStore

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
WRITERS = 10


class _CountingStore(SqliteStore):
    """Counts attempts to write."""

    attempts = 0

    async def put(self, key: str, value: bytes, **options: Any) -> Any:
        self.attempts += 1
        return await super().put(key, value, **options)


async def test_each_lost_race_waits_for_the_winner(tmp_path: Path):
    store = await _CountingStore.open(tmp_path / "store.sqlite")
    server = await start_server(store)
    try:
        api = Api(server)
        await api.ok("POST", MAPS, {"metadata": {"name": "shared"}, "data": {}})
        store.attempts = 0
        patches = [
            api.call(
                "PATCH",
                f"{MAPS}/shared",
                {"data": {f"key-{i}": "v"}},
                headers={"content-type": "application/merge-patch+json"},
            )
            for i in range(WRITERS)
        ]
        answers = await asyncio.gather(*patches)
        assert [a.status for a in answers] == [200] * WRITERS
        data = (await api.ok("GET", f"{MAPS}/shared"))["data"]
        assert len(data) == WRITERS
        # One winner per commit, and each loser tries once for each: nobody spins in between.
        assert store.attempts <= WRITERS * (WRITERS + 1) // 2
    finally:
        await server.stop()
        await store.close()


async def test_two_who_delete_the_same_pods_are_never_told_of_a_conflict(tmp_path: Path):
    store = await SqliteStore.open(tmp_path / "store.sqlite")
    server = await start_server(store)
    try:
        api = Api(server)
        names = [f"p{i}" for i in range(WRITERS)]
        container = {"name": "c", "image": "i"}
        for name in names:
            tree = {"metadata": {"name": name}, "spec": {"containers": [container]}}
            await api.ok("POST", PODS, tree)
        twice = [api.call("DELETE", f"{PODS}/{name}") for name in names for _ in range(2)]
        statuses = Counter(a.status for a in await asyncio.gather(*twice))
        assert set(statuses) <= {200, 404}, statuses
        assert statuses[200] >= WRITERS
        assert (await api.ok("GET", PODS))["items"] == []
    finally:
        await server.stop()
        await store.close()
