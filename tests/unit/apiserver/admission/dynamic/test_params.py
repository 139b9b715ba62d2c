"""Parameters are looked up once for each state of their kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.api.resources import Resource
from kutter.apiserver.admission.dynamic.params import (
    ConfigurationError,
    ParamCache,
    collect_params,
)

MAPS = Resource("", "v1", "configmaps", "ConfigMap", True, ("create",))


class Counting(FakeReader):
    reads = 0

    def list(self, group_resource: str, namespace: str = "") -> Any:
        self.reads += 1
        return super().list(group_resource, namespace)


def test_what_was_found_is_kept_until_something_changes() -> None:
    reader, cache = Counting(), ParamCache()
    for name, labels in (("a", {"x": "y"}), ("b", {})):
        metadata = {"name": name, "namespace": "blue", "labels": labels}
        reader.put("configmaps", {"metadata": metadata})
    chosen = {"selector": {"matchLabels": {"x": "y"}}}

    def names() -> list[str]:
        found = cache.find(reader, MAPS, chosen, "blue")
        return [tree["metadata"]["name"] for tree in found]

    assert names() == names() == ["a"]
    assert reader.reads == 1
    metadata = {"name": "c", "namespace": "blue", "labels": {"x": "y"}}
    reader.put("configmaps", {"metadata": metadata})
    assert names() == ["a", "c"]
    assert cache.find(reader, MAPS, chosen, "red") == []
    assert cache.find(reader, MAPS, {"name": "b"}, "blue")[0]["metadata"]["name"] == "b"
    assert cache.find(reader, MAPS, {"name": "none"}, "blue") == []


@dataclass
class Asked:
    """As much of a subject as finding parameters needs."""

    request: Any
    place: Any


def asked(reader: FakeReader, namespace: str) -> Any:
    return Asked(SimpleNamespace(reader=reader), SimpleNamespace(namespace=namespace))


class OneVersion:
    """Kinds that are served in one version only."""

    def __init__(self, *resources: Resource) -> None:
        self._by_kind = {(r.group, r.version, r.kind): r for r in resources}

    def resource_of_kind(self, group: str, version: str, kind: str) -> Resource | None:
        return self._by_kind.get((group, version, kind))

    async def from_cache(self, tree: Any, target: Resource) -> Any:
        return tree


LIMITS = Resource("a.io", "v1", "limits", "Limit", False, ("create",), storage_prefix="/limits")
STORED_MAPS = replace(MAPS, storage_prefix="/configmaps")


async def collect(
    kind: dict[str, str] | None, reference: dict[str, Any] | None, *, namespace: str = "blue"
) -> Any:
    reader = FakeReader()
    reader.put("configmaps", {"metadata": {"name": "a", "namespace": "blue"}})
    reader.put("limits.a.io", {"metadata": {"name": "l"}})
    policy: Any = SimpleNamespace(param_kind=kind)
    binding: Any = SimpleNamespace(params=reference)
    versions: Any = OneVersion(STORED_MAPS, LIMITS)
    found = await collect_params(policy, binding, asked(reader, namespace), versions, ParamCache())
    return [None if tree is None else tree["metadata"]["name"] for tree in found]


MAP = {"apiVersion": "v1", "kind": "ConfigMap"}
LIMIT = {"apiVersion": "a.io/v1", "kind": "Limit"}


@pytest.mark.parametrize(
    ("kind", "reference", "found"),
    [
        (None, {"name": "a"}, [None]),
        (MAP, None, [None]),
        (MAP, {"name": "a"}, ["a"]),
        (MAP, {"name": "a", "namespace": "red", "parameterNotFoundAction": "Allow"}, []),
        (MAP, {"selector": {}}, ["a"]),
        (LIMIT, {"name": "l"}, ["l"]),
    ],
)
async def test_what_references_lead_to(kind: Any, reference: Any, found: Any) -> None:
    assert await collect(kind, reference) == found


@pytest.mark.parametrize(
    ("kind", "reference", "namespace", "said"),
    [
        (MAP, {"name": "x", "parameterNotFoundAction": "Deny"}, "blue", "no params found"),
        (MAP, {"name": "a"}, "", "cannot use namespaced paramRef in policy binding that matches"),
        (LIMIT, {"name": "l", "namespace": "x"}, "blue", "paramRef.namespace must not be provided"),
        ({"apiVersion": "b.io/v1", "kind": "No"}, None, "blue", "b.io/v1, Kind=No"),
    ],
)
async def test_references_that_lead_nowhere(
    kind: Any, reference: Any, namespace: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        await collect(kind, reference, namespace=namespace)
    assert said in str(error.value)
