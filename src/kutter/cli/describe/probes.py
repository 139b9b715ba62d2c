"""Probes on one line, as describe shows them. Pure."""

from __future__ import annotations

from typing import Any

Tree = dict[str, Any]


def probe_text(probe: Tree) -> str:
    """``http-get http://:80/ delay=0s timeout=1s period=10s #success=1 #failure=3``."""
    attributes = (
        f"delay={probe.get('initialDelaySeconds', 0)}s timeout={probe.get('timeoutSeconds', 0)}s"
        f" period={probe.get('periodSeconds', 0)}s #success={probe.get('successThreshold', 0)}"
        f" #failure={probe.get('failureThreshold', 0)}"
    )
    return f"{_handler(probe)} {attributes}"


def _handler(probe: Tree) -> str:
    if "exec" in probe:
        return f"exec [{' '.join(probe['exec'].get('command') or ())}]"
    if "httpGet" in probe:
        get = probe["httpGet"]
        scheme = (get.get("scheme") or "HTTP").lower()
        port = get.get("port")
        return f"http-get {scheme}://{get.get('host', '')}:{port}{get.get('path', '')}"
    if "tcpSocket" in probe:
        socket = probe["tcpSocket"]
        return f"tcp-socket {socket.get('host', '')}:{socket.get('port')}"
    if "grpc" in probe:
        grpc = probe["grpc"]
        return f"grpc <pod>:{grpc.get('port')} {grpc.get('service') or ''}"
    return "unknown"
