"""One command's talk with the API server: who it is, which namespace, requests as trees."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from kutter.api.errors import ApiError
from kutter.cli.wire import Reply, Stream, Wire

if TYPE_CHECKING:
    from kutter.api.resources import Resource
    from kutter.cli.discovery import Discovery
    from kutter.client.kubeconfig import Connection

Tree = dict[str, Any]
Query = Sequence[tuple[str, str]]
PATCH_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
PAGE = 500


class Session:
    """``namespace`` is the one in force; ``namespace_given`` whether ``-n`` said so."""

    def __init__(
        self,
        connection: Connection,
        *,
        namespace: str = "",
        timeout_s: float | None = None,
        verbosity: int = 0,
        cache_dir: str = "",
    ) -> None:
        self.connection = connection
        self.cache_dir = cache_dir
        self.namespace = namespace or connection.namespace or "default"
        self.namespace_given = bool(namespace)
        self.wire = Wire(connection, timeout_s=timeout_s, verbosity=verbosity)
        self._discovery: Discovery | None = None
        self._warned: set[str] = set()

    @property
    def kinds(self) -> Discovery:
        """What the server serves, read at first use."""
        if self._discovery is None:
            from kutter.cli.discovery import Discovery

            self._discovery = Discovery(self)
        return self._discovery

    def namespace_for(self, resource: Resource, namespace: str = "") -> str:
        """The namespace of a request for ``resource``; empty for cluster-wide ones."""
        return (namespace or self.namespace) if resource.namespaced else ""

    def raw(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes = b"",
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Reply:
        """A request. Raises ApiError for a status of 400 or more."""
        headers = {"Accept": accept}
        if body:
            headers["Content-Type"] = content_type
        reply = self.wire.request(method, path, query=query, headers=headers, body=body)
        for text in reply.warnings:
            if text not in self._warned:
                self._warned.add(text)
                print(f"Warning: {text}", file=sys.stderr)
        if reply.status >= 400:
            raise error_from(reply.status, reply.body)
        return reply

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Tree:
        """A request with a tree as body, answered by a tree."""
        payload = orjson.dumps(body) if body is not None else b""
        reply = self.raw(
            method, path, query=query, body=payload, content_type=content_type, accept=accept
        )
        return decode(reply.body)

    def get(self, resource: Resource, name: str, namespace: str = "") -> Tree:
        return self.call("GET", resource.path(self.namespace_for(resource, namespace), name))

    def find(self, resource: Resource, name: str, namespace: str = "") -> Tree | None:
        """The object, or None when there is none."""
        try:
            return self.get(resource, name, namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        selector: str = "",
        fields: str = "",
    ) -> list[Tree]:
        """All items, page by page; ``namespace`` empty means all of them."""
        items: list[Tree] = []
        token = ""
        while True:
            query = list_query(selector, fields, PAGE, token)
            answer = self.call("GET", resource.path(namespace), query=query)
            items += answer.get("items") or ()
            token = (answer.get("metadata") or {}).get("continue") or ""
            if not token:
                return items

    def create(
        self, resource: Resource, tree: Tree, namespace: str = "", *, query: Query = ()
    ) -> Tree:
        path = resource.path(self.namespace_for(resource, namespace))
        return self.call("POST", path, body=tree, query=query)

    def patch(
        self,
        resource: Resource,
        name: str,
        body: Any,
        namespace: str = "",
        *,
        kind: str = "merge",
        subresource: str = "",
        query: Query = (),
    ) -> Tree:
        """Patch; ``kind`` is json, merge or strategic."""
        path = resource.path(self.namespace_for(resource, namespace), name, subresource)
        return self.call("PATCH", path, body=body, content_type=PATCH_TYPES[kind], query=query)

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        options: Tree | None = None,
        query: Query = (),
    ) -> Tree:
        path = resource.path(self.namespace_for(resource, namespace), name)
        body = {"kind": "DeleteOptions", "apiVersion": "v1", **(options or {})}
        return self.call("DELETE", path, body=body, query=query)

    def stream(self, path: str, *, query: Query = (), accept: str = "application/json") -> Stream:
        """An answer that goes on. Raises ApiError when it is a refusal."""
        stream = self.wire.stream("GET", path, query=query, headers={"Accept": accept})
        if stream.status >= 400:
            with stream:
                raise error_from(stream.status, b"".join(stream.chunks()))
        return stream

    def watch(self, path: str, *, query: Query, accept: str = "application/json") -> Iterator[Tree]:
        """Watch events as trees. Raises ApiError when the server ends it with one."""
        with self.stream(path, query=[*query, ("watch", "true")], accept=accept) as stream:
            for line in stream.lines():
                if not line.strip():
                    continue
                event = decode(line)
                if event.get("type") == "ERROR":
                    raise ApiError.from_status(event.get("object") or {}, 500)
                yield event


def list_query(
    selector: str, fields: str, limit: int = 0, token: str = ""
) -> list[tuple[str, str]]:
    query = []
    if selector:
        query.append(("labelSelector", selector))
    if fields:
        query.append(("fieldSelector", fields))
    if limit:
        query.append(("limit", str(limit)))
    if token:
        query.append(("continue", token))
    return query


def decode(body: bytes) -> Tree:
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ConnectionError(f"the server's answer is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise ConnectionError("the server's answer is not an object")
    return tree


def error_from(status: int, body: bytes) -> ApiError:
    """The ApiError of a failed answer, whatever its body."""
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        tree = None
    if isinstance(tree, dict) and tree.get("kind") == "Status":
        return ApiError.from_status(tree, status)
    text = body.decode(errors="replace").strip()
    return ApiError(status, "", text or f"HTTP status {status}")
