"""The group-versions that other API servers serve, and the order of all groups.

Between the APIService objects, followed through the read cache, and pipeline and discovery. Laws:
an APIService that names a service takes its group-version away from this server while it exists;
a server without any costs the pipeline one look at an empty dictionary.
Upstream: https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from kutter.api.custom.definition import version_rank
from kutter.apiserver.aggregation.documents import Documents
from kutter.apiserver.aggregation.front_proxy import FrontProxy
from kutter.apiserver.aggregation.priorities import BUILTIN_PRIORITIES, CUSTOM_PRIORITY
from kutter.apiserver.aggregation.remote import Remote
from kutter.apiserver.ports import Change, Tree
from kutter.apiserver.request_info import RequestInfo
from kutter.apiserver.webhooks.targets import ServiceTargets

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

GROUP = "apiregistration.k8s.io"
API_SERVICES = f"apiservices.{GROUP}"
_OPENAPI = "/openapi/v3/"
Key = tuple[str, str]


class Aggregator:
    """``remotes`` by (group, version); ``generation`` changes when discovery has to."""

    def __init__(self, server: ApiServer, front_proxy: FrontProxy | None) -> None:
        self.remotes: dict[Key, Remote] = {}
        self.generation = 0
        self._server = server
        self._front_proxy = front_proxy
        self._targets = ServiceTargets(server.caches, server.rng)
        self._specs: dict[str, bytes] = {}
        # (group priority, version priority) of each group-version with an APIService.
        self._priorities: dict[Key, tuple[int, int]] = {}

    def start(self) -> None:
        """Follow the APIServices; called once the caches are filled."""
        for tree in self._server.caches.list(API_SERVICES):
            self._take(tree)
        self._server.caches.on_change(API_SERVICES, self._changed)

    def stop(self) -> None:
        for remote in self.remotes.values():
            remote.retire()

    def _changed(self, changes: list[Change]) -> None:
        for change in changes:
            if change.type == "DELETED":
                self._forget(change.current.tree)
            else:
                self._take(change.current.tree)

    def _take(self, tree: Tree) -> None:
        spec = tree["spec"]
        key = (spec.get("group") or "", spec["version"])
        priorities = (spec["groupPriorityMinimum"], spec["versionPriority"])
        if self._priorities.get(key) != priorities:
            self._priorities[key] = priorities
            self.generation += 1
        if spec.get("service") is None:
            self._remove(key)
            return
        remote = self.remotes.get(key)
        mark = orjson.dumps(spec)
        if remote is None or self._specs.get(remote.name) != mark:
            fresh = Remote(tree, self._targets, self._front_proxy)
            self._specs[fresh.name] = mark
            if remote is not None:
                fresh.documents = remote.documents
                remote.retire()
            remote = self.remotes[key] = fresh
            self._publish()
        available = is_available(tree)
        if remote.available != available:
            remote.available = available
            self.generation += 1

    def _forget(self, tree: Tree) -> None:
        spec = tree["spec"]
        key = (spec.get("group") or "", spec["version"])
        if self._priorities.pop(key, None) is not None:
            self.generation += 1
        self._remove(key)

    def _remove(self, key: Key) -> None:
        remote = self.remotes.pop(key, None)
        if remote is not None:
            self._specs.pop(remote.name, None)
            remote.retire()
            self._publish()

    def describe(self, remote: Remote, documents: Documents) -> None:
        """What a server publishes about itself has changed."""
        remote.documents = documents
        self._publish()

    def _publish(self) -> None:
        """Discovery, and whoever goes through all there is in a namespace, look again."""
        self.generation += 1
        self._server.catalog.elsewhere = tuple(
            resource
            for (group, version), remote in self.remotes.items()
            for resource in remote.documents.resources(group, version)
        )

    def named(self, name: str) -> Remote | None:
        """The remote of an APIService by name."""
        return next((r for r in self.remotes.values() if r.name == name), None)

    # -- routing ----------------------------------------------------------------

    def remote_of(self, info: RequestInfo) -> Remote | None:
        """Who answers a request; None: this server does."""
        if info.is_resource:
            return self.remotes.get((info.group, info.version))
        path = info.path.rstrip("/")
        if path.startswith(_OPENAPI):
            path = path.removeprefix("/openapi/v3")
        match path.split("/"):
            case ["", "apis", group, version, *_]:
                return self.remotes.get((group, version))
            case ["", "api", version, *_]:
                return self.remotes.get(("", version))
        return None

    # -- discovery --------------------------------------------------------------

    def groups(self) -> list[str]:
        """All groups in discovery's order: by priority, then by name."""
        best: dict[str, int] = {}
        for group in (*self._server.catalog.groups(), *(group for group, _ in self.remotes)):
            best[group] = 0
        for key in {*BUILTIN_PRIORITIES, *self._priorities}:
            if key[0] in best:
                priority = self._priorities.get(key) or BUILTIN_PRIORITIES[key]
                best[key[0]] = max(best[key[0]], priority[0])

        def rank(group: str) -> tuple[bool, int, str]:
            return (group not in ("", GROUP), -(best[group] or CUSTOM_PRIORITY[0]), group)

        return sorted(best, key=rank)

    def versions(self, group: str) -> list[str]:
        """A group's versions, the preferred first."""
        own = self._server.catalog.versions(group)
        remote = [version for other, version in self.remotes if other == group]
        if not remote:
            return own
        found = dict.fromkeys([*own, *remote])

        def rank(version: str) -> tuple[Any, ...]:
            return (-self._priorities.get((group, version), (0, 0))[1], version_rank(version))

        return sorted(found, key=rank)


def is_available(tree: Tree) -> bool:
    """Whether the object's condition says so."""
    for condition in (tree.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Available":
            return bool(condition.get("status") == "True")
    return False
