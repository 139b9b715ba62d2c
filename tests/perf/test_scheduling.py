"""What a pod costs from its POST until its binding and its event are stored, in calls.

Everything runs as it does in ``kutter server``, but for the disk and the sockets: authorization,
admission, informers, controllers, scheduler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.perf.counting import Work

from kutter.api.types.core_v1 import Node, Pod
from kutter.client.client import Client
from kutter.machinery.events import EVENTS
from kutter.testing.cluster import ADMIN, LocalCluster

NODES, PODS = 20, 60
ROOM = {"cpu": "32", "memory": "256Gi", "pods": "250"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster() as running:
        yield running


def pod(name: str) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": "r.example/web:1",
        "resources": {"requests": {"cpu": "1m"}},
    }
    return {
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [container]},
    }


async def make_nodes(client: Client) -> None:
    for number in range(NODES):
        name = f"n{number}"
        await client.create(Node, {"metadata": {"name": name}})
        ready = {"type": "Ready", "status": "True"}
        status = {"capacity": ROOM, "allocatable": ROOM, "conditions": [ready]}
        await client.patch(Node, name, {"status": status}, subresource="status")


async def settled(client: Client, prefix: str, count: int) -> None:
    """Until every pod of ``prefix`` is bound and told of."""
    wanted = {f"{prefix}{number}" for number in range(count)}
    async with asyncio.timeout(60):
        while True:
            pods = (await client.list_tree(Pod, "default"))["items"]
            events = (await client.list_tree(EVENTS, "default"))["items"]
            bound = {p["metadata"]["name"] for p in pods if p["spec"].get("nodeName")}
            told = {e["involvedObject"]["name"] for e in events if e["reason"] == "Scheduled"}
            if wanted <= bound and wanted <= told:
                return
            await asyncio.sleep(0.05)


async def bound_pods(cluster: LocalCluster, client: Client, prefix: str, count: int) -> Work:
    """The work of so many pods at once, until the last of three writes for each is stored."""
    store = cluster.plane.store
    wanted = store.revision + 3 * count

    async def create(number: int) -> None:
        await client.create(Pod, pod(f"{prefix}{number}"), "default")

    with Work() as work:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(create(number))
            while store.revision < wanted:
                await asyncio.sleep(0)
    await settled(client, prefix, count)
    return work


async def quiet(cluster: LocalCluster) -> None:
    """Until nobody has written anything for a while: controllers have met the nodes."""
    store = cluster.plane.store
    async with asyncio.timeout(60):
        seen = -1
        while seen != store.revision:
            seen = store.revision
            await asyncio.sleep(0.3)


async def test_a_pod_bound_and_told_of(cluster: LocalCluster) -> None:
    client = cluster.plane.client(ADMIN)

    async def measure() -> Work:
        await make_nodes(client)
        # What a first pod needs is read in, and remembered.
        await bound_pods(cluster, client, "first", 5)
        await quiet(cluster)
        return await bound_pods(cluster, client, "pod", PODS)

    work = await asyncio.to_thread(cluster.run, measure(), timeout_s=120)
    # A create (foretold), a binding, an event (in its own words), a decision, two changes to the
    # handlers of all informers: 745 calls of Python, 725 of C when this was written.
    assert work.python / PODS <= 850
    assert work.c / PODS <= 830
    assert work.decodes / PODS <= 15
    assert work.encodes / PODS <= 9
