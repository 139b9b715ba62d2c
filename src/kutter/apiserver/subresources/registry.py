"""Which subresource is handled by whom. Everything not here is a part of its object (status)."""

from __future__ import annotations

from kutter.apiserver.component_status import component_statuses
from kutter.apiserver.ports import CallHandler
from kutter.apiserver.subresources.binding import bind, bind_of_old
from kutter.apiserver.subresources.eviction import evict
from kutter.apiserver.subresources.node_relay import node_proxy, pod_log, pod_stream
from kutter.apiserver.subresources.parts import part_handler
from kutter.apiserver.subresources.proxy import pod_proxy, service_proxy
from kutter.apiserver.subresources.scale import SCALABLE, scale_handler

HandlerKey = tuple[str, str, str]

# Some subresources also take the labels and annotations of what they are sent.
_NOTES = (("metadata", "labels"), ("metadata", "annotations"))


def core_handlers() -> dict[HandlerKey, CallHandler]:
    """The handlers the core brings: (group, plural, subresource) → handler."""
    handlers: dict[HandlerKey, CallHandler] = {
        ("", "pods", "binding"): bind,
        ("", "bindings", ""): bind_of_old,
        ("", "componentstatuses", ""): component_statuses,
        ("", "pods", "eviction"): evict,
        ("", "pods", "log"): pod_log,
        ("", "pods", "exec"): pod_stream,
        ("", "pods", "attach"): pod_stream,
        ("", "pods", "portforward"): pod_stream,
        ("", "pods", "proxy"): pod_proxy,
        ("", "services", "proxy"): service_proxy,
        ("", "nodes", "proxy"): node_proxy,
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
