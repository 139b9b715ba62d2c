"""Creation: order of steps and texts follow upstream's generic registry store."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kutter.api.errors import ApiError, already_exists, invalid_object, required
from kutter.apiserver.cache import Entry
from kutter.apiserver.converting import converted
from kutter.apiserver.kinds.strategy import Finish, StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.storage.foretold import (
    Filling,
    Pattern,
    is_plain_name,
    new_token_volume,
)
from kutter.apiserver.storage.stored import (
    StoredResource,
    attach,
    drop_repeated_owners,
    object_of,
    settled,
)
from kutter.apiserver.writing import WriteContext
from kutter.base.clock import render_time
from kutter.store.interface import WriteConflictError

NAME_ATTEMPTS = 8
_GENERATED_BASE_LIMIT = 58
_SYSTEM_FIELDS = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)


class Creation(StoredResource):
    """New objects."""

    async def create(self, context: WriteContext, namespace: str, tree: Tree) -> Entry:
        """Store a new object. ``tree`` is changed in place."""
        metadata = tree.setdefault("metadata", {})
        sent = metadata.pop("managedFields", None)
        had_version = metadata.pop("resourceVersion", None)
        for field in _SYSTEM_FIELDS:
            metadata.pop(field, None)
        self._place(metadata, namespace)
        strategy = self.strategy
        sent_spec = context.spec
        if sent_spec is None or sent_spec.known is None:
            strategy.default(tree)
            if sent_spec is not None:
                sent_spec.learn(tree["spec"])
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
        tree = object_of(request)
        metadata = tree["metadata"]
        self._name(metadata, namespace)
        metadata["uid"] = self._rng.uid()
        metadata["creationTimestamp"] = render_time(context.now)
        if strategy.generation_paths and strategy.first_generation:
            metadata["generation"] = strategy.first_generation
        look = self._look(context)
        if metadata.get("ownerReferences"):
            drop_repeated_owners(metadata, context.warnings)
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
        if context.forecast is not None and (request.once or context.warnings):
            context.forecast = None
        if request.reservation is None:
            return await self._finish_create(context, look, tree, owners, had_version)
        write = self._finish_create(context, look, tree, owners, had_version)
        return await settled(request.reservation, write)

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
        if had_version and not context.dry_run:
            # Upstream's storage layer answers this as a plain error: 500 without a reason.
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        if (existing := self.cache.get(namespace, name)) is not None:
            raise self._exists(metadata, existing)
        finish = await self.strategy.begin_create(look, tree) if self._begins_create else None
        attach(tree, owners)
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
        if context.forecast is not None:
            context.forecast.learn(tree["metadata"], value, owners)
        entry = self._entry_of(namespace, name, value, record.mod_revision, owners)
        self.strategy.after_create(look, tree)
        return entry if self.converter is None else await converted(self.converter, entry)

    def permit(self) -> object | None:
        """See :meth:`kutter.apiserver.ports.Admission.permit`."""
        return self._admission.permit(self.resource, "CREATE")

    async def create_foretold(
        self, now: datetime, namespace: str, pattern: Pattern, *, name: str, base: str
    ) -> Entry | None:
        """Store a new object whose pattern holds; its name is made up from ``base`` if it has none.

        None when the name is none a pattern says anything of.
        """
        metadata: Tree = {"name": name} if name else {"generateName": base}
        self._name(metadata, namespace)
        name = metadata.get("name", "")
        quoted = b'"%s"' % name.encode()
        if not is_plain_name(quoted):
            return None
        if (existing := self.cache.get(namespace, name)) is not None:
            raise self._exists(metadata, existing)
        token = new_token_volume(self._rng) if pattern.has_token else b""
        uid, time = self._rng.uid(), render_time(now)
        filling = Filling(quoted, b'"%s"' % uid.encode(), b'"%s"' % time.encode(), token)
        value, owners = pattern.fill(filling)
        try:
            record = await self.store.put(self._key(namespace, name), value, expected=0)
        except WriteConflictError:
            raise self._exists(metadata, self.cache.get(namespace, name)) from None
        return self._entry_of(namespace, name, value, record.mod_revision, owners)

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
