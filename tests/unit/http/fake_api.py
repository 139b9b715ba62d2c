"""A tiny API server with one pod whose exec runs on this machine and whose ports are ours."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from kutter.http import ByteStream, HttpServer, Request, Response, ServerTls, serve
from kutter.http.client import HttpClient
from kutter.http.portforward import answer_port_forward
from kutter.http.relay import proxy_request
from kutter.http.remotecommand import RemoteCommandSession, answer_remote_command
from kutter.http.stream import TransportStream

POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "web", "namespace": "default", "uid": "1", "resourceVersion": "1"},
    "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}
PODS = {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get"]}
TREES = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [PODS, {**PODS, "name": "pods/exec"}, {**PODS, "name": "pods/attach"}],
    },
    "/api/v1/namespaces/default/pods/web": POD,
}


@dataclass
class FakeApi:
    port: int
    echo_port: int
    requests: list[Request] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def write_kubeconfig(self, path: Path, cluster: dict | None = None) -> Path:
        tree = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": self.url, **(cluster or {})}}],
            "users": [{"name": "x", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        }
        path.write_text(json.dumps(tree))
        return path


async def connect(port: int) -> ByteStream:
    _, stream = await asyncio.get_running_loop().create_connection(
        TransportStream, "127.0.0.1", port
    )
    return stream


@contextlib.asynccontextmanager
async def fake_api(
    *,
    behind_proxy: bool = False,
    tls: ServerTls | None = None,
    agent_tls: ssl.SSLContext | None = None,
) -> AsyncIterator[FakeApi]:
    """``behind_proxy``: exec and port-forward go through :func:`proxy_request` to the agent.

    ``agent_tls``: the agent has ``tls`` as well, and this is how it is reached.
    """
    api = FakeApi(0, 0, scheme="https" if tls else "http")

    async def run(request: Request, session: RemoteCommandSession, tty: bool) -> int:
        if tty:
            size = await session.next_resize()
            if size is not None:
                api.sizes.append(size)
        process = await asyncio.create_subprocess_exec(
            *request.params("command"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

        async def feed() -> None:
            with contextlib.suppress(ConnectionError):
                while data := await session.read_stdin():
                    process.stdin.write(data)
                    await process.stdin.drain()
            process.stdin.close()

        async def drain(reader, write) -> None:
            while data := await reader.read(32768):
                await write(data)

        feeding = asyncio.create_task(feed())
        try:
            await asyncio.gather(
                drain(process.stdout, session.write_stdout),
                drain(process.stderr, session.write_stderr),
            )
            return await process.wait()
        finally:
            feeding.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def agent(request: Request) -> Response:
        if request.path.endswith("/portforward"):
            return answer_port_forward(request, connect)
        tty = request.param("tty") == "true"
        return answer_remote_command(
            request,
            lambda session: run(request, session, tty),
            stdin=request.param("stdin") == "true",
            stdout=request.param("stdout") == "true",
            stderr=request.param("stderr") == "true",
            tty=tty,
        )

    agent_server: HttpServer | None = None
    client = HttpClient(tls=agent_tls)
    if behind_proxy:
        agent_server = await serve(agent, tls=tls if agent_tls else None)

    async def handler(request: Request) -> Response:
        api.requests.append(request)
        if request.path in TREES:
            body = json.dumps(TREES[request.path]).encode()
            return Response(200, [("Content-Type", "application/json")], body)
        if request.path.startswith("/api/v1/namespaces/default/pods/web/"):
            if agent_server is None:
                return await agent(request)
            scheme = "https" if agent_tls else "http"
            url = f"{scheme}://127.0.0.1:{agent_server.port}{request.raw_path}?{request.raw_query}"
            return await proxy_request(request, client, url)
        return Response(404, [("Content-Type", "application/json")], b'{"kind":"Status"}')

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello;")
        while data := await reader.read(65536):
            writer.write(data)
        writer.write(b";bye")
        await writer.drain()
        writer.close()

    echo_server = await asyncio.start_server(echo, "127.0.0.1", 0)
    server = await serve(handler, tls=tls)
    api.port = server.port
    api.echo_port = echo_server.sockets[0].getsockname()[1]
    try:
        yield api
    finally:
        await server.close(grace_s=0.5)
        await client.close()
        if agent_server is not None:
            await agent_server.close(grace_s=0.5)
        echo_server.close()
