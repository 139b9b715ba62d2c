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
# Verbs, resources and codes of a large cluster; each series is some 300 bytes, thrice.
_SERIES_MAX = 8192


class ServerMetrics:
    """What ``/metrics`` tells about requests."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._series: dict[tuple[object, ...], tuple[tuple[str, ...], tuple[str, ...]]] = {}
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
        verb, name = info.verb, info.name
        key = (
            verb,
            info.group,
            info.version,
            info.resource,
            info.subresource,
            name != "",
            info.namespace != "",
            status,
        )
        labels = self._series.get(key)
        if labels is None:
            labels = self._labels(info, status, known=len(self._series) < _SERIES_MAX)
            if len(self._series) < _SERIES_MAX:
                self._series[key] = labels
        self._total.inc_series(labels[1])
        if verb != "watch":
            self._duration.observe_series(duration_s, labels[0])

    def _labels(
        self, info: RequestInfo, status: int, *, known: bool
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The labels of a request's series, without and with its status.

        What nobody serves shares a series, and so does everything once there are too many:
        callers must not be able to grow the registry.
        """
        verb = _VERBS.get(info.verb, info.verb.upper())
        if not known:
            labels = ("", "", "", "", "", "")
        elif info.is_resource:
            scope = "resource" if info.name else ("namespace" if info.namespace else "cluster")
            resource = info.resource if status != 404 or info.name else ""
            labels = (verb, info.group, info.version, resource, info.subresource, scope)
        else:
            labels = (info.verb.upper(), "", "", "", "", "")
        return labels, (*labels, str(status))

    def count_objects(self, resource: str, count: int) -> None:
        self._objects.set(count, resource)
