"""Which keys are covered, and what happens when the keys change."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from kutter.api.catalog import Catalog
from kutter.apiserver.encryption.configuration import parse_encryption
from kutter.apiserver.encryption.store import EncryptedStore, Rules, build_rules
from kutter.store.interface import Event, StoreError
from kutter.store.memory import MemoryStore


def rules(*resources: tuple[tuple[str, ...], list[Any]]) -> Rules:
    tree = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": list(r), "providers": p} for r, p in resources],
    }
    return build_rules(parse_encryption(orjson.dumps(tree)), Catalog)


def gcm(*letters: str) -> dict[str, Any]:
    keys = [{"name": x, "secret": base64.b64encode(x.encode() * 32).decode()} for x in letters]
    return {"aesgcm": {"keys": keys}}


IDENTITY: dict[str, Any] = {"identity": {}}
SECRET, CONFIG_MAP = "/registry/secrets/default/a", "/registry/configmaps/default/a"
DEPLOYMENT, CUSTOM = "/registry/deployments/default/a", "/registry/example.com/things/default/a"


@pytest.mark.parametrize(
    ("resource", "covered"),
    [
        ("secrets", {SECRET}),
        ("*.", {SECRET, CONFIG_MAP}),
        ("deployments.apps", {DEPLOYMENT}),
        ("*.apps", {DEPLOYMENT}),
        ("things.example.com", {CUSTOM}),
        ("*.example.com", {CUSTOM}),
        ("*.*", {SECRET, CONFIG_MAP, DEPLOYMENT, CUSTOM}),
    ],
)
def test_resources_and_wildcards_cover_their_keys(resource: str, covered: set[str]) -> None:
    found = rules(((resource,), [gcm("a")]))
    keys = {SECRET, CONFIG_MAP, DEPLOYMENT, CUSTOM}
    assert {key for key in keys if found.transformer_of(key) is not None} == covered


async def test_the_first_rule_that_covers_a_key_is_the_one() -> None:
    inner = MemoryStore()
    store = EncryptedStore(inner, rules((("configmaps",), [IDENTITY]), (("*.*",), [gcm("a")])))
    for key in (SECRET, CONFIG_MAP):
        await store.put(key, b"value")
    secret, plain = await inner.get(SECRET), await inner.get(CONFIG_MAP)
    assert secret is not None
    assert secret.value.startswith(b"k8s:enc:aesgcm:v1:a:")
    assert plain is not None
    assert plain.value == b"value"


async def test_rotation_rewrites_what_is_stale_and_nothing_else() -> None:
    inner = MemoryStore()
    await inner.put(SECRET, b"of old")
    store = EncryptedStore(inner, rules((("secrets",), [gcm("a"), IDENTITY])))
    events: list[Event] = []
    store.subscribe("/registry/", lambda found, _: events.extend(found))
    assert await store.is_stale(SECRET)
    assert await store.rewrite_stale() == 1
    assert await store.rewrite_stale() == 0
    assert not await store.is_stale(SECRET)
    assert [(e.value, e.previous) for e in events] == [(b"of old", b"of old")]

    store.rules = rules((("secrets",), [gcm("b", "a")]))
    assert await store.is_stale(SECRET)
    await store.put("/registry/secrets/default/b", b"new")
    assert await store.rewrite_stale() == 1
    store.rules = rules((("secrets",), [gcm("b")]))
    found = await store.range("/registry/secrets/", "/registry/secrets0")
    assert [r.value for r in found.records] == [b"of old", b"new"]


async def test_more_than_a_page_is_rewritten() -> None:
    inner = MemoryStore()
    for number in range(1100):
        await inner.put(f"/registry/secrets/default/{number:04}", b"plain")
    store = EncryptedStore(inner, rules((("secrets",), [gcm("a"), IDENTITY])))
    assert await store.rewrite_stale() == 1100
    found = await inner.range("/registry/secrets/", "/registry/secrets0")
    assert all(r.value.startswith(b"k8s:enc:") for r in found.records)


async def test_a_value_no_key_opens_is_an_error_that_names_its_key() -> None:
    inner = MemoryStore()
    await EncryptedStore(inner, rules((("secrets",), [gcm("a")]))).put(SECRET, b"value")
    store = EncryptedStore(inner, rules((("secrets",), [gcm("b"), IDENTITY])))
    with pytest.raises(StoreError, match=f"{SECRET} cannot be decrypted"):
        await store.get(SECRET)
    with pytest.raises(StoreError):
        await store.range("/registry/", "/registry0")


async def test_a_value_moved_to_another_key_is_refused() -> None:
    inner = MemoryStore()
    store = EncryptedStore(inner, rules((("secrets",), [gcm("a")])))
    await store.put(SECRET, b"value")
    taken = await inner.get(SECRET)
    assert taken is not None
    await inner.put("/registry/secrets/other/a", taken.value)
    with pytest.raises(StoreError):
        await store.get("/registry/secrets/other/a")


async def test_an_unreadable_change_is_told_by_the_health_check() -> None:
    inner = MemoryStore()
    store = EncryptedStore(inner, rules((("secrets",), [gcm("a")])))
    seen: list[Event] = []
    store.subscribe("/registry/", lambda found, _: seen.extend(found))
    other = EncryptedStore(inner, rules((("secrets",), [gcm("b")])))
    await other.put(SECRET, b"value")
    assert seen == []
    assert SECRET in store.problem
