"""APIServices of this server's own groups, and whether those of others can be reached.

Owns: the APIServices of built-in and custom group-versions (Local), the ``Available`` condition of
all. Reads services and their endpoint slices. Those of built-in groups are made at the start, those
of custom ones follow their definitions. Nothing is asked of anybody without remote ones.
Upstream: ``kube-aggregator/pkg/controllers``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kutter.api.errors import ApiError, is_reason
from kutter.apiserver.aggregation import documents
from kutter.apiserver.aggregation.aggregator import API_SERVICES, GROUP, Aggregator
from kutter.apiserver.aggregation.priorities import BUILTIN_PRIORITIES, CUSTOM_PRIORITY
from kutter.apiserver.aggregation.remote import Remote
from kutter.apiserver.authn.identity import GROUP_MASTERS, User
from kutter.apiserver.ports import Change, Tree
from kutter.apiserver.writing import DeleteOptions, WriteContext
from kutter.base.clock import render_time
from kutter.base.log import get_logger
from kutter.base.metrics import Counter, Gauge
from kutter.machinery.queue import WorkQueue

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged"
_SERVICES, _SLICES = "services", "endpointslices.discovery.k8s.io"
_SERVICE_NAME = "kubernetes.io/service-name"
_CRDS = "customresourcedefinitions.apiextensions.k8s.io"
_RESYNC_S = 30.0
_ATTEMPTS = 5
_SYNC = "/"  # no APIService's name
_SYSTEM = User("system:apiserver", groups=(GROUP_MASTERS,))
_log = get_logger("aggregation")

Verdict = tuple[str, str, str]
"""Status, reason and message of the condition."""


class Registration:
    """``start`` with filled caches, then ``run`` until cancelled."""

    def __init__(self, server: ApiServer, aggregator: Aggregator) -> None:
        self._server = server
        self._aggregator = aggregator
        self._queue = WorkQueue()
        self._begun = False
        # Taken before there are custom kinds, whose definitions say what is served.
        self._builtin = [key for key in server.catalog.group_versions() if key[0] != GROUP]
        registry = server.metrics.registry
        self._unavailable = registry.add(
            Gauge(
                "aggregator_unavailable_apiservice",
                "Gauge of APIServices which are marked as unavailable broken down by name.",
                ("name",),
            )
        )
        self._turned = registry.add(
            Counter(
                "aggregator_unavailable_apiservice_total",
                "Counter of APIServices which are marked as unavailable by name and reason.",
                ("name", "reason"),
            )
        )

    def start(self) -> None:
        caches = self._server.caches
        caches.on_change(API_SERVICES, self._service_changed)
        caches.on_change(_SERVICES, self._backend_changed)
        caches.on_change(_SLICES, self._slice_changed)
        caches.on_change(_CRDS, self._definition_changed)
        for tree in caches.list(API_SERVICES):
            self._queue.add(tree["metadata"]["name"])
        self._queue.add(_SYNC)

    def stop(self) -> None:
        self._queue.close()

    def problem(self) -> str:
        """Why not everything served has its APIService yet; empty when it has."""
        return "" if self._begun else "APIServices are being made"

    # -- told by the caches -------------------------------------------------------

    def _service_changed(self, changes: list[Change]) -> None:
        for change in changes:
            self._queue.add(change.current.name)
            if change.type == "DELETED":
                self._queue.add(_SYNC)

    def _definition_changed(self, changes: list[Change]) -> None:
        self._queue.add(_SYNC)

    def _backend_changed(self, changes: list[Change]) -> None:
        if self._aggregator.remotes:
            for change in changes:
                self._queue_backend(change.current.namespace, change.current.name)

    def _slice_changed(self, changes: list[Change]) -> None:
        if self._aggregator.remotes:
            for change in changes:
                labels = change.current.tree["metadata"].get("labels") or {}
                self._queue_backend(change.current.namespace, labels.get(_SERVICE_NAME, ""))

    def _queue_backend(self, namespace: str, service: str) -> None:
        for remote in self._aggregator.remotes.values():
            if (remote.namespace, remote.service) == (namespace, service):
                self._queue.add(remote.name)

    # -- working ------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            name = await self._queue.get()
            try:
                if name == _SYNC:
                    await self._register()
                elif not await self._check(name):
                    self._queue.retry(name)
                    continue
                self._queue.forget(name)
            except (ApiError, OSError) as error:
                delay = self._queue.retry(name)
                _log.warning("APIService failed", name=name, error=str(error), delay_s=delay)
            finally:
                self._queue.done(name)

    async def _register(self) -> None:
        """Make what is missing, remove what stands for a definition that is gone."""
        caches = self._server.caches
        wanted = {f"{version}.{group}": (group, version) for group, version in self._builtin}
        for tree in caches.list(_CRDS):
            spec = tree["spec"]
            if not tree["metadata"].get("deletionTimestamp"):
                for version in spec["versions"]:
                    if version.get("served"):
                        key = (spec["group"], version["name"])
                        wanted.setdefault(f"{key[1]}.{key[0]}", key)
        async with asyncio.TaskGroup() as tasks:
            for name, key in wanted.items():
                builtin = key in self._builtin
                if not caches.exists(API_SERVICES, "", name) and not (builtin and self._begun):
                    tasks.create_task(self._create(name, key))
            for tree in list(caches.list(API_SERVICES)):
                metadata = tree["metadata"]
                managed = (metadata.get("labels") or {}).get(AUTOMANAGED)
                if managed and metadata["name"] not in wanted:
                    tasks.create_task(self._delete(metadata["name"]))
        self._begun = True

    async def _create(self, name: str, key: tuple[str, str]) -> None:
        known = BUILTIN_PRIORITIES.get(key)
        group_priority, version_priority = known or CUSTOM_PRIORITY
        tree: Tree = {
            "kind": "APIService",
            "apiVersion": f"{GROUP}/v1",
            "metadata": {"name": name, "labels": {AUTOMANAGED: "onstart" if known else "true"}},
            "spec": {
                "group": key[0],
                "version": key[1],
                "groupPriorityMinimum": group_priority,
                "versionPriority": version_priority,
            },
        }
        if not key[0]:
            del tree["spec"]["group"]
        try:
            await self._storage().create(self._context("CreateOptions"), "", tree)
        except ApiError as error:
            if not is_reason(error, "AlreadyExists"):
                raise

    async def _delete(self, name: str) -> None:
        try:
            context = self._context("DeleteOptions")
            await self._storage().delete(context, "", name, DeleteOptions())
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise

    # -- availability -------------------------------------------------------------

    async def _check(self, name: str) -> bool:
        """Bring the condition up to date; whether it need not be looked at again soon."""
        tree = self._server.caches.get(API_SERVICES, "", name)
        if tree is None:
            self._unavailable.set(0, name)
            return True
        remote = self._aggregator.named(name)
        if remote is None:
            text = "Local APIServices are always available"
            await self._conclude(tree, ("True", "Local", text))
            return True
        verdict = _look_at_service(self._server.caches, remote)
        if verdict is None:
            problem = await self._ask(remote)
            if self._aggregator.named(name) is not remote:
                return True  # changed meanwhile, and queued again
            if problem:
                verdict = ("False", "FailedDiscoveryCheck", problem)
            else:
                verdict = ("True", "Passed", "all checks passed")
        await self._conclude(tree, verdict)
        if verdict[0] != "True":
            return False
        await self._refresh(remote)
        self._queue.add_after(name, _RESYNC_S)
        return True

    async def _ask(self, remote: Remote) -> str:
        """One success of several attempts is enough: each may meet another endpoint."""
        problem = await remote.check()
        if problem:
            more = await asyncio.gather(*(remote.check() for _ in range(_ATTEMPTS - 1)))
            problem = "" if "" in more else more[-1]
        return problem

    async def _refresh(self, remote: Remote) -> None:
        try:
            found = await documents.fetch(remote.get, remote.group, remote.version)
        except (OSError, documents.DocumentError) as error:
            _log.warning("documents not read", name=remote.name, error=str(error))
            return
        if found != remote.documents:
            self._aggregator.describe(remote, found)

    async def _conclude(self, tree: Tree, verdict: Verdict) -> None:
        """Write the condition where it differs."""
        name = tree["metadata"]["name"]
        status, reason, message = verdict
        self._unavailable.set(0 if status == "True" else 1, name)
        known = _condition(tree)
        if (known.get("status"), known.get("reason"), known.get("message")) == verdict:
            return
        if status != "True" and known.get("status") != status:
            self._turned.inc(name, reason)
        now = render_time(self._server.clock.now())
        uid = tree["metadata"]["uid"]

        def change(old: Tree | None) -> Tree:
            assert old is not None, "an update never creates here"
            if old["metadata"]["uid"] != uid:
                return old
            before = _condition(old)
            moment = before.get("lastTransitionTime") if before.get("status") == status else now
            made = {
                "type": "Available",
                "status": status,
                "lastTransitionTime": moment or now,
                "reason": reason,
                "message": message,
            }
            held = old.setdefault("status", {})
            others = [c for c in held.get("conditions") or () if c.get("type") != "Available"]
            held["conditions"] = [*others, made]
            return old

        try:
            context = self._context("UpdateOptions", "status")
            await self._storage().update(context, "", name, change)
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise

    def _storage(self) -> Any:
        return self._server.storage_of(GROUP, "apiservices")

    def _context(self, kind: str, subresource: str = "") -> WriteContext:
        options = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
        return WriteContext(
            user=_SYSTEM, now=self._server.clock.now(), options=options, subresource=subresource
        )


def _condition(tree: Tree) -> Tree:
    for condition in (tree.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Available":
            found: Tree = condition
            return found
    return {}


def _look_at_service(caches: Any, remote: Remote) -> Verdict | None:
    """What is wrong with the service before it is asked; None: nothing."""
    namespace, name, port = remote.namespace, remote.service, remote.port
    service = caches.get(_SERVICES, namespace, name)
    if service is None:
        text = f'service/{name} in "{namespace}" is not present'
        return ("False", "ServiceNotFound", text)
    spec = service.get("spec") or {}
    if (spec.get("type") or "ClusterIP") != "ClusterIP":
        return None
    ports = [p for p in spec.get("ports") or () if p.get("port") == port]
    if not ports:
        text = f'service/{name} in "{namespace}" is not listening on port {port}'
        return ("False", "ServicePortError", text)
    slices = [
        tree
        for tree in caches.list(_SLICES, namespace)
        if (tree["metadata"].get("labels") or {}).get(_SERVICE_NAME) == name
    ]
    if not slices:
        text = f'cannot find endpointslices for service/{name} in "{namespace}"'
        return ("False", "EndpointsNotFound", text)
    port_name = ports[0].get("name") or ""
    if not any(_serves(tree, port_name) for tree in slices):
        text = (
            f'endpointslices for service/{name} in "{namespace}" have no addresses with port name'
            f' "{port_name}"'
        )
        return ("False", "MissingEndpoints", text)
    return None


def _serves(tree: Tree, port_name: str) -> bool:
    ready = any(
        (endpoint.get("conditions") or {}).get("ready") is not False
        for endpoint in tree.get("endpoints") or ()
    )
    return ready and any(
        (port.get("name") or "") == port_name and port.get("port")
        for port in tree.get("ports") or ()
    )
