"""How much of the past a read cache keeps: bounded by events and by bytes."""

from __future__ import annotations

import orjson

from kutter.api.catalog import BUILTIN
from kutter.apiserver import cache as module
from kutter.apiserver.cache import ResourceCache
from kutter.store.interface import Event

CONFIG_MAPS = next(r for r in BUILTIN if r.group_resource == "configmaps")


def change(cache: ResourceCache, revision: int, size_bytes: int) -> None:
    value = orjson.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a"},
            "data": {"a": "x" * size_bytes},
        }
    )
    key = f"{cache.prefix}default/a"
    cache.apply(Event("put", key, value, None, 1, revision, revision - 1))


def test_the_past_is_bounded_by_events() -> None:
    cache = ResourceCache(CONFIG_MAPS, history_limit=3)
    for revision in range(2, 10):
        change(cache, revision, 1)
    assert [event.revision for event in cache.history_after(0)] == [7, 8, 9]
    assert cache.history_floor == 6


def test_the_past_is_bounded_by_bytes(monkeypatch) -> None:
    monkeypatch.setattr(module, "HISTORY_LIMIT_BYTES", 5_000)
    cache = ResourceCache(CONFIG_MAPS)
    for revision in range(2, 10):
        change(cache, revision, 1_000)
    kept = list(cache.history_after(0))
    assert [event.revision for event in kept] == [6, 7, 8, 9]
    assert cache.history_floor == 5
    assert sum(len(event.current.tail) for event in kept) <= 5_000
    assert cache.get("default", "a") is kept[-1].current, "what is now is always there"
