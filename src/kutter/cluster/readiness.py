"""Waiting for what was started: the server's ``/readyz``, the node's ``Ready``.

With nothing but the standard library: this is part of the time a start takes.
"""

from __future__ import annotations

import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError

import orjson

from kutter.cluster import processes
from kutter.cluster.certificates import Certificates
from kutter.cluster.config import ClusterConfig
from kutter.cluster.errors import StartError

_POLL_S = 0.005


def _administrator(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.ca_file))
    pair = certificates.pair("admin")
    context.load_cert_chain(pair.certificate, pair.key)
    return context


def _fetch(config: ClusterConfig, context: ssl.SSLContext, path: str) -> tuple[int, bytes]:
    """One request, with nothing but the standard library: start-up time."""
    request = urllib.request.Request(f"{config.local_url}{path}")  # noqa: S310  (our own https)
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


def _polls(config: ClusterConfig, component: str, deadline: float) -> Iterator[None]:
    """Tick until the deadline or until the component has died."""
    while time.monotonic() < deadline:
        if processes.find(config.run_dir, component) is None:
            log = config.log_dir / f"{component}.log"
            raise StartError(f"the {component} ended: {_last_line(log)}", f"its log is {log}")
        yield
        time.sleep(_POLL_S)


def wait_ready(config: ClusterConfig, certificates: Certificates, deadline: float) -> None:
    detail = "it does not answer"
    context = _administrator(certificates)
    for _ in _polls(config, processes.SERVER, deadline):
        try:
            status, body = _fetch(config, context, "/readyz?verbose")
        except (URLError, OSError):
            continue
        if status == 200:
            return
        detail = body.decode(errors="replace").strip()
    raise StartError(
        f"the server is not ready in time: {detail}", f"its log is {config.log_dir}/server.log"
    )


def wait_node(config: ClusterConfig, certificates: Certificates, deadline: float) -> None:
    detail = "it has not registered"
    context = _administrator(certificates)
    for _ in _polls(config, processes.AGENT, deadline):
        # The stored node may still say Ready from an earlier run: ask the agent itself first.
        if not _agent_is_ready(config):
            continue
        try:
            status, body = _fetch(config, context, f"/api/v1/nodes/{config.node_name}")
        except (URLError, OSError):
            continue
        if status != 200:
            continue
        node = orjson.loads(body)
        for condition in node.get("status", {}).get("conditions", []):
            if condition["type"] == "Ready":
                if condition["status"] == "True":
                    return
                detail = condition.get("message") or condition.get("reason", "")
    raise StartError(
        f"node {config.node_name} is not Ready in time: {detail}",
        f"its log is {config.log_dir}/agent.log",
    )


def _agent_is_ready(config: ClusterConfig) -> bool:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    try:
        connection.connect(str(config.run_dir / "agent.sock"))
        connection.sendall(b"GET /ready HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")
        return b" 200 " in connection.recv(64)
    except OSError:
        return False
    finally:
        connection.close()


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line]
    except OSError:
        return "no log was written"
    return lines[-1] if lines else "its log is empty"
