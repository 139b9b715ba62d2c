"""Logs, exec and port-forward through the API server's own proxy, over TLS and WebSocket."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import orjson
import pytest
from tests.node.agent.conftest import KernelNode

from kutter.http.client import HttpClient
from kutter.http.messages import ByteStream
from kutter.http.portforward import dial_port_forward
from kutter.http.remotecommand_client import RemoteCommandError, dial_remote_command
from kutter.http.server import serve
from kutter.http.tls import client_context

pytestmark = pytest.mark.root

POD = "/api/v1/namespaces/default/pods/web"


async def _dial(
    base: str, path: str, headers: Mapping[str, str]
) -> tuple[dict[str, str], ByteStream]:
    answer = await HttpClient().upgrade(base + path, headers=list(headers.items()))
    assert answer.status == 101, answer.body
    assert answer.stream is not None
    return answer.headers, answer.stream


class _Local:
    """The near end of a forwarded connection: sends one request, keeps the answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._closed = asyncio.Event()
        self.received = b""

    async def read(self, limit: int = 65536) -> bytes:
        if not self._request:
            await self._closed.wait()
        data, self._request = self._request, b""
        return data

    async def write(self, data: bytes) -> None:
        self.received += data

    async def write_eof(self) -> None:
        self._closed.set()

    def close(self) -> None:
        self._closed.set()


async def test_logs_with_all_options(kernel_node: KernelNode) -> None:
    script = "for i in 1 2 3 4 5; do echo line $i; done; echo oops >&2"
    container = kernel_node.container(command=["sh", "-c", script])
    await kernel_node.add_pod(restartPolicy="Never", containers=[container])
    await kernel_node.wait_phase("Succeeded")
    request = kernel_node.client.request
    full = (await request("GET", POD + "/log")).body.decode()
    assert sorted(full.splitlines()) == [*(f"line {i}" for i in range(1, 6)), "oops"]
    tail = await request("GET", POD + "/log", query=[("tailLines", "2")])
    assert len(tail.body.splitlines()) == 2
    limited = await request("GET", POD + "/log", query=[("limitBytes", "6")])
    assert len(limited.body) == 6
    stamped = await request("GET", POD + "/log", query=[("timestamps", "true"), ("tailLines", "1")])
    assert stamped.body.split(b" ")[0].startswith(b"20")
    late = await request("GET", POD + "/log", query=[("sinceTime", "2099-01-01T00:00:00Z")])
    assert late.body == b""


async def test_followed_log_ends_with_the_container(kernel_node: KernelNode) -> None:
    script = "echo first; sleep 0.5; echo last"
    container = kernel_node.container(command=["sh", "-c", script])
    await kernel_node.add_pod(restartPolicy="Never", containers=[container])
    await kernel_node.wait("web", lambda p: p.status.phase in ("Running", "Succeeded"))
    async with asyncio.timeout(30):
        stream = await kernel_node.client.open_stream(
            "GET", POD + "/log", query=[("follow", "true")]
        )
        text = b"".join([chunk async for chunk in stream.chunks()])
    assert text == b"first\nlast\n"


async def test_exec_with_input_and_exit_code(kernel_node: KernelNode) -> None:
    await kernel_node.add_pod()
    await kernel_node.wait_ready()
    api = await serve(kernel_node.server.handle)
    query = "?command=sh&command=-c&command=cat;echo%20err%3E%262;exit%207"
    path = f"{POD}/exec{query}&stdin=true&stdout=true&stderr=true&container=app"
    base = f"http://127.0.0.1:{api.port}"
    try:
        command = await dial_remote_command(lambda headers: _dial(base, path, headers))
        await command.write_stdin(b"hello\n")
        assert await command.close_stdin()
        output: dict[str, bytes] = {}
        async with asyncio.timeout(30):
            async for name, data in command.output():
                output[name] = output.get(name, b"") + data
        assert output == {"stdout": b"hello\n", "stderr": b"err\n"}
        assert command.exit_code == 7
    finally:
        await api.close(grace_s=0.1)


async def test_port_forward_reaches_localhost_of_the_pod(kernel_node: KernelNode) -> None:
    script = "mkdir -p /www; echo hi > /www/index.html; exec httpd -f -p 127.0.0.1:8080 -h /www"
    answers = {"exec": {"command": ["wget", "-qO-", "http://127.0.0.1:8080"]}, "periodSeconds": 1}
    container = kernel_node.container(command=["sh", "-c", script], readinessProbe=answers)
    await kernel_node.add_pod(containers=[container])
    await kernel_node.wait_ready()
    api = await serve(kernel_node.server.handle)
    base = f"http://127.0.0.1:{api.port}"
    try:
        forwarder = await dial_port_forward(
            lambda headers: _dial(base, f"{POD}/portforward?ports=8080", headers)
        )
        async with forwarder, asyncio.timeout(30):
            local = _Local(b"GET /index.html HTTP/1.0\r\n\r\n")
            await forwarder.forward(local, 8080)
        assert local.received.endswith(b"hi\n")
    finally:
        await api.close(grace_s=0.1)


async def test_the_near_end_of_a_forwarded_port_may_stop_sending(kernel_node: KernelNode) -> None:
    class Ended(_Local):
        async def read(self, limit: int = 65536) -> bytes:
            data, self._request = self._request, b""
            return data

    # Both answer once they have read everything.
    script = "nc -ll -p 8080 -e wc -c & exec nc -ll -p 8081 -e sh -c 'cat; echo over'"
    await kernel_node.add_pod(containers=[kernel_node.container(command=["sh", "-c", script])])
    await kernel_node.wait_ready()
    api = await serve(kernel_node.server.handle)
    base = f"http://127.0.0.1:{api.port}"

    async def forwarded(request: bytes, port: int) -> bytes:
        forwarder = await dial_port_forward(
            lambda headers: _dial(base, f"{POD}/portforward?ports={port}", headers)
        )
        async with forwarder:
            while True:
                local = Ended(request)
                try:
                    await forwarder.forward(local, port)
                except RemoteCommandError:
                    continue  # it does not listen yet
                return local.received

    try:
        async with asyncio.timeout(30):
            assert await forwarded(b"abc", 8080) == b"3\n"
            assert await forwarded(b"", 8081) == b"over\n"
    finally:
        await api.close(grace_s=0.1)


async def test_only_known_callers_are_served(kernel_node: KernelNode) -> None:
    base = f"https://127.0.0.1:{kernel_node.port}"
    trusting = client_context(ca_file=kernel_node.certificates.ca_file)
    nobody = HttpClient(tls=trusting)
    assert (await nobody.request("GET", f"{base}/healthz")).status == 200
    assert (await nobody.request("GET", f"{base}/pods")).status == 401
    forged = await nobody.request(
        "GET", f"{base}/pods", headers=[("authorization", "Bearer x.y.z")]
    )
    assert forged.status != 200
    pair = kernel_node.certificates.pair("apiserver-kubelet-client")
    known = HttpClient(
        tls=client_context(
            ca_file=kernel_node.certificates.ca_file,
            cert_file=pair.certificate,
            key_file=pair.key,
        )
    )
    await kernel_node.add_pod()
    await kernel_node.wait_ready()
    answer = await known.request("GET", f"{base}/pods")
    assert [p["metadata"]["name"] for p in orjson.loads(answer.body)["items"]] == ["web"]
    (ran,) = orjson.loads((await known.request("GET", f"{base}/runningpods/")).body)["items"]
    assert (ran["metadata"]["name"], ran["spec"]["containers"][0]["name"]) == ("web", "app")
    summary = orjson.loads((await known.request("GET", f"{base}/stats/summary")).body)
    assert summary["node"]["memory"]["rssBytes"] > 0
    (told,) = summary["pods"]
    assert told["podRef"]["name"] == "web"
    (container,) = told["containers"]
    assert container["startTime"] >= told["startTime"]
    for memory in (told["memory"], container["memory"]):
        assert memory["workingSetBytes"] <= memory["usageBytes"]
        assert {"rssBytes", "pageFaults", "majorPageFaults"} < memory.keys()
    metrics = await known.request("GET", f"{base}/metrics/resource")
    labels = b'{container="app",namespace="default",pod="web"} '
    for name in (b"container_memory_working_set_bytes", b"container_start_time_seconds"):
        assert name + labels in metrics.body
    assert b'pod_memory_working_set_bytes{namespace="default",pod="web"} ' in metrics.body
    assert metrics.body.endswith(b"\nresource_scrape_error 0\n")
    with pytest.raises(ssl.SSLError):
        await HttpClient(tls=client_context()).request("GET", f"{base}/healthz")
    for client in (nobody, known):
        await client.close()
