"""An API server in miniature for the node agent's unit tests: a transport over a dict.

Get, list, watch (label-free; field selectors on name and node), create, strategic and merge
patch, update, delete with the pod rules the agent relies on (grace, uid precondition).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from kutter.client.transport import Answer, Query

Tree = dict[str, Any]


def _merge(target: Tree, patch: Tree) -> Tree:
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif key == "conditions" and isinstance(value, list):
            by_type = {c["type"]: c for c in merged.get(key, [])}
            for item in value:
                if item.get("$patch") == "delete":
                    by_type.pop(item["type"], None)
                    continue
                both = {**by_type.get(item["type"], {}), **item}
                by_type[item["type"]] = {k: v for k, v in both.items() if v is not None}
            merged[key] = list(by_type.values())
        elif isinstance(value, list):
            merged[key] = [v for v in value if not (isinstance(v, dict) and "$patch" in v)]
        elif isinstance(value, dict):
            merged[key] = _merge(merged.get(key) or {}, value)
        else:
            merged[key] = value
    return merged


class _Stream:
    def __init__(self, api: ApiDouble, prefix: str, field: str, after: int) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self._api, self._prefix, self._field, self._after = api, prefix, field, after

    async def chunks(self) -> AsyncIterator[bytes]:
        position = self._after
        while True:
            while position < len(self._api.log):
                kind, path, tree = self._api.log[position]
                position += 1
                own = self._api.collection(path) == self._prefix
                wide = "/namespaces/" not in self._prefix
                everywhere = wide and _plain(path) == _plain(self._prefix + "/x")
                if (own or everywhere) and _selected(tree, self._field):
                    yield orjson.dumps({"type": kind, "object": tree}) + b"\n"
            async with self._api.changed:
                if position >= len(self._api.log):
                    await self._api.changed.wait()

    async def close(self) -> None:
        return None


def _plain(path: str) -> str:
    """A collection's path without its namespace."""
    parts = path.split("/")
    if "namespaces" in parts and parts.index("namespaces") + 2 < len(parts):
        at = parts.index("namespaces")
        del parts[at : at + 2]
    return "/".join(parts[:-1])


def _selected(tree: Tree, selector: str) -> bool:
    for part in filter(None, selector.split(",")):
        key, _, value = part.partition("=")
        found: Any = tree
        for name in key.split("."):
            found = (found or {}).get(name)
        if (found or "") != value:
            return False
    return True


class ApiDouble:
    """``objects`` by path; ``log`` is every change in order; ``requests`` what was asked."""

    def __init__(self) -> None:
        self.objects: dict[str, Tree] = {}
        self.log: list[tuple[str, str, Tree]] = []
        self.requests: list[tuple[str, str]] = []
        self.changed = asyncio.Condition()
        self.fail: str = ""
        self._serial = itertools.count(1)

    @staticmethod
    def collection(path: str) -> str:
        return path.rpartition("/")[0]

    async def _note(self, kind: str, path: str, tree: Tree) -> Tree:
        tree = {**tree, "metadata": {**tree["metadata"], "resourceVersion": str(len(self.log) + 1)}}
        if kind == "DELETED":
            self.objects.pop(path, None)
        else:
            self.objects[path] = tree
        self.log.append((kind, path, tree))
        async with self.changed:
            self.changed.notify_all()
        return tree

    async def put(self, path: str, tree: Tree) -> Tree:
        """Create or replace from a test."""
        kind = "MODIFIED" if path in self.objects else "ADDED"
        meta = {"uid": f"uid-{next(self._serial)}", **tree.get("metadata", {})}
        meta.setdefault("name", path.rpartition("/")[2])
        return await self._note(kind, path, {**tree, "metadata": meta})

    async def remove(self, path: str) -> None:
        await self._note("DELETED", path, self.objects[path])

    async def wait_for(self, condition: Any, timeout_s: float = 30.0) -> Any:
        """Wait until ``condition()`` is true; answers its value."""
        async with asyncio.timeout(timeout_s):
            while True:
                found = condition()
                if found:
                    return found
                async with self.changed:
                    await self.changed.wait()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float | None = None,
    ) -> Answer:
        self.requests.append((method, path))
        tree = orjson.loads(body) if body else {}
        await asyncio.sleep(0)
        if self.fail:
            raise ConnectionError(self.fail)
        answered = await getattr(self, "_" + method.lower())(path, tree, dict(query))
        status, found = answered
        return Answer(status, {}, orjson.dumps(found))

    async def _get(self, path: str, _: Tree, query: dict[str, str]) -> tuple[int, Tree]:
        if path in self.objects:
            return 200, self.objects[path]
        plural = path.rpartition("/")[2]
        if plural in ("pods", "services", "endpointslices", "configmaps", "secrets", "nodes"):
            items = [
                t
                for p, t in self.objects.items()
                if (
                    self.collection(p) == path or ("/namespaces/" not in path and _plain(p) == path)
                )
                and _selected(t, query.get("fieldSelector", ""))
            ]
            return 200, {"items": items, "metadata": {"resourceVersion": str(len(self.log))}}
        return _missing(path)

    async def _post(self, path: str, tree: Tree, _: dict[str, str]) -> tuple[int, Tree]:
        if path.endswith("/token"):
            return 201, {"status": {"token": "tok", "expirationTimestamp": "2100-01-01T00:00:00Z"}}
        name = tree["metadata"]["name"]
        if f"{path}/{name}" in self.objects:
            return 409, {"kind": "Status", "reason": "AlreadyExists", "code": 409, "message": name}
        parts = path.split("/")
        if "namespaces" in parts:
            tree["metadata"]["namespace"] = parts[parts.index("namespaces") + 1]
        return 201, await self.put(f"{path}/{name}", tree)

    async def _put(self, path: str, tree: Tree, _: dict[str, str]) -> tuple[int, Tree]:
        return 200, await self._note("MODIFIED", path, tree)

    async def _patch(self, path: str, tree: Tree, _: dict[str, str]) -> tuple[int, Tree]:
        path = path.removesuffix("/status")
        if path not in self.objects:
            return _missing(path)
        old = self.objects[path]
        new = _merge(old, tree)
        if {**new, "metadata": 0} == {**old, "metadata": 0}:
            return 200, old
        return 200, await self._note("MODIFIED", path, new)

    async def _delete(self, path: str, tree: Tree, _: dict[str, str]) -> tuple[int, Tree]:
        if path not in self.objects:
            return _missing(path)
        old = self.objects[path]
        uid = (tree.get("preconditions") or {}).get("uid")
        if uid and uid != old["metadata"]["uid"]:
            return 409, {"kind": "Status", "reason": "Conflict", "code": 409, "message": "uid"}
        grace = tree.get("gracePeriodSeconds")
        if "/pods/" in path and grace != 0 and not old["metadata"].get("deletionTimestamp"):
            grace = grace or (old["spec"].get("terminationGracePeriodSeconds", 30))
            meta = {
                **old["metadata"],
                "deletionTimestamp": "2030-01-01T00:00:00Z",
                "deletionGracePeriodSeconds": grace,
            }
            return 200, await self._note("MODIFIED", path, {**old, "metadata": meta})
        await self.remove(path)
        return 200, old

    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> _Stream:
        asked = dict(query)
        after = int(asked.get("resourceVersion") or 0)
        return _Stream(self, path, asked.get("fieldSelector", ""), after)

    async def upgrade(self, path: str, **_: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        return None


def _missing(path: str) -> tuple[int, Tree]:
    return 404, {
        "kind": "Status",
        "reason": "NotFound",
        "code": 404,
        "message": f"{path} not found",
    }
