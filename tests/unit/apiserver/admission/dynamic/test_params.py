"""Parameters are looked up once for each state of their kind."""

from __future__ import annotations

from typing import Any

from tests.unit.apiserver.fake_reader import FakeReader

from kutter.api.resources import Resource
from kutter.apiserver.admission.dynamic.params import ParamCache

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
