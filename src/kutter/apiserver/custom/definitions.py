"""Custom resources of one server: definitions become resources, and go with all their objects.

Between the stored CustomResourceDefinitions and the catalog. Owns: the conditions and accepted
names of definitions, their clean-up finalizer, the catalog's custom resources and their caches.
Told of changes by the read cache, in this process, so that a new kind is served within
milliseconds. Laws: a definition is shown as Established only once its kind is served; its name
is free only once none of its objects is left.
Upstream: kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from kutter.api.custom.definition import (
    CLEANUP,
    GROUP,
    DefinedVersion,
    Definition,
    read_definition,
    version_rank,
)
from kutter.api.custom.patterns import PatternError
from kutter.api.errors import ApiError, is_reason
from kutter.api.resources import Resource
from kutter.apiserver.authn.identity import GROUP_MASTERS, User
from kutter.apiserver.cache import CacheEvent, ResourceCache
from kutter.apiserver.converted_watching import ConvertingBroadcaster
from kutter.apiserver.converting import Converter
from kutter.apiserver.custom.approval import CONDITION as APPROVAL
from kutter.apiserver.custom.approval import approval_of
from kutter.apiserver.custom.conditions import (
    accept_names,
    drop_condition,
    is_true,
    set_condition,
)
from kutter.apiserver.custom.conversion import ConvertedEntries, StoredForm, plain_converter
from kutter.apiserver.custom.conversion_webhook import (
    ConversionMetrics,
    ConversionWebhook,
    WebhookConverter,
)
from kutter.apiserver.custom.encoder import CustomEncoder
from kutter.apiserver.custom.table import CustomPrinter
from kutter.apiserver.ports import CallHandler, Change, Tree
from kutter.apiserver.served import Served
from kutter.apiserver.storage import ObjectStorage
from kutter.apiserver.watching import Broadcaster
from kutter.apiserver.writing import DeleteOptions, WriteContext
from kutter.base.clock import render_time
from kutter.base.log import get_logger
from kutter.machinery.queue import WorkQueue

if TYPE_CHECKING:
    from kutter.apiserver.custom.kind import CustomKind
    from kutter.apiserver.server import ApiServer

_CRDS = f"customresourcedefinitions.{GROUP}"
_SYSTEM = User("system:apiserver", groups=(GROUP_MASTERS,))
_log = get_logger("custom-resources")


class _Version(msgspec.Struct):
    """One version as served; ``served`` is made when first asked for."""

    defined: DefinedVersion
    storage: ObjectStorage
    broadcaster: Broadcaster
    scale: CallHandler | None
    served: Served | None = None


class _Active(msgspec.Struct):
    """One definition being served. ``mark`` tells whether it has changed since; ``faults`` are
    where its schemas are not structural.
    """

    definition: Definition
    mark: bytes
    cache: ResourceCache
    faults: list[str]
    kinds: dict[str, CustomKind]
    versions: dict[str, _Version] = msgspec.field(default_factory=dict)

    @property
    def stored(self) -> _Version:
        return self.versions[self.definition.stored.name]


class Definitions:
    """``load`` once the caches are filled, then ``run`` until cancelled."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._queue = WorkQueue()
        self._active: dict[str, _Active] = {}
        self._converted = ConvertedEntries()
        self._conversion_metrics = ConversionMetrics(server.metrics.registry)
        self._by_place: dict[tuple[str, str], str] = {}

    # -- asked by the server ---------------------------------------------------

    def version_of(self, resource: Resource) -> _Version | None:
        """How a custom resource is served; None for built-in ones."""
        name = self._by_place.get((resource.group, resource.plural))
        if name is None:
            return None
        found = self._active[name].versions.get(resource.version)
        return found if found is not None and found.defined.resource is resource else None

    def served_for(self, resource: Resource) -> Served | None:
        """As the server's ``served_for``, for custom resources."""
        version = self.version_of(resource)
        if version is None:
            return None
        if version.served is None:
            version.served = self._make_served(version)
        return version.served

    def schema_of(self, resource: Resource) -> Tree | None:
        """The ``openAPIV3Schema`` of a custom resource."""
        version = self.version_of(resource)
        return version.defined.schema if version is not None else None

    def selectable_of(self, resource: Resource) -> list[str]:
        """The field selectors of a custom resource: ``spec.color``."""
        version = self.version_of(resource)
        if version is None:
            return []
        return [path.lstrip(".") for path in version.defined.selectable]

    def mark_of(self, group: str, version: str) -> bytes:
        """Changes with every change of what is defined in a group-version."""
        found = [
            active.mark
            for active in self._active.values()
            if active.definition.group == group and version in active.versions
        ]
        return b"".join(sorted(found))

    # -- life ------------------------------------------------------------------

    async def load(self) -> None:
        """Serve what was established before; called before the first request."""
        for tree in list(self._server.caches.list(_CRDS)):
            if is_true(tree, "Established"):
                await self._serve(tree)
            self._queue.add(tree["metadata"]["name"])
        self._server.caches.on_change(_CRDS, self._changed)

    def _changed(self, changes: list[Change]) -> None:
        for change in changes:
            self._queue.add(change.current.name)
            if change.type == "DELETED":
                # Its names are free: somebody may be waiting for them.
                self._queue_group(change.current.name)

    def _queue_group(self, name: str) -> None:
        group = name.partition(".")[2]
        for tree in self._server.caches.list(_CRDS):
            other = tree["metadata"]["name"]
            if other != name and other.partition(".")[2] == group:
                self._queue.add(other)

    async def run(self) -> None:
        """Follow the definitions' changes, one at a time: names are given first come."""
        while True:
            name = await self._queue.get()
            try:
                await self._reconcile(name)
                self._queue.forget(name)
            except (ApiError, OSError) as error:
                delay = self._queue.retry(name)
                _log.warning("definition failed", name=name, error=str(error), delay_s=delay)
            finally:
                self._queue.done(name)

    def stop(self) -> None:
        """End every watch of a custom kind."""
        for active in self._active.values():
            self._retire(active)

    async def _reconcile(self, name: str) -> None:
        tree = self._server.caches.get(_CRDS, "", name)
        if tree is None:
            self._unserve(name)
            return
        if tree["metadata"].get("deletionTimestamp"):
            await self._clean_up(tree)
            return
        before = orjson.dumps(tree.get("status"))
        names = (tree.get("status") or {}).get("acceptedNames")
        now = render_time(self._server.clock.now())
        group = tree["spec"]["group"]
        others = [
            other
            for other in self._server.caches.list(_CRDS)
            if other["spec"]["group"] == group and other["metadata"]["name"] != name
        ]
        accept_names(tree, others, now)
        accepted = is_true(tree, "NamesAccepted")
        established = is_true(tree, "Established")
        if accepted or established:
            await self._serve(tree)
        if accepted and not established:
            text = "the initial names have been accepted"
            set_condition(tree, "Established", "True", "InitialNamesAccepted", text, now=now)
        elif not established:
            text = "not all names are accepted"
            set_condition(tree, "Established", "False", "NotAccepted", text, now=now)
        self._judge(tree, now)
        if orjson.dumps(tree["status"]) != before:
            await self._write_status(tree)
            if tree["status"].get("acceptedNames") != names:
                self._queue_group(name)

    def _judge(self, tree: Tree, now: str) -> None:
        """The conditions that say what is wrong with a definition and hold up nothing."""
        approval = approval_of(tree)
        if approval is None:
            drop_condition(tree, APPROVAL)
        else:
            set_condition(tree, APPROVAL, *approval, now=now)
        # As in _serve.
        from kutter.apiserver.custom.rules import find_spec_faults

        # Only what another server let into the store can have one of these.
        active = self._active.get(tree["metadata"]["name"])
        faults = active.faults if active is not None else find_spec_faults(tree["spec"])
        if faults:
            text = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
            set_condition(tree, "NonStructuralSchema", "True", "Violations", text, now=now)
        else:
            drop_condition(tree, "NonStructuralSchema")

    # -- serving ---------------------------------------------------------------

    async def _serve(self, tree: Tree) -> None:
        """Make the catalog, caches and storages what the definition says."""
        name = tree["metadata"]["name"]
        names = (tree.get("status") or {}).get("acceptedNames")
        mark = orjson.dumps([tree["metadata"].get("uid"), tree["spec"], names])
        known = self._active.get(name)
        if known is not None and known.mark == mark:
            return
        # Read in with the first definition: formats, paths and rules of values.
        from kutter.apiserver.custom.kind import CustomKind
        from kutter.apiserver.custom.rules import find_spec_faults
        from kutter.apiserver.custom.scale import custom_scale

        server = self._server
        try:
            definition = read_definition(tree)
            kinds = {version.name: CustomKind(version) for version in definition.versions}
        except PatternError as error:
            # Written by a server with other patterns: nothing of it can be served.
            _log.error("definition cannot be served", name=name, error=str(error))
            return
        form = StoredForm(definition)
        cache = await server.caches.open(definition.stored.resource, form.refine)
        active = _Active(definition, mark, cache, find_spec_faults(tree["spec"]), kinds)
        converters = self._converters(definition)
        for version in definition.versions:
            converter = converters[version.name]
            storage = ObjectStorage(
                server.store,
                server.caches,
                cache,
                kinds[version.name],
                admission=server.admission,
                rng=server.rng,
                converter=converter,
            )
            if converter is None:
                broadcaster = Broadcaster(cache)
            else:
                broadcaster = ConvertingBroadcaster(cache, converter)
            scale = custom_scale(version.scale) if version.scale is not None else None
            active.versions[version.name] = _Version(version, storage, broadcaster, scale)
        # No await from here on: whoever asks sees either the old or the new.
        if known is not None:
            self._retire(known)
        self._active[name] = active
        self._by_place[definition.group, definition.plural] = name
        cache.listeners.append(self._watch_emptiness(name))
        self._publish(known.definition if known is not None else None, definition)

    def _converters(self, definition: Definition) -> dict[str, Converter | None]:
        """How each version is reached, by its name; None: without any conversion."""
        versions, held = definition.versions, self._converted
        if not definition.converts or len(versions) == 1:
            return {v.name: plain_converter(v, definition, held) for v in versions}
        server = self._server
        webhook = ConversionWebhook(
            definition,
            server.webhooks,
            server.rng,
            clock=server.clock,
            metrics=self._conversion_metrics,
        )
        return {v.name: WebhookConverter(v, definition, webhook, held) for v in versions}

    def _publish(self, old: Definition | None, new: Definition) -> None:
        catalog = self._server.catalog
        versions = [version.name for version in new.served]
        for version in old.served if old is not None else ():
            if version.name not in versions or old is None or old.kind != new.kind:
                catalog.remove(new.group, version.name, new.plural)
        for version in new.served:
            catalog.add(version.resource)
        catalog.order_versions(new.group, version_rank)

    def _retire(self, active: _Active) -> None:
        """End the watches of what is replaced; their clients come back to the new form."""
        for version in active.versions.values():
            version.broadcaster.close()

    def _unserve(self, name: str) -> None:
        active = self._active.pop(name, None)
        if active is None:
            return
        definition = active.definition
        self._by_place.pop((definition.group, definition.plural), None)
        for version in definition.served:
            self._server.catalog.remove(definition.group, version.name, definition.plural)
        self._server.caches.close(definition.stored.resource)
        self._retire(active)

    def _make_served(self, version: _Version) -> Served:
        defined, server = version.defined, self._server
        served = Served(
            defined.resource,
            storage=version.storage,
            broadcaster=version.broadcaster,
            printer=CustomPrinter(defined.columns),
            clock=server.clock,
            schema=defined.kind_schema,
            deprecation=defined.deprecation,
        )
        served.encoder = CustomEncoder(defined.resource)
        return served

    # -- the end ---------------------------------------------------------------

    def _watch_emptiness(self, name: str) -> Any:
        """Whoever cleans up is told of each object that has gone."""

        def listen(event: CacheEvent) -> None:
            active = self._active.get(name)
            if event.type != "DELETED" or active is None:
                return
            if active.kinds[active.definition.stored.name].terminating:
                self._queue.add(name)

        return listen

    async def _clean_up(self, tree: Tree) -> None:
        """Delete every object; when none is left, the definition may go."""
        metadata = tree["metadata"]
        if CLEANUP not in (metadata.get("finalizers") or ()):
            return
        now = render_time(self._server.clock.now())
        active = self._active.get(metadata["name"])
        if active is not None:
            for kind in active.kinds.values():
                kind.terminating = True
            if len(active.cache):
                text = "CustomResource deletion is in progress"
                set_condition(
                    tree, "Terminating", "True", "InstanceDeletionInProgress", text, now=now
                )
                await self._write_status(tree)
                await self._delete_all(active)
            if len(active.cache):
                return  # each that goes calls us again
        text = "removed all instances"
        set_condition(tree, "Terminating", "False", "InstanceDeletionCompleted", text, now=now)
        await self._write_status(tree)
        await self._drop_finalizer(metadata["name"], metadata["uid"])

    async def _delete_all(self, active: _Active) -> None:
        storage = active.stored.storage
        for entry in active.cache.entries():
            if entry.tree["metadata"].get("deletionTimestamp"):
                continue
            try:
                # As upstream: nobody is asked, or a webhook that is gone would hold the kind.
                context = self._context("DeleteOptions")
                context.admitted = True
                await storage.delete(context, entry.namespace, entry.name, DeleteOptions())
            except ApiError as error:
                if not is_reason(error, "NotFound"):
                    raise

    async def _drop_finalizer(self, name: str, uid: str) -> None:
        def change(old: Tree | None) -> Tree:
            assert old is not None, "an update never creates here"
            metadata = old["metadata"]
            if metadata["uid"] == uid:
                kept = [f for f in metadata.get("finalizers") or () if f != CLEANUP]
                metadata["finalizers"] = kept
                if not kept:
                    del metadata["finalizers"]
            return old

        await self._update(name, change, "")

    # -- writing ---------------------------------------------------------------

    async def _write_status(self, tree: Tree) -> None:
        uid, status = tree["metadata"]["uid"], tree["status"]

        def change(old: Tree | None) -> Tree:
            assert old is not None, "an update never creates here"
            if old["metadata"]["uid"] == uid:
                # Stored versions are the strategy's and the administrator's.
                stored = (old.get("status") or {}).get("storedVersions")
                old["status"] = {**status, "storedVersions": stored or []}
            return old

        await self._update(tree["metadata"]["name"], change, "status")

    async def _update(self, name: str, change: Any, subresource: str) -> None:
        storage = self._server.storage_of(GROUP, "customresourcedefinitions")
        context = self._context("UpdateOptions", subresource)
        try:
            await storage.update(context, "", name, change)
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise

    def _context(self, kind: str, subresource: str = "") -> WriteContext:
        options = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
        return WriteContext(
            user=_SYSTEM, now=self._server.clock.now(), options=options, subresource=subresource
        )
