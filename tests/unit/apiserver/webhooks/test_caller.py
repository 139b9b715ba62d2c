"""Calls to real HTTPS servers: addressing, trust, time, kept connections, what failures say."""

from __future__ import annotations

import asyncio
import base64
import socket

import pytest
from tests.unit.apiserver.fake_reader import FakeReader
from tests.webhook_kit import Call, WebhookServer

from kutter.apiserver.webhooks import (
    ClientConfig,
    WebhookCaller,
    WebhookCallError,
    read_client_config,
)
from kutter.apiserver.webhooks import caller as caller_module
from kutter.http import Response

TIMEOUT_S = 20.0


@pytest.fixture
def reader():
    return FakeReader()


@pytest.fixture
async def caller(reader):
    made = WebhookCaller(reader)
    yield made
    await made.close()


@pytest.fixture
def webhook():
    names = ("localhost", "hook.apps.svc")
    with WebhookServer(lambda call: {"seen": call.body}, names=names) as server:
        yield server


def of_url(webhook: WebhookServer, path: str = "/x") -> ClientConfig:
    return read_client_config(webhook.client_config(path))


def of_service(webhook: WebhookServer, **more) -> ClientConfig:
    service = {"namespace": "apps", "name": "hook", "path": "/check", **more}
    return read_client_config({"service": service, "caBundle": webhook.ca_bundle})


def put_service(reader: FakeReader, webhook: WebhookServer) -> None:
    service, piece = webhook.service_objects("apps", "hook")
    reader.put("services", service)
    reader.put("endpointslices.discovery.k8s.io", piece)


async def failure(caller: WebhookCaller, config: ClientConfig, timeout_s=TIMEOUT_S) -> str:
    with pytest.raises(WebhookCallError) as found:
        await caller.post(config, {}, timeout_s=timeout_s)
    return str(found.value)


async def test_a_url_is_posted_json_with_its_time(caller, webhook) -> None:
    answer = await caller.post(of_url(webhook), {"a": 1}, timeout_s=10)
    assert answer == {"seen": {"a": 1}}
    call = webhook.calls[0]
    assert (call.path, call.query) == ("/x", "timeout=10s")
    assert call.headers["content-type"] == "application/json"
    assert call.headers["host"] == f"127.0.0.1:{webhook.port}"


async def test_a_service_is_reached_at_its_endpoint_under_its_own_name(
    caller, webhook, reader
) -> None:
    put_service(reader, webhook)
    assert await caller.post(of_service(webhook), [1], timeout_s=TIMEOUT_S) == {"seen": [1]}
    assert webhook.calls[0].headers["host"] == "hook.apps.svc:443"
    assert webhook.calls[0].path == "/check"


async def test_connections_are_kept(caller, webhook) -> None:
    for _ in range(3):
        await caller.post(of_url(webhook), {}, timeout_s=TIMEOUT_S)
    assert len(caller._clients) == 1
    (client,) = caller._clients.values()
    assert len(client.connections) == 1


async def test_unused_clients_go_and_close_their_connections(
    caller, webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_module, "_CLIENTS", 1)
    await caller.post(of_url(webhook, "/a"), {}, timeout_s=TIMEOUT_S)
    (first,) = caller._clients.values()
    await caller.post(of_url(webhook, "/b"), {}, timeout_s=TIMEOUT_S)
    assert first not in caller._clients.values()
    async with asyncio.timeout(TIMEOUT_S):
        while first.connections:
            await asyncio.sleep(0.001)


async def test_a_stranger_is_not_trusted(caller, webhook) -> None:
    with WebhookServer(lambda call: {}) as other:
        config = ClientConfig(url=webhook.url(), ca_pem=other.ca_pem)
        text = await failure(caller, config)
    assert text == (
        f'Post "{webhook.url()}?timeout=20s": tls: failed to verify certificate: x509: '
        "certificate signed by unknown authority"
    )
    assert webhook.calls == []
    # The system's authorities know nothing of it either.
    assert "unknown authority" in await failure(caller, ClientConfig(url=webhook.url()))


async def test_a_certificate_for_another_name_is_refused(caller, webhook, reader) -> None:
    service, piece = webhook.service_objects("apps", "other")
    reader.put("services", service)
    reader.put("endpointslices.discovery.k8s.io", piece)
    text = await failure(caller, of_service(webhook, name="other"))
    assert "certificate is not valid for the name" in text


async def test_time_runs_out_in_upstreams_words(caller, webhook) -> None:
    async def never(call: Call) -> None:
        await asyncio.sleep(3600)

    webhook.answer = never
    text = await failure(caller, of_url(webhook), timeout_s=0.05)
    assert text == f'Post "{webhook.url("/x")}?timeout=50ms": context deadline exceeded'


async def test_nobody_listens(caller) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        text = await failure(caller, ClientConfig(url=f"https://127.0.0.1:{port}/"))
    assert text.endswith(f"dial tcp 127.0.0.1:{port}: connect: connection refused")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Response(404, [], b"nothing here"), "the server could not find the requested resource"),
        (
            Response(500, [], b"boom"),
            'an error on the server ("boom") has prevented the request from succeeding',
        ),
        (Response(403, [], b'{"kind":"Status","message":"not you"}'), "not you"),
        (Response(302, [], b""), "the server responded with the status code 302 but did not"),
        (b"no json", "couldn't get version/kind; json parse error"),
    ],
)
async def test_what_is_no_answer_says_why(caller, webhook, answer, said) -> None:
    webhook.answer = lambda call: answer
    assert said in await failure(caller, of_url(webhook))


async def test_an_answer_without_end_is_cut(
    caller, webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_module, "ANSWER_LIMIT_BYTES", 1000)
    webhook.answer = lambda call: b'"' + b"x" * 2000 + b'"'
    assert "longer than 1000 bytes" in await failure(caller, of_url(webhook))


async def test_services_that_lead_nowhere(caller, webhook, reader) -> None:
    assert 'service "hook" not found' in await failure(caller, of_service(webhook))
    service, piece = webhook.service_objects("apps", "hook")
    reader.put("services", service)
    said = await failure(caller, of_service(webhook))
    assert said.endswith(
        '"https://hook.apps.svc:443/check?timeout=20s": no endpoints available for service "hook"'
    )
    said = await failure(caller, of_service(webhook, port=8443))
    assert 'no service port 8443 found for service "hook"' in said
    piece["endpoints"][0]["conditions"]["ready"] = False
    reader.put("endpointslices.discovery.k8s.io", piece)
    assert "no endpoints available" in await failure(caller, of_service(webhook))


async def test_a_change_of_endpoints_is_followed(caller, webhook, reader) -> None:
    put_service(reader, webhook)
    config = of_service(webhook)
    await caller.post(config, {}, timeout_s=TIMEOUT_S)
    reader.remove("endpointslices.discovery.k8s.io", "apps", "hook")
    assert "no endpoints available" in await failure(caller, config)
    put_service(reader, webhook)
    await caller.post(config, {}, timeout_s=TIMEOUT_S)
    assert len(webhook.calls) == 2


async def test_an_external_name_is_called_by_it(caller, webhook, reader) -> None:
    metadata = {"name": "hook", "namespace": "apps"}
    spec = {"type": "ExternalName", "externalName": "localhost"}
    reader.put("services", {"metadata": metadata, "spec": spec})
    config = of_service(webhook, port=webhook.port)
    assert await caller.post(config, 1, timeout_s=TIMEOUT_S) == {"seen": 1}


async def test_our_token_is_sent(caller, webhook) -> None:
    config = ClientConfig(url=webhook.url(), ca_pem=webhook.ca_pem, token="secret")
    await caller.post(config, {}, timeout_s=TIMEOUT_S)
    assert webhook.calls[0].headers["authorization"] == "Bearer secret"


def test_a_configuration_is_read() -> None:
    bundle = base64.b64encode(b"pem").decode()
    service = {"namespace": "a", "name": "b", "path": "/c"}
    config = read_client_config({"service": service, "caBundle": bundle})
    assert config == ClientConfig(namespace="a", name="b", path="/c", port=443, ca_pem=b"pem")
    assert config.shown_url == "https://b.a.svc:443/c"


async def test_bundles_may_have_comments_of_any_script(caller, webhook) -> None:
    comment = "# Autorität für Prüfungen\n".encode()
    config = ClientConfig(url=webhook.url(), ca_pem=comment + webhook.ca_pem)
    assert await caller.post(config, 1, timeout_s=TIMEOUT_S) == {"seen": 1}
    nonsense = ClientConfig(url=webhook.url(), ca_pem=b"\xff\xfe")
    assert "tls: " in await failure(caller, nonsense)
