"""Writers who race for one object on a durable store: nobody who named no version loses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.apiserver_harness import Api, pod, start_server

from kutter.apiserver.applying import Application
from kutter.apiserver.ports import Change
from kutter.store.durable import SqliteStore

CONFIGS = "/api/v1/namespaces/default/configmaps"
APPLY = {"content-type": "application/apply-patch+yaml"}
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


async def test_an_apply_that_lost_still_says_what_was_sent(tmp_path: Path) -> None:
    """The attempt before filled in defaults: they are not the applier's."""
    store = await SqliteStore.open(tmp_path / "store.db")
    try:
        api = Api(await start_server(store))
        sets = "/apis/apps/v1/namespaces/default/deployments"
        template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
        spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
        await api.ok("POST", sets, {"metadata": {"name": "raced"}, "spec": spec})
        attempts = 0
        plain = Application.apply

        def count(application: Application, live: Any) -> Any:
            nonlocal attempts
            attempts += 1
            return plain(application, live)

        async def apply(manager: str) -> None:
            more = {"containers": [{"name": manager, "image": "r.example/x:1"}]}
            body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "raced"}}
            body["spec"] = {"template": {"spec": more}}
            await api.ok(
                "PATCH", f"{sets}/raced", body, query={"fieldManager": manager}, headers=APPLY
            )

        with patch.object(Application, "apply", count):
            await asyncio.gather(*(apply(f"m{number}") for number in range(4)))
        assert attempts > 4
        found = await api.ok("GET", f"{sets}/raced")
        names = {item["name"] for item in found["spec"]["template"]["spec"]["containers"]}
        assert {f"m{number}" for number in range(4)} <= names
        entries = found["metadata"]["managedFields"]
        owned = [e["fieldsV1"] for e in entries if e["operation"] == "Apply"]
        assert len(owned) == 4
        for fields in owned:
            (item,) = fields["f:spec"]["f:template"]["f:spec"]["f:containers"].values()
            assert set(item) == {".", "f:name", "f:image"}
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
