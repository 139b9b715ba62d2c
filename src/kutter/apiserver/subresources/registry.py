"""Which subresource is handled by whom. Everything not here is a part of its object (status)."""

from __future__ import annotations

from collections.abc import Awaitable
from importlib import import_module
from typing import cast

from kutter.apiserver.component_status import component_statuses
from kutter.apiserver.context import Call
from kutter.apiserver.ports import CallHandler
from kutter.apiserver.subresources.binding import bind, bind_of_old
from kutter.apiserver.subresources.eviction import evict
from kutter.apiserver.subresources.parts import part_handler
from kutter.apiserver.subresources.scale import SCALABLE, scale_handler
from kutter.http.messages import Response

HandlerKey = tuple[str, str, str]

# Some subresources also take the labels and annotations of what they are sent.
_NOTES = (("metadata", "labels"), ("metadata", "annotations"))


def _late(module: str, name: str) -> CallHandler:
    """A handler read in when first asked for: relays bring WebSockets, SPDY and HTML with them,
    which no start needs.
    """

    def handle(call: Call) -> Awaitable[Response]:
        found = getattr(import_module(f"kutter.apiserver.subresources.{module}"), name)
        return cast("CallHandler", found)(call)

    return handle


def core_handlers() -> dict[HandlerKey, CallHandler]:
    """The handlers the core brings: (group, plural, subresource) → handler."""
    pod_stream = _late("node_relay", "pod_stream")
    handlers: dict[HandlerKey, CallHandler] = {
        ("", "pods", "binding"): bind,
        ("", "bindings", ""): bind_of_old,
        ("", "componentstatuses", ""): component_statuses,
        ("", "pods", "eviction"): evict,
        ("", "pods", "log"): _late("node_relay", "pod_log"),
        ("", "pods", "exec"): pod_stream,
        ("", "pods", "attach"): pod_stream,
        ("", "pods", "portforward"): pod_stream,
        ("", "pods", "proxy"): _late("proxy", "pod_proxy"),
        ("", "services", "proxy"): _late("proxy", "service_proxy"),
        ("", "nodes", "proxy"): _late("node_relay", "node_proxy"),
        ("", "namespaces", "finalize"): part_handler(("spec", "finalizers"), *_NOTES),
        ("", "pods", "ephemeralcontainers"): part_handler(("spec", "ephemeralContainers")),
        ("", "pods", "resize"): part_handler(
            ("spec", "containers"), ("spec", "initContainers"), ("spec", "resources")
        ),
        ("certificates.k8s.io", "certificatesigningrequests", "approval"): part_handler(
            ("status", "conditions"), *_NOTES
        ),
    }
    handlers.update({(group, plural, "scale"): scale_handler for group, plural in SCALABLE})
    return handlers
