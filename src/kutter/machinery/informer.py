"""A local, indexed copy of one collection, kept true by list and watch.

Between the client and whoever reads. Laws: handlers run in order of revision, synchronously;
an object is in the copy before its handlers run; after a broken watch the copy is compared with
a fresh list and the differences are delivered as events; views are shared, so nobody changes
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import msgspec

from kutter.api.errors import ApiError, is_reason
from kutter.api.resources import Resource
from kutter.api.types.meta_v1 import KubeObject
from kutter.base.backoff import Backoff
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.log import get_logger
from kutter.client.client import Client
from kutter.machinery.metadata import is_builtin, metadata_view

_log = get_logger("informer")

V = TypeVar("V", bound=KubeObject)

# The server ends a watch after this long; the informer then continues where it was.
WATCH_TIMEOUT_S = 600


class Change(msgspec.Struct, Generic[V], frozen=True):
    """One change of the copy. ``old`` is None when added, ``new`` is None when deleted."""

    key: str
    old: V | None
    new: V | None

    @property
    def any(self) -> V:
        """The newest form there is."""
        found = self.new if self.new is not None else self.old
        assert found is not None
        return found


Handler = Callable[[Change[V]], None]
Index = Callable[[V], Iterable[str]]


def key_of(view: KubeObject) -> str:
    """``namespace/name``, or ``name`` for what has no namespace."""
    meta = view.metadata
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name


def split_key(key: str) -> tuple[str, str]:
    """(namespace or "", name)."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


class Informer(Generic[V]):
    """Run it in a scope; read it from anywhere on the loop."""

    def __init__(
        self,
        client: Client,
        view: type[V],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.view = view
        self._client = client
        self._scope = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._clock = clock
        self._objects: dict[str, V] = {}
        self._by_namespace: dict[str, dict[str, V]] = {}
        self._indexes: dict[str, tuple[Index[V], dict[str, dict[str, V]]]] = {}
        self._handlers: list[Handler[V]] = []
        self._synced = asyncio.Event()
        self._version = ""

    # Reading

    @property
    def synced(self) -> bool:
        """Whether the first list has been taken in."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    @property
    def resource_version(self) -> str:
        """The version the copy has reached."""
        return self._version

    def get(self, key: str) -> V | None:
        return self._objects.get(key)

    def items(self, namespace: str = "") -> list[V]:
        """All objects, or those of one namespace."""
        if namespace:
            return list(self._by_namespace.get(namespace, {}).values())
        return list(self._objects.values())

    def keys(self) -> list[str]:
        return list(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: str) -> bool:
        return key in self._objects

    def by_index(self, index: str, value: str) -> list[V]:
        """Objects the index function gave ``value`` for."""
        return list(self._indexes[index][1].get(value, {}).values())

    # Setting up

    def add_index(self, name: str, index: Index[V]) -> None:
        """Add an index; an existing one of that name is kept (shared informers)."""
        if name in self._indexes:
            return
        table: dict[str, dict[str, V]] = {}
        self._indexes[name] = (index, table)
        for key, item in self._objects.items():
            for value in index(item):
                table.setdefault(value, {})[key] = item

    def on_event(self, handler: Handler[V]) -> None:
        """Call ``handler`` for every change; it first hears of what is already there."""
        self._handlers.append(handler)
        for key, item in list(self._objects.items()):
            handler(Change(key, None, item))

    # Keeping true

    async def run(self) -> None:
        """Serve until cancelled."""
        backoff = Backoff(initial_s=0.1, maximum_s=10.0)
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                backoff.reset()
            except (ApiError, OSError, TimeoutError) as error:
                if is_reason(error, "Expired", "Gone"):
                    self._version = ""
                    continue
                delay = backoff.next()
                _log.debug(
                    "list or watch failed, trying again",
                    resource=self.view.resource.plural,
                    error=str(error),
                    delay_s=round(delay, 2),
                )
                await self._clock.sleep(delay)

    async def _list(self) -> None:
        found = await self._client.list(
            self.view,
            self._scope,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            malformed=self._leave_out,
        )
        fresh = {key_of(item): item for item in found.items}
        for key in [k for k in self._objects if k not in fresh]:
            self._apply(key, None)
        for key, item in fresh.items():
            known = self._objects.get(key)
            if known is None or known.metadata.resource_version != item.metadata.resource_version:
                self._apply(key, item)
        self._version = found.resource_version
        self._synced.set()

    async def _watch(self) -> None:
        stream = self._client.watch(
            self.view,
            self._scope,
            resource_version=self._version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_s=WATCH_TIMEOUT_S,
            malformed=self._leave_out,
        )
        async for batch in stream:
            for event in batch:
                item = event.object
                if event.kind == "DELETED":
                    self._apply(key_of(item), None)
                elif event.kind != "BOOKMARK":
                    self._apply(key_of(item), item)
                self._version = item.metadata.resource_version or self._version

    def _leave_out(self, data: bytes, error: Exception) -> None:
        """One object nobody can read must not keep all the others from us."""
        _log.error(
            "object left out, it is no such kind",
            resource=self.view.resource.plural,
            error=str(error),
            start=data[:200].decode(errors="replace"),
        )

    def _apply(self, key: str, item: V | None) -> None:
        old = self._objects.get(key)
        if old is None and item is None:
            return
        namespace = split_key(key)[0]
        if item is None:
            del self._objects[key]
            members = self._by_namespace[namespace]
            del members[key]
            if not members:
                del self._by_namespace[namespace]
        else:
            self._objects[key] = item
            self._by_namespace.setdefault(namespace, {})[key] = item
        for index, table in self._indexes.values():
            if old is not None:
                for value in index(old):
                    bucket = table.get(value)
                    if bucket is not None:
                        bucket.pop(key, None)
                        if not bucket:
                            del table[value]
            if item is not None:
                for value in index(item):
                    table.setdefault(value, {})[key] = item
        change = Change(key, old, item)
        for handler in self._handlers:
            handler(change)


class InformerFactory:
    """Shares one informer per collection and scope within a process."""

    def __init__(self, client: Client, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client = client
        self._clock = clock
        self._informers: dict[tuple[Any, ...], Informer[Any]] = {}
        self._started: set[tuple[Any, ...]] = set()
        self._spawn: Callable[[Any, str], Any] | None = None
        self._tasks: dict[tuple[Any, ...], asyncio.Task[None]] = {}

    def informer(
        self,
        view: type[V],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> Informer[V]:
        """The shared informer; made at first use, started by :meth:`start`."""
        key = (view, namespace, label_selector, field_selector)
        found = self._informers.get(key)
        if found is None:
            found = self._informers[key] = Informer(
                self._client,
                view,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                clock=self._clock,
            )
        return found

    def metadata(self, resource: Resource) -> Informer[Any]:
        """The shared informer for those who read nothing but metadata: one of whole objects if
        somebody has asked for that, so ask last. A custom resource's is its own.
        """
        if is_builtin(resource):
            for view, *narrowed in self._informers:
                if view.resource.group_resource == resource.group_resource and not any(narrowed):
                    return self._informers[view, "", "", ""]
        return self.informer(metadata_view(resource))

    def start(self, spawn: Callable[[Any, str], Any]) -> None:
        """Start what was made since the last call; ``spawn`` is a scope's ``start``."""
        self._spawn = spawn
        for key, informer in self._informers.items():
            if key not in self._started:
                self._started.add(key)
                task = spawn(informer.run(), f"informer/{informer.view.resource.plural}")
                self._tasks[key] = task

    def open(self, view: type[V]) -> Informer[V]:
        """An informer for a kind that came at run time; runs at once if the others do."""
        informer = self.informer(view)
        if self._spawn is not None:
            self.start(self._spawn)
        return informer

    def close(self, informer: Informer[Any]) -> None:
        """End an informer whose kind is served no more; nobody else may share it."""
        key = (informer.view, "", "", "")
        self._informers.pop(key, None)
        self._started.discard(key)
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()
        # Whoever waits for its first list waits for nothing.
        informer._synced.set()

    async def wait_synced(self) -> None:
        """Wait for every informer's first list."""
        for informer in list(self._informers.values()):
            await informer.wait_synced()
