"""The HTTP transport against a real server: identity, renewal, streams, upgrades."""

from __future__ import annotations

import base64
import contextlib
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kutter.api.errors import ApiError
from kutter.client.http import HttpTransport
from kutter.client.kubeconfig import Connection, KubeconfigError
from kutter.http import ByteStream, Request, Response, serve


@contextlib.asynccontextmanager
async def connected(handler, **identity) -> AsyncIterator[HttpTransport]:
    server = await serve(handler)
    transport = HttpTransport(
        Connection(server=f"http://127.0.0.1:{server.port}/prefix", **identity)
    )
    try:
        yield transport
    finally:
        await transport.close()
        await server.close(grace_s=0.5)


async def show(request: Request) -> Response:
    seen = {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": request.headers,
        "body": request.body.decode(),
    }
    warning = [("Warning", '299 - "one"'), ("Warning", '299 - "two"')]
    return Response(200, warning, json.dumps(seen).encode())


async def test_request() -> None:
    async with connected(show, token="t", impersonate_user="u", impersonate_groups=("a", "b")) as t:
        answer = await t.request(
            "POST",
            "/api/v1/x y:z",
            query=[("labelSelector", "a=b,c in (d)")],
            headers={"content-type": "application/json"},
            body=b"{}",
        )
    seen = json.loads(answer.body)
    assert seen["path"] == "/prefix/api/v1/x y:z"
    assert seen["query"] == [["labelSelector", "a=b,c in (d)"]]
    assert seen["headers"]["authorization"] == "Bearer t"
    assert seen["headers"]["impersonate-user"] == "u"
    assert seen["headers"]["impersonate-group"] == "a, b"
    assert seen["headers"]["user-agent"] == "kutter"
    assert answer.warnings == ('299 - "one"', '299 - "two"')


async def test_basic_identity() -> None:
    async with connected(show, username="me", password="pw") as transport:
        seen = json.loads((await transport.request("GET", "/")).body)
    expected = "Basic " + base64.b64encode(b"me:pw").decode()
    assert seen["headers"]["authorization"] == expected


async def test_renewed_token_file_is_used_after_401(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    asked: list[str] = []

    async def handler(request: Request) -> Response:
        asked.append(request.headers["authorization"])
        return Response(200 if asked[-1] == "Bearer new" else 401)

    async with connected(handler, token_file=file) as transport:
        assert (await transport.request("GET", "/")).status == 401
        assert asked == ["Bearer old"]
        file.write_text("new")
        assert (await transport.request("POST", "/")).status == 200
        assert asked == ["Bearer old", "Bearer old", "Bearer new"]
        answer = await transport.stream("GET", "/")
        assert answer.status == 200
        await answer.close()


async def test_exec_plugin(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    plugin = tmp_path / "plugin"
    plugin.write_text(
        "#!/bin/sh\n"
        f'echo "$KUBERNETES_EXEC_INFO" >> {runs}\n'
        f"""echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'\\
'"status":{{"token":"'$1-$EXTRA-$(wc -l < {runs})'"}}}}'\n"""
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    config = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "args": ["arg"],
        "env": [{"name": "EXTRA", "value": "env"}],
        "provideClusterInfo": True,
    }
    refuse: set[str] = set()

    async def handler(request: Request) -> Response:
        token = request.headers["authorization"]
        return Response(401 if token in refuse else 200, body=token.encode())

    async with connected(handler, exec_plugin=config) as transport:
        assert (await transport.request("GET", "/")).body == b"Bearer arg-env-1"
        assert (await transport.request("GET", "/")).body == b"Bearer arg-env-1"
        refuse.add("Bearer arg-env-1")
        assert (await transport.request("GET", "/")).body == b"Bearer arg-env-2"
        info = json.loads(runs.read_text().splitlines()[0])
        assert info["kind"] == "ExecCredential"
        assert info["spec"]["cluster"]["server"] == transport.connection.server
    missing = {**config, "command": "/no/such/plugin", "installHint": "install it"}
    async with connected(handler, exec_plugin=missing) as transport:
        with pytest.raises(KubeconfigError, match="install it"):
            await transport.request("GET", "/")


async def test_stream_and_upgrade() -> None:
    async def ticks() -> AsyncIterator[bytes]:
        for i in range(3):
            yield b"%d\n" % i

    async def talk(stream: ByteStream) -> None:
        await stream.write(await stream.read())

    async def handler(request: Request) -> Response:
        if request.path == "/prefix/watch":
            return Response(stream=ticks())
        if request.headers.get("upgrade") == "echo":
            return Response(headers=[("Upgrade", "echo")], upgrade=talk)
        status = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no"}
        return Response(403, body=json.dumps(status).encode())

    async with connected(handler) as transport:
        answer = await transport.stream("GET", "/watch")
        assert b"".join([c async for c in answer.chunks()]) == b"0\n1\n2\n"
        headers, stream = await transport.upgrade("/exec", headers={"Upgrade": "echo"})
        assert headers["upgrade"] == "echo"
        await stream.write(b"hi")
        assert await stream.read() == b"hi"
        stream.close()
        with pytest.raises(ApiError, match="no") as caught:
            await transport.upgrade("/exec", headers={"Upgrade": "other"}, method="POST")
        assert (caught.value.code, caught.value.reason) == (403, "Forbidden")


async def test_unreachable() -> None:
    transport = HttpTransport(Connection(server="http://127.0.0.1:1"))
    with pytest.raises(OSError):
        await transport.request("GET", "/")
    await transport.close()
