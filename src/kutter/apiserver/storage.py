"""Objects of one resource in the store: the semantics of create, update and delete.

Between the verbs and the store. Reads come from the read cache, which is as new as the last
acknowledged write; writes are compare-and-write at the revision read, tried again on a lost
race unless the caller named a version. Upstream's counterpart is the generic registry store
(``apiserver/pkg/registry/generic/registry/store.go``); order of steps and texts follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import orjson

from kutter.api.errors import (
    MODIFIED,
    ApiError,
    already_exists,
    bad_request,
    conflict,
    invalid,
    invalid_object,
    not_found,
    required,
)
from kutter.apiserver.cache import Entry, ResourceCache, encode_tail, head_of, make_tail
from kutter.apiserver.caches import Caches
from kutter.apiserver.converting import Converter, converted
from kutter.apiserver.deletion import check_preconditions, ends_with_update, plan_delete
from kutter.apiserver.encryption.store import EncryptedStore
from kutter.apiserver.kinds.strategy import Finish, Strategy, StrategyContext
from kutter.apiserver.ownership import same_but_times
from kutter.apiserver.ports import Admission, AdmissionRequest, Operation, Reservation, Tree
from kutter.apiserver.writing import DeleteOptions, WriteContext
from kutter.base.clock import render_time
from kutter.base.rng import Rng
from kutter.store.interface import Store, WriteConflictError

Transform = Callable[[Tree | None], Tree]
"""From the stored object (None: absent) to the wanted one; called once per attempt."""

NAME_ATTEMPTS = 8
UPDATE_ATTEMPTS = 50
CATCH_UP_S = 5.0
_GENERATED_BASE_LIMIT = 58
_SYSTEM_FIELDS = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)


class ObjectStorage:
    """One stored resource. Trees are in the stored version, with a ``converter`` in the version
    of the strategy's resource.
    """

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
        self._begins_update = kind.begin_update is not Strategy.begin_update
        self._ends_delete = kind.end_delete is not Strategy.end_delete

    # -- reading --------------------------------------------------------------

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

    # -- create ---------------------------------------------------------------

    async def create(self, context: WriteContext, namespace: str, tree: Tree) -> Entry:
        """Store a new object. ``tree`` is changed in place."""
        metadata = tree.setdefault("metadata", {})
        sent = metadata.pop("managedFields", None)
        had_version = metadata.pop("resourceVersion", None)
        for field in _SYSTEM_FIELDS:
            metadata.pop(field, None)
        self._place(metadata, namespace)
        strategy = self.strategy
        strategy.default(tree)
        owners = b""
        if (claim := context.claim) is not None:
            if self.converter is None:
                owners = claim(None, tree, sent, b"")
            else:
                new = tree
                owners = await self.converter.run(lambda: claim(None, new, sent, b""))
        place = (namespace, metadata.get("name", ""))
        request = self._request(context, "CREATE", place, new=tree, old=None)
        await self._admission.mutate(request)
        tree = _object_of(request)
        metadata = tree["metadata"]
        self._name(metadata, namespace)
        metadata["uid"] = self._rng.uid()
        metadata["creationTimestamp"] = render_time(context.now)
        if strategy.generation_paths:
            metadata["generation"] = 1
        look = self._look(context)
        strategy.prepare_for_create(look, tree)
        metadata = tree["metadata"]
        errors = strategy.validate_create(look, tree)
        if not metadata.get("name") and not errors:
            errors = [required("metadata.name", "name or generateName is required")]
        name = metadata.get("name", "")
        if errors:
            raise invalid_object(self.resource.kind, name, errors, self.resource.group)
        context.warnings += strategy.warnings(look, tree, None)
        strategy.canonicalize(tree)
        request.object = tree
        request.name = name
        await self._admission.validate(request)
        if request.reservation is None:
            return await self._finish_create(context, look, tree, owners, had_version)
        write = self._finish_create(context, look, tree, owners, had_version)
        return await _settled(request.reservation, write)

    async def _finish_create(
        self,
        context: WriteContext,
        look: StrategyContext,
        tree: Tree,
        owners: bytes,
        had_version: Any,
    ) -> Entry:
        metadata = tree["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        if had_version:
            # Upstream's storage layer answers this as a plain error: 500 without a reason.
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        if (existing := self.cache.get(namespace, name)) is not None:
            raise self._exists(metadata, existing)
        finish = await self.strategy.begin_create(look, tree) if self._begins_create else None
        _attach(tree, owners)
        return await self._store_new(context, look, namespace, tree, owners, finish=finish)

    async def _store_new(
        self,
        context: WriteContext,
        look: StrategyContext,
        namespace: str,
        tree: Tree,
        owners: bytes,
        *,
        finish: Finish | None,
    ) -> Entry:
        name = tree["metadata"]["name"]
        if context.dry_run:
            if finish is not None:
                await finish(False)
            return self._entry(namespace, name, tree, 0)
        stored: bool | None = None
        try:
            if self.converter is None:
                value = self._encode(tree)
            else:
                value = await self._encode_converted(tree)
            key = self._key(namespace, name)
            record = await self.store.put(key, value, expected=0, ttl_s=self.strategy.ttl_s(tree))
            stored = True
        except (ApiError, WriteConflictError) as error:
            stored = False
            if isinstance(error, ApiError):
                raise
            raise self._exists(tree["metadata"], self.cache.get(namespace, name)) from None
        finally:
            if finish is not None:
                await finish(stored)
        entry = self._entry_of(namespace, name, value, record.mod_revision, owners)
        self.strategy.after_create(look, tree)
        return entry if self.converter is None else await converted(self.converter, entry)

    def _place(self, metadata: Tree, namespace: str) -> None:
        if namespace:
            metadata["namespace"] = namespace
        else:
            metadata.pop("namespace", None)

    def _name(self, metadata: Tree, namespace: str) -> None:
        """Make up the name from generateName; a taken one is tried again a few times."""
        base = metadata.get("generateName")
        if metadata.get("name") or not base or not isinstance(base, str):
            return
        base = base[:_GENERATED_BASE_LIMIT]
        for _ in range(NAME_ATTEMPTS):
            metadata["name"] = base + self._rng.suffix()
            if self.cache.get(namespace, metadata["name"]) is None:
                return

    def _exists(self, metadata: Tree, existing: Entry | None) -> ApiError:
        name = metadata["name"]
        error = already_exists(self.resource.plural, name, self.resource.group)
        base = metadata.get("generateName")
        if base and name.startswith(base[:_GENERATED_BASE_LIMIT]):
            message = (
                f"{error.message}, the server was not able to generate a unique name for the object"
            )
            details = {**(error.details or {}), "retryAfterSeconds": 1}
            error = ApiError(409, "AlreadyExists", message, details=details)
        if existing is not None and existing.tree["metadata"].get("deletionTimestamp"):
            message = f"object is being deleted: {error.message}"
            error = ApiError(409, "AlreadyExists", message, details=error.details)
        return error

    # -- update ---------------------------------------------------------------

    async def update(
        self,
        context: WriteContext,
        namespace: str,
        name: str,
        transform: Transform,
        *,
        may_create: bool = False,
        must_create: bool = False,
        blind: bool = False,
    ) -> tuple[Entry, bool]:
        """Replace an object by what ``transform`` makes of it; True when it was created.

        A missing one is created with ``may_create`` where the kind allows it, with
        ``must_create`` (apply) always. A ``blind`` transformation does not look at the object.
        ``context.subresource`` "status" keeps everything but the status, see the strategy.
        """
        for _ in range(UPDATE_ATTEMPTS):
            entry = self.cache.get(namespace, name)
            if entry is None:
                may = may_create and self.strategy.allow_create_on_update
                if (may or must_create) and not context.subresource:
                    if self.converter is None:
                        tree = transform(None)
                    else:
                        tree = await self.converter.run(lambda: transform(None))
                    uid = tree["metadata"].get("uid")
                    if not uid:
                        return await self.create(context, namespace, tree), True
                    if must_create:
                        raise self._conflict(
                            name,
                            f"uid mismatch: the provided object specified uid {uid}, and no "
                            "existing object was found",
                        )
                raise self.not_found(name)
            if self.converter is not None:
                entry = await converted(self.converter, entry)
            try:
                return await self._update_once(context, entry, transform, blind=blind), False
            except WriteConflictError as error:
                await self._catch_up(entry, error)
        raise self._conflict(name, MODIFIED)

    async def _update_once(
        self, context: WriteContext, entry: Entry, transform: Transform, *, blind: bool
    ) -> Entry:
        strategy = self.strategy
        old, live = entry.bare_tree, entry.owners
        if self.converter is None:
            new = transform({} if blind else self._shown(context, entry))
        else:
            new = await self.converter.run(
                lambda: transform({} if blind else self._shown(context, entry))
            )
        metadata = new.setdefault("metadata", {})
        sent = metadata.pop("managedFields", None)
        self._check_version(metadata, old["metadata"], entry)
        self._keep_system_fields(metadata, old["metadata"], entry)
        strategy.default(new)
        owners = live
        if (claim := context.claim) is not None:
            if self.converter is None:
                owners = claim(old, new, sent, live)
            else:
                wanted = new
                owners = await self.converter.run(lambda: claim(old, wanted, sent, live))
        place = (entry.namespace, entry.name)
        request = self._request(context, "UPDATE", place, new=new, old=old)
        if not context.admitted:
            await self._admission.mutate(request)
        new = _object_of(request)
        look = self._look(context)
        status = context.subresource == "status"
        if status:
            strategy.prepare_for_status_update(look, new, old)
        elif context.subresource in ("", "scale"):
            strategy.prepare_for_update(look, new, old)
        else:
            strategy.prepare_for_part_update(look, context.subresource, new, old)
        self._keep_system_fields(new["metadata"], old["metadata"], entry)
        new["metadata"].pop("managedFields", None)
        # Binding a pod is not a change of what was asked for (upstream: generation stays 1).
        if context.subresource not in ("status", "binding"):
            self._count_generation(new, old)
        if status:
            errors = strategy.validate_status_update(look, new, old)
        elif context.subresource in ("", "scale"):
            errors = strategy.validate_update(look, new, old)
        else:
            errors = strategy.validate_part_update(look, context.subresource, new, old)
        if new["metadata"].get("name") != entry.name and not errors:
            wrong = new["metadata"].get("name", "")
            errors = [invalid("metadata.name", wrong, "field is immutable")]
        if errors:
            raise invalid_object(self.resource.kind, entry.name, errors, self.resource.group)
        context.warnings += strategy.warnings(look, new, old)
        strategy.canonicalize(new)
        request.object = new
        if not context.admitted:
            await self._admission.validate(request)
        write = self._finish_update(context, look, entry, new, old, owners=owners)
        if request.reservation is None:
            return await write
        return await _settled(request.reservation, write)

    async def _finish_update(
        self,
        context: WriteContext,
        look: StrategyContext,
        entry: Entry,
        new: Tree,
        old: Tree,
        *,
        owners: bytes,
    ) -> Entry:
        strategy = self.strategy
        ends = ends_with_update(strategy, new, old)
        if not ends and _same(new, old) and same_but_times(entry.owners, owners):
            outdated = self.cache.outdated
            # A write of what is there renews what was written with a key of the past.
            if (not outdated or entry.key not in outdated) and (
                self._encrypted is None
                or not await self._encrypted.is_stale(self._key(entry.namespace, entry.name))
            ):
                return entry
        finish = None
        if self._begins_update and not context.subresource:
            finish = await strategy.begin_update(look, new, old)
        _attach(new, owners)
        done: bool | None = None
        try:
            answer = await self._store_changed(context, look, entry, new, owners, ends=ends)
            done = not context.dry_run
        except (ApiError, WriteConflictError):
            done = False
            raise
        finally:
            if finish is not None:
                await finish(done)
        return answer

    def _shown(self, context: WriteContext, entry: Entry) -> Tree:
        return entry.whole_tree if context.sees_owners else entry.bare_tree

    async def _store_changed(
        self,
        context: WriteContext,
        look: StrategyContext,
        entry: Entry,
        new: Tree,
        owners: bytes,
        *,
        ends: bool,
    ) -> Entry:
        if context.dry_run:
            return self._entry(entry.namespace, entry.name, new, entry.revision)
        key = self._key(entry.namespace, entry.name)
        if ends:
            gone = await self.store.delete(key, expected=entry.revision)
            revision = gone[1] if gone else entry.revision
            self.strategy.after_delete(look, new)
            if self._ends_delete:
                await self.strategy.end_delete(look, new)
            return self._entry(entry.namespace, entry.name, new, revision)
        if self.converter is None:
            value = self._encode(new)
        else:
            value = await self._encode_converted(new)
        ttl_s = self.strategy.ttl_s(new)
        record = await self.store.put(key, value, expected=entry.revision, ttl_s=ttl_s)
        entry = self._entry_of(entry.namespace, entry.name, value, record.mod_revision, owners)
        return entry if self.converter is None else await converted(self.converter, entry)

    def _check_version(self, metadata: Tree, old: Tree, entry: Entry) -> None:
        uid = metadata.get("uid")
        if uid:
            actual = old.get("uid", "")
            if uid != actual:
                key = self._key(entry.namespace, entry.name)
                raise self._conflict(
                    entry.name,
                    f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, "
                    f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, "
                    f"UID in object meta: {actual}",
                )
        version = metadata.get("resourceVersion")
        if version in (None, "", "0"):
            if self.strategy.allow_unconditional_update:
                return
            error = invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid_object(self.resource.plural, entry.name, [error], self.resource.group)
        if not isinstance(version, str) or not version.isdecimal():
            error = invalid("metadata.resourceVersion", version, _not_a_version(version))
            raise invalid_object(self.resource.kind, entry.name, [error], self.resource.group)
        if int(version) != entry.revision:
            raise self._conflict(entry.name, MODIFIED)

    def _keep_system_fields(self, metadata: Tree, old: Tree, entry: Entry) -> None:
        """What an update cannot change; the revision is stamped on the way out."""
        metadata["resourceVersion"] = str(entry.revision)
        metadata.setdefault("uid", old.get("uid"))
        self._place(metadata, entry.namespace)
        for field in ("creationTimestamp", "deletionTimestamp", "generation"):
            if field in old:
                metadata[field] = old[field]
            else:
                metadata.pop(field, None)
        if "deletionGracePeriodSeconds" in old:
            metadata.setdefault("deletionGracePeriodSeconds", old["deletionGracePeriodSeconds"])
        metadata.pop("selfLink", None)

    def _count_generation(self, new: Tree, old: Tree) -> None:
        if self.strategy.counts_generation(new, old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def _conflict(self, name: str, detail: str) -> ApiError:
        return conflict(self.resource.plural, name, detail, self.resource.group)

    # -- delete ---------------------------------------------------------------

    async def delete(
        self, context: WriteContext, namespace: str, name: str, options: DeleteOptions
    ) -> tuple[Entry, bool]:
        """Delete or begin to; the object's last state, and whether it is gone."""
        for _ in range(UPDATE_ATTEMPTS):
            entry = await self.read(namespace, name)
            try:
                return await self._delete_once(context, entry, options)
            except WriteConflictError as error:
                await self._catch_up(entry, error)
        raise self._conflict(name, MODIFIED)

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

    async def _delete_once(
        self, context: WriteContext, entry: Entry, options: DeleteOptions
    ) -> tuple[Entry, bool]:
        strategy = self.strategy
        old, owners = entry.bare_tree, entry.owners
        check_preconditions(self.resource, old, options)
        place = (entry.namespace, entry.name)
        if not context.admitted:
            request = self._request(context, "DELETE", place, new=None, old=old)
            await self._admission.mutate(request)
            await self._admission.validate(request)
        look = self._look(context)
        strategy.check_delete(look, old)
        new = entry.bare_tree
        outcome = plan_delete(strategy, new, options, context.now)
        if outcome == "pending":
            return entry, False
        if outcome == "update":
            strategy.begin_delete(look, new)
            if _same(new, old):
                return entry, False
            _attach(new, owners)
            if context.dry_run:
                return self._entry(entry.namespace, entry.name, new, entry.revision), False
            return await self._put(entry, new, owners), False
        if context.dry_run:
            return entry, True
        marked = outcome == "update-then-delete" and not _same(new, old)
        _attach(new, owners)
        # Whoever watches is told of the zero grace period, then of the end, as upstream; nobody
        # can act in between.
        last = self._encode(new) if marked else None
        key = self._key(entry.namespace, entry.name)
        gone = await self.store.delete(key, expected=entry.revision, last=last)
        if gone is None:
            raise self.not_found(entry.name)
        strategy.after_delete(look, new)
        if self._ends_delete:
            await strategy.end_delete(look, new)
        return self._entry(entry.namespace, entry.name, new, gone[1]), True

    async def _put(self, entry: Entry, tree: Tree, owners: bytes) -> Entry:
        if self.converter is None:
            value = self._encode(tree)
        else:
            value = await self._encode_converted(tree)
        key = self._key(entry.namespace, entry.name)
        record = await self.store.put(key, value, expected=entry.revision)
        entry = self._entry_of(entry.namespace, entry.name, value, record.mod_revision, owners)
        return entry if self.converter is None else await converted(self.converter, entry)

    async def replace(self, entry: Entry, tree: Tree) -> bool:
        """Write what the server itself makes of an object, past admission and strategy.

        ``tree`` is ``entry.bare_tree``, changed; owners stay. False when that lost a race, as
        soon as the cache holds what it lost against.
        """
        owners = entry.owners
        _attach(tree, owners)
        try:
            await self._put(entry, tree, owners)
        except WriteConflictError as error:
            await self._catch_up(entry, error)
            return False
        return True

    # -- pieces ---------------------------------------------------------------

    def _key(self, namespace: str, name: str) -> str:
        return f"{self.cache.prefix}{namespace}/{name}" if namespace else self.cache.prefix + name

    def _look(self, context: WriteContext) -> StrategyContext:
        return StrategyContext(
            context.user, context.now, self.caches, context.dry_run, context.requested
        )

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
            reader=self.caches,
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
            return orjson.dumps(ordered)
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


async def _settled(reservation: Reservation, write: Coroutine[Any, Any, Entry]) -> Entry:
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


def _object_of(request: AdmissionRequest) -> Tree:
    assert request.object is not None, "admission dropped the object"
    return request.object


def _attach(tree: Tree, owners: bytes) -> None:
    """Owners come last in metadata, as upstream; the pipeline has worked without them."""
    if owners:
        tree["metadata"]["managedFields"] = orjson.Fragment(owners)


def _same(new: Tree, old: Tree) -> bool:
    """Equal as trees; both carry the same resourceVersion here."""
    return new == old


def _not_a_version(version: object) -> str:
    return f'strconv.ParseUint: parsing "{version}": invalid syntax'
