"""One stored resource: its cache, its keys, and the forms its objects take on the way.

Below creation, update and deletion, which are the semantics. Reads come from the read cache, which
is as new as the last acknowledged write; trees are in the stored version, with a ``converter`` in
the version of the strategy's resource.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import orjson

from kutter.api.errors import ApiError, bad_request, conflict, not_found
from kutter.apiserver.cache import Entry, ResourceCache, encode_tail, head_of, make_tail
from kutter.apiserver.caches import Caches
from kutter.apiserver.converting import Converter, converted
from kutter.apiserver.encryption.store import EncryptedStore
from kutter.apiserver.kinds.strategy import Strategy, StrategyContext
from kutter.apiserver.ports import (
    Admission,
    AdmissionRequest,
    Operation,
    Reader,
    Reservation,
    Tree,
)
from kutter.apiserver.storage.foretold import Forecasts
from kutter.apiserver.writing import WriteContext
from kutter.base.memo import exact
from kutter.base.rng import Rng
from kutter.store.interface import Store, WriteConflictError

UPDATE_ATTEMPTS = 50
CATCH_UP_S = 5.0


class StoredResource:
    """What creation, update and deletion of one resource's objects share."""

    def __init__(
        self,
        store: Store,
        caches: Caches,
        cache: ResourceCache,
        strategy: Strategy,
        *,
        admission: Admission,
        rng: Rng,
        converter: Converter | None = None,
    ) -> None:
        self.store = store
        self.caches = caches
        self.cache = cache
        self.strategy = strategy
        self.converter = converter
        self.resource = cache.resource if converter is None else strategy.resource
        self._head = head_of(self.resource)
        self._admission = admission
        self._rng = rng
        kind = type(strategy)
        self._begins_create = kind.begin_create is not Strategy.begin_create
        self._encrypted = store if isinstance(store, EncryptedStore) else None
        self._begins_delete = kind.begin_delete is not Strategy.begin_delete
        self._begins_update = kind.begin_update is not Strategy.begin_update
        self._settled = strategy.settled_specs if converter is None else None
        self._ends_delete = kind.end_delete is not Strategy.end_delete
        # What a foretold object must not need: it is stored as it is, and that is all.
        plain = not self._begins_create and kind.after_create is Strategy.after_create
        self.forecasts: Forecasts | None = None
        if kind.foretells and plain and converter is None and kind.ttl_s is Strategy.ttl_s:
            self.forecasts = Forecasts(caches)

    def get(self, namespace: str, name: str) -> Entry:
        """The newest state as it is stored. Raises 404."""
        entry = self.cache.get(namespace, name)
        if entry is None:
            raise self.not_found(name)
        return entry

    async def read(self, namespace: str, name: str) -> Entry:
        """The newest state in the version worked in. Raises 404."""
        return await converted(self.converter, self.get(namespace, name))

    def not_found(self, name: str) -> ApiError:
        return not_found(self.resource.plural, name, self.resource.group)

    def _conflict(self, name: str, detail: str) -> ApiError:
        return conflict(self.resource.plural, name, detail, self.resource.group)

    def _place(self, metadata: Tree, namespace: str) -> None:
        if namespace:
            metadata["namespace"] = namespace
        else:
            metadata.pop("namespace", None)

    async def _catch_up(self, entry: Entry, error: WriteConflictError) -> None:
        """Wait until the cache holds what a write lost against: the winner may still be on its
        way to the disk, and another attempt from the old state would lose again.
        """
        found = self.cache.get(entry.namespace, entry.name)
        if found is None or found.revision != entry.revision:
            return
        current = error.current
        revision = self.caches.newest + 1 if current is None else current.mod_revision
        await self.caches.wait_revision(revision, CATCH_UP_S)

    async def _put(self, entry: Entry, tree: Tree, owners: bytes) -> Entry:
        if self.converter is None:
            value = self._encode(tree)
        else:
            value = await self._encode_converted(tree)
        key = self._key(entry.namespace, entry.name)
        record = await self.store.put(key, value, expected=entry.revision)
        entry = self._entry_of(entry.namespace, entry.name, value, record.mod_revision, owners)
        return entry if self.converter is None else await converted(self.converter, entry)

    def _key(self, namespace: str, name: str) -> str:
        return f"{self.cache.prefix}{namespace}/{name}" if namespace else self.cache.prefix + name

    def _look(self, context: WriteContext) -> StrategyContext:
        return StrategyContext(
            context.user, context.now, self._reader(context), context.dry_run, context.requested
        )

    def _reader(self, context: WriteContext) -> Reader:
        forecast = context.forecast
        return self.caches if forecast is None or forecast.reads is None else forecast.reads

    def _request(
        self,
        context: WriteContext,
        operation: Operation,
        place: tuple[str, str],
        *,
        new: Tree | None,
        old: Tree | None,
    ) -> AdmissionRequest:
        namespace, name = place
        return AdmissionRequest(
            operation=operation,
            resource=self.resource,
            subresource=context.subresource,
            namespace=namespace,
            name=name,
            object=new,
            old=old,
            user=context.user,
            reader=self._reader(context),
            now=context.now,
            dry_run=context.dry_run,
            kind=context.kind or self.resource.kind,
            options=context.options,
            warnings=context.warnings,
            annotate=context.annotate,
            requested=context.requested,
            shown=context.shown,
        )

    async def _encode_converted(self, tree: Tree) -> bytes:
        tree["metadata"].pop("resourceVersion", None)
        assert self.converter is not None, "only then there is something to convert"
        return self._encode(await self.converter.to_stored(tree))

    def _encode(self, tree: Tree) -> bytes:
        """The stored form: kind, apiVersion and metadata first, no resourceVersion."""
        metadata = tree["metadata"]
        metadata.pop("resourceVersion", None)
        stored = self.cache.resource
        ordered: Tree = {
            "kind": stored.kind,
            "apiVersion": stored.api_version,
            "metadata": metadata,
        }
        ordered.update(tree)
        ordered["kind"] = stored.kind
        ordered["apiVersion"] = stored.api_version
        try:
            return exact(orjson.dumps(ordered))
        except TypeError as error:
            raise bad_request(f"the object cannot be encoded: {error}") from error

    def _entry_of(
        self, namespace: str, name: str, value: bytes, revision: int, owners: bytes
    ) -> Entry:
        # Usually the cache holds this very state by now: the store feeds it before it answers.
        held = self.cache.get(namespace, name)
        if held is None or held.revision != revision:
            head = self.cache.head
            held = Entry(head, make_tail(value, head, revision), namespace, name, revision)
        held.find_owners(owners)
        return held

    def _entry(self, namespace: str, name: str, tree: Tree, revision: int) -> Entry:
        return Entry(self._head, encode_tail(tree, revision), namespace, name, revision)


async def settled(reservation: Reservation, write: Coroutine[Any, Any, Entry]) -> Entry:
    """Write, and tell who reserved something for it how that ended."""
    try:
        entry = await write
    except (ApiError, WriteConflictError):
        await reservation.settle(False)
        raise
    except BaseException:
        await reservation.settle(None)
        raise
    await reservation.settle(True)
    return entry


def object_of(request: AdmissionRequest) -> Tree:
    assert request.object is not None, "admission dropped the object"
    return request.object


def attach(tree: Tree, owners: bytes) -> None:
    """Owners come last in metadata, as upstream; the pipeline has worked without them."""
    if owners:
        tree["metadata"]["managedFields"] = orjson.Fragment(owners)


def same(new: Tree, old: Tree) -> bool:
    """Equal as trees; both carry the same resourceVersion here."""
    return new == old


def drop_repeated_owners(metadata: Tree, warnings: list[str]) -> None:
    """An owner that is told twice is kept once, and the client told so."""
    owners = metadata["ownerReferences"]
    kept = [owner for i, owner in enumerate(owners) if owner not in owners[:i]]
    if len(kept) == len(owners):
        return
    metadata["ownerReferences"] = kept
    repeated = dict.fromkeys(o.get("uid") or "" for i, o in enumerate(owners) if o in owners[:i])
    warnings.append(
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references "
        "in 1.20+, and may reject such requests as early as 1.24; please fix your requests; "
        f"duplicate UID(s) observed: {', '.join(repeated)}"
    )
