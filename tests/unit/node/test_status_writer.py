"""Writing status: latest wins, conflicts are not the end, a namesake is."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.node.conftest import pod_tree

from kutter.api.errors import ApiError, conflict, not_found
from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Pod
from kutter.base.tasks import Scope
from kutter.node.status_writer import StatusWriter


class NoWait:
    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(0)


class PatchClient:
    """Fails as told, then keeps what is patched; ``uid`` is the pod the API has."""

    def __init__(self, *failures: ApiError, uid: str = "u1") -> None:
        self.failures = list(failures)
        self.uid = uid
        self.patches: list[dict[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def patch(self, target: Any, name: str, body: dict[str, Any], *_: Any, **__: Any) -> None:
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.patches.append(body["status"])

    async def get(self, view: Any, name: str, namespace: str) -> Pod:
        return pod(self.uid)


def pod(uid: str = "u1") -> Pod:
    tree = pod_tree()
    tree["metadata"]["uid"] = uid
    return convert(Pod, tree)


async def settle(client: PatchClient, *statuses: dict[str, Any]) -> StatusWriter:
    async with Scope("test") as scope:
        kit = SimpleNamespace(client=client, scope=scope, clock=NoWait())
        writer = StatusWriter(kit, lambda: None)  # type: ignore[arg-type]
        for status in statuses:
            writer.offer(pod(), status)
            await asyncio.sleep(0)
        client.gate.set()
        async with asyncio.timeout(30):
            await writer.wait_settled()
    return writer


async def test_latest_wins_over_what_waits() -> None:
    client = PatchClient()
    client.gate.clear()
    await settle(client, {"phase": "a"}, {"phase": "b"}, {"phase": "c"})
    assert client.patches == [{"phase": "a"}, {"phase": "c"}]


async def test_same_status_is_written_once() -> None:
    client = PatchClient()
    await settle(client, {"phase": "a"}, {"phase": "a"})
    assert client.patches == [{"phase": "a"}]


@pytest.mark.parametrize("failure", [conflict("pods", "web", "busy"), ApiError(500, "", "no")])
async def test_trouble_is_tried_again(failure: ApiError) -> None:
    client = PatchClient(failure)
    writer = await settle(client, {"phase": "a"})
    assert client.patches == [{"phase": "a"}]
    assert not writer.gone


@pytest.mark.parametrize(
    "client",
    [
        PatchClient(not_found("pods", "web")),
        PatchClient(conflict("pods", "web", "uid"), uid="another"),
    ],
)
async def test_pod_that_is_no_more_gets_nothing(client: PatchClient) -> None:
    writer = await settle(client, {"phase": "a"})
    assert writer.gone
    assert client.patches == []
