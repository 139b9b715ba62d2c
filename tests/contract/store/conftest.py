"""Every store implementation runs the same suite."""

from collections.abc import AsyncIterator

import pytest

from kutter.store.durable import SqliteStore
from kutter.store.interface import Store
from kutter.store.memory import MemoryStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path) -> AsyncIterator[Store]:
    if request.param == "memory":
        made: Store = MemoryStore(history_events=200)
    else:
        made = await SqliteStore.open(tmp_path / "state.sqlite", history_events=200)
    yield made
    await made.close()
