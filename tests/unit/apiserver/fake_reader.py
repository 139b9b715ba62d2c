"""A read cache of plain dictionaries that tells its changes, for tests of what reads it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from kutter.apiserver.ports import Change, ChangeSink


@dataclass(frozen=True)
class FakeSnapshot:
    namespace: str
    name: str
    revision: int
    stored: dict[str, Any]

    @property
    def tree(self) -> dict[str, Any]:
        return copy.deepcopy(self.stored)

    @property
    def tail(self) -> bytes:
        return orjson.dumps(self.stored)[1:]


class FakeReader:
    def __init__(self) -> None:
        self._objects: dict[str, dict[tuple[str, str], FakeSnapshot]] = {}
        self._sinks: dict[str, list[ChangeSink]] = {}
        self._revision = 0

    def put(self, resource: str, tree: dict[str, Any]) -> dict[str, Any]:
        metadata = tree["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        self._revision += 1
        old = self._objects.setdefault(resource, {}).get(key)
        new = FakeSnapshot(*key, self._revision, copy.deepcopy(tree))
        self._objects[resource][key] = new
        self._tell(resource, Change("MODIFIED" if old else "ADDED", new, old))
        return tree

    def remove(self, resource: str, namespace: str, name: str) -> None:
        self._revision += 1
        old = self._objects[resource].pop((namespace, name))
        self._tell(resource, Change("DELETED", old, old))

    def _tell(self, resource: str, change: Change) -> None:
        for sink in self._sinks.get(resource, ()):
            sink([change])

    def get(self, group_resource: str, namespace: str, name: str) -> dict[str, Any] | None:
        found = self._objects.get(group_resource, {}).get((namespace, name))
        return None if found is None else found.tree

    def look(self, group_resource: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self.get(group_resource, namespace, name)

    def exists(self, group_resource: str, namespace: str, name: str) -> bool:
        return (namespace, name) in self._objects.get(group_resource, {})

    def labels(self, group_resource: str, namespace: str, name: str) -> dict[str, str] | None:
        found = self.get(group_resource, namespace, name)
        return None if found is None else found["metadata"].get("labels") or {}

    def list(self, group_resource: str, namespace: str = "") -> Iterable[dict[str, Any]]:
        for (found, _), snapshot in list(self._objects.get(group_resource, {}).items()):
            if namespace in ("", found):
                yield snapshot.tree

    def revision(self, group_resource: str) -> int:
        return self._revision

    def on_change(self, group_resource: str, sink: ChangeSink) -> None:
        self._sinks.setdefault(group_resource, []).append(sink)
