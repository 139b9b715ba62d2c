"""Recounts of quotas against reservations that are on their way, and after a crash."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kutter.api.types.core_v1 import ConfigMap, Namespace, ResourceQuota
from kutter.apiserver.authn.identity import GROUP_MASTERS, User
from kutter.base.tasks import Scope
from kutter.cluster.control_plane import ControlPlane, ControlPlaneOptions
from kutter.store.memory import MemoryStore

ADMIN = User("admin", groups=(GROUP_MASTERS,))
DEADLINE_S = 30.0
QUOTA = {"metadata": {"name": "q"}, "spec": {"hard": {"count/configmaps": "5"}}}


class SlowStore(MemoryStore):
    """Holds back the writes of one key."""

    def __init__(self, slow: str) -> None:
        super().__init__()
        self.slow = slow
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def put(self, key, value, **options):
        if key.endswith(self.slow):
            self.reached.set()
            await self.go.wait()
        return await super().put(key, value, **options)


@asynccontextmanager
async def cluster(store):
    key = generate_private_key(SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    plane = ControlPlane(store, ControlPlaneOptions(token_key_pem=pem, with_scheduler=False))
    async with Scope("cluster") as scope:
        await plane.start(scope)
        yield plane.client(ADMIN)
        await plane.api.stop()


async def until(check):
    async with asyncio.timeout(DEADLINE_S):
        while not await check():
            await asyncio.sleep(0.01)


async def used(client):
    status = (await client.get(ResourceQuota, "q", "blue")).status
    return status.used.get("count/configmaps")


async def prepare(client):
    await client.create(Namespace, {"metadata": {"name": "blue"}})

    async def has_root_certificate():
        return len((await client.list(ConfigMap, "blue")).items) == 1

    await until(has_root_certificate)
    await client.create(ResourceQuota, QUOTA, "blue")
    await until(lambda: is_used(client, "1"))


async def is_used(client, number):
    return await used(client) == number


async def test_a_recount_does_not_miss_what_is_on_its_way():
    store = SlowStore("/blue/slow")
    async with cluster(store) as client:
        await prepare(client)
        await client.create(ConfigMap, {"metadata": {"name": "quick"}}, "blue")
        writing = asyncio.ensure_future(
            client.create(ConfigMap, {"metadata": {"name": "slow"}}, "blue")
        )
        await store.reached.wait()
        assert await used(client) == "3"
        # Deleting makes a recount due, which would find one object; two are promised.
        await client.delete(ConfigMap, "quick", "blue")
        for _ in range(50):
            await asyncio.sleep(0.01)
            assert await used(client) == "3"
        store.go.set()
        await writing
        await until(lambda: is_used(client, "2"))


async def test_a_reservation_left_by_a_crash_is_found():
    store = MemoryStore()
    async with cluster(store) as client:
        await prepare(client)
    key = "/registry/resourcequotas/blue/q"
    record = await store.get(key)
    assert record is not None
    tree = orjson.loads(record.value)
    tree["status"]["used"]["count/configmaps"] = "5"
    await store.put(key, orjson.dumps(tree))
    async with cluster(store) as client:
        await until(lambda: is_used(client, "1"))
