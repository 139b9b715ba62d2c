"""The API server's own metrics, named as upstream's."""

from __future__ import annotations

from kutter.apiserver.request_info import RequestInfo
from kutter.base.metrics import Counter, Gauge, Histogram, Registry

_VERBS = {
    "get": "GET",
    "list": "LIST",
    "watch": "WATCH",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETECOLLECTION",
}


class ServerMetrics:
    """What ``/metrics`` tells about requests."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._total = registry.add(
            Counter(
                "apiserver_request_total",
                "Counter of apiserver requests by verb, group, version, resource, scope and code.",
                ("verb", "group", "version", "resource", "subresource", "scope", "code"),
            )
        )
        self._duration = registry.add(
            Histogram(
                "apiserver_request_duration_seconds",
                "Response latency distribution in seconds by verb, group, version and resource.",
                ("verb", "group", "version", "resource", "subresource", "scope"),
            )
        )
        self._objects = registry.add(
            Gauge(
                "apiserver_storage_objects",
                "Number of stored objects at the time of the last check, by kind.",
                ("resource",),
            )
        )

    def observe(self, info: RequestInfo, status: int, duration_s: float) -> None:
        """Count one answered request."""
        if info.is_resource:
            verb = _VERBS.get(info.verb, info.verb.upper())
            scope = "resource" if info.name else ("namespace" if info.namespace else "cluster")
            # Unknown resources share a series: callers must not be able to grow the registry.
            known = status != 404 or info.name
            resource = info.resource if known else ""
            labels = (verb, info.group, info.version, resource, info.subresource, scope)
        else:
            labels = (info.verb.upper(), "", "", "", "", "")
        self._total.inc(*labels, str(status))
        if info.verb != "watch":
            self._duration.observe(duration_s, *labels)

    def count_objects(self, resource: str, count: int) -> None:
        self._objects.set(count, resource)
