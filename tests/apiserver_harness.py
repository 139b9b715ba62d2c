"""An API server in this process, with the memory store and ports that let everything pass.

``await start_server()`` takes a few milliseconds; :class:`Api` speaks to ``ApiServer.handle``
the way a client would, without sockets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import orjson

from kutter.api.resources import Resource
from kutter.apiserver.authn.identity import User
from kutter.apiserver.kinds.registry import Kinds
from kutter.apiserver.ports import AdmissionRequest, Attributes, Decision, Operation
from kutter.apiserver.server import ApiServer, ServerParts
from kutter.http.messages import Request, Response, parse_target
from kutter.store.memory import MemoryStore

ADMIN = User("admin", groups=("system:masters", "system:authenticated"))


class AllowAll:
    """Authenticator, authorizer and admission that let everything pass."""

    async def authenticate(self, request: Request) -> User:
        return ADMIN

    async def authorize(self, attributes: Attributes) -> Decision:
        return Decision(allowed=True)

    async def mutate(self, request: AdmissionRequest) -> None:
        return

    async def validate(self, request: AdmissionRequest) -> None:
        return

    def permit(self, resource: Resource, operation: Operation) -> object:
        return self

    def reads_bound_pods(self) -> bool:
        return False

    def spares_spec(self, resource: Resource, subresource: str) -> bool:
        return True


async def start_server(store: Any = None, **more: Any) -> ApiServer:
    ports = AllowAll()
    parts: dict[str, Any] = {
        "store": store or MemoryStore(),
        "authenticator": ports,
        "authorizer": ports,
        "admission": ports,
        "strategy_for": Kinds().strategy_for,
        **more,
    }
    server = ApiServer(ServerParts(**parts))
    await server.start()
    return server


class Api:
    """Requests to one server; ``tree`` of an answer is its decoded body."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server

    async def call(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        user: User | None = None,
    ) -> Response:
        path, raw_query = parse_target(target)
        if query:
            raw_query = urlencode(query, doseq=True)
        sent = {"content-type": "application/json", **(headers or {})}
        if body is None:
            content = b""
        elif isinstance(body, bytes):
            content = body
        else:
            content = orjson.dumps(body)
        request = Request(
            method=method,
            path=path,
            raw_query=raw_query,
            headers=sent,
            header_list=list(sent.items()),
            body=content,
            local_user=user,
        )
        return await self.server.handle(request)

    async def ok(self, method: str, target: str, body: Any = None, **more: Any) -> dict[str, Any]:
        """The decoded body of a call that has to succeed."""
        response = await self.call(method, target, body, **more)
        assert response.status < 300, (response.status, response.body[:2000])
        return tree(response)

    async def fails(
        self, code: int, reason: str, method: str, target: str, body: Any = None, **more: Any
    ) -> dict[str, Any]:
        """The Status of a call that has to fail with ``code`` and ``reason``."""
        response = await self.call(method, target, body, **more)
        status = tree(response)
        assert (response.status, status.get("reason", "")) == (code, reason), status
        assert status["code"] == code
        return status

    async def watch(self, target: str, **query: Any) -> Watching:
        query.setdefault("timeoutSeconds", 30)
        response = await self.call("GET", target, query={"watch": "true", **query})
        assert response.status == 200, response.body
        assert response.stream is not None
        return Watching(response.stream)


class Watching:
    """The events of a watch, one by one."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self.stream = stream
        self._rest: list[dict[str, Any]] = []

    async def next(self) -> dict[str, Any]:
        while not self._rest:
            chunk = await anext(self.stream)
            self._rest = [orjson.loads(line) for line in chunk.splitlines()]
        return self._rest.pop(0)

    async def take(self, count: int) -> list[tuple[str, str]]:
        """(type, name) of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(e["type"], e["object"]["metadata"].get("name", "")) for e in events]

    async def close(self) -> None:
        await self.stream.aclose()  # type: ignore[attr-defined]


def tree(response: Response) -> dict[str, Any]:
    return orjson.loads(response.body)


def header(response: Response, name: str) -> list[str]:
    return [value for key, value in response.headers if key.lower() == name.lower()]


def config_map(name: str = "", namespace: str = "default", **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": namespace, **more.pop("metadata", {})}
    if name:
        metadata["name"] = name
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **more}


def pod(name: str, **more: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "busybox"}], **more.pop("spec", {})}
    metadata = {"name": name, "namespace": "default", **more.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, **more}
