"""A webhook as it is in the world: an HTTPS server on loopback with a certificate of its own CA.

It runs in a thread with its own loop, so tests may block or not; ``calls`` holds what it was sent.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import ipaddress
import tempfile
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kutter.http import Request, Response, ServerTls, serve
from kutter.http.server import HttpServer

START_S = 20.0


@dataclass
class Call:
    """One request a webhook was sent."""

    path: str
    query: str
    headers: dict[str, str]
    body: Any
    connection: str


Answer = Callable[[Call], Any]
"""From a call to the JSON to answer, bytes to answer as they are, a Response, or an awaitable."""


class WebhookServer:
    """``with WebhookServer(answer) as webhook``; ``names`` are in its certificate."""

    def __init__(
        self, answer: Answer, *, names: tuple[str, ...] = ("localhost",), host: str = "127.0.0.1"
    ) -> None:
        self.calls: list[Call] = []
        self.answer = answer
        self._folder = tempfile.TemporaryDirectory()
        self.host = host
        self.ca_pem = _write_pki(Path(self._folder.name), names)
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._server: HttpServer | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def ca_bundle(self) -> str:
        return base64.b64encode(self.ca_pem).decode()

    def url(self, path: str = "/") -> str:
        return f"https://{self.host}:{self.port}{path}"

    def client_config(self, path: str = "/") -> dict[str, Any]:
        return {"url": self.url(path), "caBundle": self.ca_bundle}

    def service_objects(self, namespace: str, name: str, port: int = 443) -> list[dict[str, Any]]:
        """A service without selector, and the slice that leads here."""
        metadata = {"name": name, "namespace": namespace}
        labels = {"kubernetes.io/service-name": name}
        ports = [{"name": "https", "port": port, "protocol": "TCP", "targetPort": self.port}]
        return [
            {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}},
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**metadata, "labels": labels},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [self.host], "conditions": {"ready": True}}],
                "ports": [{"name": "https", "port": self.port, "protocol": "TCP"}],
            },
        ]

    def external_service(self, namespace: str, name: str) -> dict[str, Any]:
        """A service that leads here through the public API, which refuses loopback endpoints.

        Refer to it with ``port``: this server's.
        """
        spec = {"type": "ExternalName", "externalName": "localhost"}
        metadata = {"name": name, "namespace": namespace}
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(START_S), "the webhook did not start"
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S)
        self._loop.close()
        self._folder.cleanup()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        folder = Path(self._folder.name)
        tls = ServerTls(folder / "server.crt", folder / "server.key")
        self._server = self._loop.run_until_complete(serve(self._handle, self.host, tls=tls))
        self.port = self._server.port
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._server.close(grace_s=0.1))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    async def _handle(self, request: Request) -> Response:
        body = orjson.loads(request.body) if request.body else None
        call = Call(request.path, request.raw_query, request.headers, body, request.remote_address)
        self.calls.append(call)
        answer = self.answer(call)
        if isinstance(answer, Awaitable):
            answer = await answer
        if isinstance(answer, Response):
            return answer
        content = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        return Response(200, [("Content-Type", "application/json")], content)


def _write_pki(folder: Path, names: tuple[str, ...]) -> bytes:
    now = dt.datetime.now(dt.UTC)

    def builder(name: str, key: ec.EllipticCurvePrivateKey, issuer: str) -> Any:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    ca = (
        builder("webhook-ca", ca_key, "webhook-ca")
        .add_extension(constraints, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    sans = [x509.DNSName(name) for name in names]
    alternatives = [*sans, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        builder("webhook", key, "webhook-ca")
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "server.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return ca.public_bytes(pem)
