"""The API server's own metrics, named as upstream's."""

from __future__ import annotations

from collections.abc import Callable

from kutter.apiserver.request_metrics import RequestMetrics
from kutter.base.metrics import Gauge, Registry, Total
from kutter.base.process_metrics import add_process_metrics

_RESOURCE = ("group", "resource")


class ServerMetrics:
    """What ``/metrics`` tells: of requests, of what is stored and of the process."""

    def __init__(
        self,
        registry: Registry,
        known: Callable[[str, str, str], bool],
        build: dict[str, str],
    ) -> None:
        """``known``: whether a group, version and resource are served. ``build``: the version."""
        self.registry = registry
        self.requests = RequestMetrics(registry, known)
        self._objects = registry.add(
            Gauge(
                "apiserver_storage_objects",
                "Number of stored objects at the time of the last check, by kind.",
                ("resource",),
            )
        )
        self._resources = registry.add(
            Gauge(
                "apiserver_resource_objects",
                "Number of stored objects at the time of the last check, by group and resource.",
                _RESOURCE,
            )
        )
        self._size = registry.add(
            Gauge(
                "apiserver_storage_size_bytes",
                "Size of the storage database file physically allocated in bytes.",
                ("storage_cluster_id",),
            )
        )
        self._watches = registry.add(
            Gauge(
                "apiserver_longrunning_requests",
                "Watches that are being served, by resource and scope.",
                ("component", "group", "resource", "scope", "subresource", "verb", "version"),
            )
        )
        self._events = registry.add(
            Total(
                "apiserver_watch_events_total",
                "Number of events sent in watches, by resource.",
                (*_RESOURCE, "version"),
            )
        )
        info = Gauge("kubernetes_build_info", "The version that is spoken, and by whom.", _BUILD)
        info.set(1, *(build.get(name, "") for name in _BUILD_KEYS))
        registry.add(info)
        add_process_metrics(registry)

    def count_objects(self, group: str, plural: str, count: int) -> None:
        self._objects.set(count, f"{plural}.{group}" if group else plural)
        self._resources.set(count, group, plural)

    def count_watches(self, group: str, plural: str, version: str, scopes: dict[str, int]) -> None:
        """Watches of a resource: how many of everything, of a namespace and of one object."""
        for scope, count in scopes.items():
            labels = ("apiserver", group, plural, scope, "", "WATCH", version)
            if count or self._watches.value(*labels):
                self._watches.set(count, *labels)

    def count_events(self, group: str, plural: str, version: str, count: int) -> None:
        if count:
            self._events.set(count, group, plural, version)

    def tell_size(self, size_bytes: int) -> None:
        self._size.set(size_bytes, "etcd-0")


_BUILD = (
    "build_date",
    "compiler",
    "git_commit",
    "git_tree_state",
    "git_version",
    "go_version",
    "major",
    "minor",
    "platform",
)
_BUILD_KEYS = (
    "buildDate",
    "compiler",
    "gitCommit",
    "gitTreeState",
    "gitVersion",
    "goVersion",
    "major",
    "minor",
    "platform",
)
