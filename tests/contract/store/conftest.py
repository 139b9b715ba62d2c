"""Every store implementation runs the same suite."""

from collections.abc import AsyncIterator

import pytest

from kutter.apiserver.encryption.providers import AesGcm, Transformer
from kutter.apiserver.encryption.store import EncryptedStore, Rule, Rules
from kutter.store.durable import SqliteStore
from kutter.store.interface import Store
from kutter.store.memory import MemoryStore


@pytest.fixture(params=["memory", "sqlite", "encrypted"])
async def store(request, tmp_path) -> AsyncIterator[Store]:
    if request.param == "memory":
        made: Store = MemoryStore(history_events=200)
    elif request.param == "encrypted":
        # Every key, so that every promise is kept through the ciphers.
        transformer = Transformer([AesGcm("key1", bytes(32))])
        rules = Rules([Rule(("/", ""), transformer)])
        made = EncryptedStore(MemoryStore(history_events=200), rules)
    else:
        made = await SqliteStore.open(tmp_path / "state.sqlite", history_events=200)
    yield made
    await made.close()
