"""Writers who race for one object on a durable store: nobody who named no version loses."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.apiserver_harness import Api, pod, start_server

from kutter.apiserver.ports import Change
from kutter.store.durable import SqliteStore

CONFIGS = "/api/v1/namespaces/default/configmaps"
MERGE = {"content-type": "application/merge-patch+json"}


async def test_patches_without_a_version_all_count(tmp_path: Path) -> None:
    """The winner's write is still on its way to the disk when the others try again."""
    store = await SqliteStore.open(tmp_path / "store.db")
    try:
        api = Api(await start_server(store))
        await api.ok("POST", CONFIGS, {"metadata": {"name": "raced"}})

        async def write(key: str) -> None:
            for number in range(20):
                body = {"data": {key: str(number)}}
                await api.ok("PATCH", f"{CONFIGS}/raced", body, headers=MERGE)

        await asyncio.gather(*(write(f"key-{n}") for n in range(4)))
        data = (await api.ok("GET", f"{CONFIGS}/raced"))["data"]
        assert data == {f"key-{n}": "19" for n in range(4)}
    finally:
        await store.close()


async def test_deletion_wins_against_patches(tmp_path: Path) -> None:
    """A patch that loses to a deletion says so: not found."""
    store = await SqliteStore.open(tmp_path / "store.db")
    try:
        api = Api(await start_server(store))
        await api.ok("POST", CONFIGS, {"metadata": {"name": "raced"}})
        body = {"data": {"late": "1"}}
        deleted, patched = await asyncio.gather(
            api.call("DELETE", f"{CONFIGS}/raced"),
            api.call("PATCH", f"{CONFIGS}/raced", body, headers=MERGE),
        )
        assert (deleted.status, patched.status) == (200, 404)
    finally:
        await store.close()


async def test_nobody_comes_between_the_last_state_and_the_end(tmp_path: Path) -> None:
    """The pod's last state is told by an update first; who acts on that finds it gone."""
    store = await SqliteStore.open(tmp_path / "store.db")
    try:
        api = Api(await start_server(store))
        pods = "/api/v1/namespaces/default/pods"
        now = {"gracePeriodSeconds": 0}
        for number in range(5):
            await api.ok("POST", pods, pod(f"p{number}"))
            first, second = await asyncio.gather(
                api.call("DELETE", f"{pods}/p{number}", now), _delete_when_marked(api, number)
            )
            assert (first.status, second) == (200, False)
    finally:
        await store.close()


async def _delete_when_marked(api: Api, number: int) -> bool:
    """As the garbage collector of pods does; whether there was something left to delete."""
    storage = api.server.storage_of("", "pods")
    marked = asyncio.Event()

    def look(changes: list[Change]) -> None:
        if any(c.current.tree["metadata"].get("deletionTimestamp") for c in changes):
            marked.set()

    api.server.caches.on_change("pods", look)
    async with asyncio.timeout(30):
        await marked.wait()
    gone = await storage.store.delete(f"/registry/pods/default/p{number}")
    return gone is not None
