"""Large lists shared for a moment, and never past the moment they were true."""

from __future__ import annotations

import asyncio

from tests.apiserver_harness import Api, start_server

from kutter.apiserver import list_bodies
from kutter.apiserver.list_bodies import ListBodies

CONFIGS = "/api/v1/namespaces/default/configmaps"
LARGE = b"x" * list_bodies.SMALL_BYTES


async def test_a_body_is_given_at_its_revision_only():
    bodies = ListBodies()
    bodies.put(7, ("a",), LARGE)
    assert bodies.get(7, ("a",)) is LARGE
    assert bodies.get(8, ("a",)) is None
    assert bodies.get(7, ("b",)) is None
    bodies.put(8, ("b",), LARGE)
    assert bodies.get(8, ("a",)) is None
    assert len(bodies) == 1
    bodies.stop()


async def test_what_is_held_is_bounded_and_small_ones_are_not_held():
    bodies = ListBodies(limit_bytes=len(LARGE) * 2)
    bodies.put(1, ("small",), b"x")
    assert len(bodies) == 0
    for number in range(5):
        bodies.put(1, (number,), LARGE)
        assert len(bodies) <= 2
    bodies.put(1, ("giant",), LARGE * 3)
    assert bodies.get(1, ("giant",)) is None
    bodies.stop()


async def test_it_is_let_go_after_a_moment(monkeypatch):
    monkeypatch.setattr(list_bodies, "HOLD_S", 0.01)
    bodies = ListBodies()
    bodies.put(1, ("a",), LARGE)
    async with asyncio.timeout(20):
        while len(bodies):
            await asyncio.sleep(0.005)
    bodies.put(1, ("a",), LARGE)
    assert bodies.get(1, ("a",)) is LARGE
    bodies.stop()


async def test_equal_lists_share_bytes_until_something_changes():
    server = await start_server()
    api = Api(server)
    for number in range(40):
        data = {"value": "x" * 2000}
        labels = {"parity": str(number % 2)}
        await api.ok(
            "POST", CONFIGS, {"metadata": {"name": f"c{number}", "labels": labels}, "data": data}
        )
    first, second = await api.call("GET", CONFIGS), await api.call("GET", CONFIGS)
    assert first.body is second.body
    odd = await api.call("GET", f"{CONFIGS}?labelSelector=parity%3D1")
    assert len((await api.ok("GET", f"{CONFIGS}?labelSelector=parity%3D1"))["items"]) == 20
    assert odd.body != first.body
    table = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    assert (await api.ok("GET", CONFIGS, headers=table))["kind"] == "Table"
    assert len((await api.ok("GET", f"{CONFIGS}?limit=10"))["items"]) == 10
    await api.ok("DELETE", f"{CONFIGS}/c0")
    after = await api.ok("GET", CONFIGS)
    assert [i["metadata"]["name"] for i in after["items"]].count("c0") == 0
    assert len(after["items"]) == 39
    await server.stop()
