"""Logs, exec and proxies: relayed to where they belong, credentials kept here."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from tests.apiserver_harness import Api, pod, start_server

from kutter.apiserver.subresources.proxy import PAGE_MAX_BYTES
from kutter.http.client import HttpClient
from kutter.http.messages import Request, Response
from kutter.http.server import serve

PODS = "/api/v1/namespaces/default/pods"
MERGE = {"content-type": "application/merge-patch+json"}


class Backend:
    """Answers with what it was asked."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.answer = Response(200, [("Content-Type", "text/plain")], b"from behind")

    async def handle(self, request: Request) -> Response:
        self.seen.append(request)
        return Response(self.answer.status, list(self.answer.headers), self.answer.body)


async def test_services_and_pods_are_proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend()
    behind = await serve(backend.handle, "127.0.0.1", 0)
    client = HttpClient()
    try:
        api = Api(await start_server(pod_client=client))
        await api.ok("POST", PODS, pod("p"))
        status = {"status": {"podIP": "127.0.0.1", "phase": "Running"}}
        await api.server.storage_of("", "pods").update(
            *_status(api, "p", status["status"])  # validation refuses loopback addresses
        )
        response = await api.call(
            "GET",
            f"{PODS}/p:{behind.port}/proxy/some/path?x=1",
            headers={"authorization": "Bearer secret", "x-own": "kept"},
        )
        assert (response.status, response.body) == (200, b"from behind")
        seen = backend.seen[0]
        assert (seen.path, seen.raw_query) == ("/some/path", "x=1")
        assert "authorization" not in seen.headers
        assert seen.headers["x-own"] == "kept"
        root = f"{PODS}/p:{behind.port}/proxy"
        for method in ("GET", "HEAD"):
            response = await api.call(method, f"{root}?x=a%20b")
            assert response.status == 301
            assert ("Location", f"{root}/?x=a%20b") in response.headers
        assert len(backend.seen) == 1
        for method, path in (("POST", ""), ("GET", "/")):
            assert (await api.call(method, root + path)).status == 200
            assert (backend.seen[-1].method, backend.seen[-1].path) == (method, "/")
        await api.fails(400, "BadRequest", "GET", f"{PODS}/ftp:p:1/proxy/")
        services = "/api/v1/namespaces/default/services"
        ports = [{"name": "web", "port": 80}]
        await api.ok("POST", services, {"metadata": {"name": "s"}, "spec": {"ports": ports}})
        status_ = await api.fails(503, "ServiceUnavailable", "GET", f"{services}/s:web/proxy/")
        assert status_["message"] == 'no endpoints available for service "s"'
    finally:
        await client.close()
        await behind.close()


async def test_pages_are_led_through_the_proxy() -> None:
    """Redirects and links to the pod itself; what is too long or of another kind is as it was."""
    backend = Backend()
    behind = await serve(backend.handle, "127.0.0.1", 0)
    client = HttpClient()
    try:
        api = Api(await start_server(pod_client=client))
        await api.ok("POST", PODS, pod("p"))
        await api.server.storage_of("", "pods").update(
            *_status(api, "p", {"podIP": "127.0.0.1", "phase": "Running"})
        )
        root = f"{PODS}/p:{behind.port}/proxy"

        async def ask(content: str, body: bytes, **headers: str) -> Response:
            more = [(name.replace("_", "-"), value) for name, value in headers.items()]
            backend.answer = Response(200, [("Content-Type", content), *more], body)
            return await api.call("GET", f"{root}/some/page.html")

        page = b'<a href="/x">x</a>'
        led = f'<a href="{root}/x">x</a>'.encode()
        answer = await ask("text/html; charset=utf-8", page, Access_Control_Allow_Origin="*")
        assert answer.body == led
        assert "access-control-allow-origin" not in {n.lower() for n, _ in answer.headers}
        assert backend.seen[-1].headers["x-forwarded-uri"] == f"{root}/some/page.html"
        answer = await ask("text/html", gzip.compress(page), Content_Encoding="gzip")
        assert gzip.decompress(answer.body) == led
        for content, body, encoding in (
            ("text/plain", page, ""),
            ("text/html", b"no gzip", "gzip"),
            ("text/html", page, "br"),
        ):
            headers = {"Content_Encoding": encoding} if encoding else {}
            assert (await ask(content, body, **headers)).body == body
        long = page + b"x" * PAGE_MAX_BYTES
        answer = await ask("text/html", long)
        assert answer.stream is not None
        assert b"".join([chunk async for chunk in answer.stream]) == long
        backend.answer = Response(302, [("Location", "/login?next=%2F")])
        answer = await api.call("GET", f"{root}/some")
        assert ("Location", f"{root}/login?next=%2F") in answer.headers
    finally:
        await client.close()
        await behind.close()


def _status(api: Api, name: str, status: dict[str, Any]) -> tuple[Any, ...]:
    from tests.apiserver_harness import ADMIN

    from kutter.apiserver.writing import WriteContext

    context = WriteContext(user=ADMIN, now=api.server.clock.now(), subresource="binding")

    def transform(old: dict[str, Any] | None) -> dict[str, Any]:
        assert old is not None
        old["status"] = {**old.get("status", {}), **status}
        return old

    return context, "default", name, transform


async def test_without_a_node_there_is_nothing_to_reach() -> None:
    api = Api(await start_server())
    await api.ok("POST", PODS, pod("p"))
    empty = await api.call("GET", f"{PODS}/p/log")
    assert (empty.status, empty.body) == (200, b"")
    exec_ = f"{PODS}/p/exec?command=ls&stdout=true"
    status = await api.fails(400, "BadRequest", "POST", exec_)
    assert status["message"] == "pod p does not have a host assigned"
    await api.ok("POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"name": "n"}})
    await api.fails(404, "NotFound", "GET", f"{PODS}/p/log")
    node = {"metadata": {"name": "n"}}
    await api.ok("POST", "/api/v1/nodes", node)
    await api.fails(503, "ServiceUnavailable", "GET", f"{PODS}/p/log")
