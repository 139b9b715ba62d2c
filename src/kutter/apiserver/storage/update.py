"""Update: compare-and-write at the revision read, tried again on a lost race unless the caller
named a version.
"""

from __future__ import annotations

from collections.abc import Callable

from kutter.api.errors import MODIFIED, ApiError, FieldError, invalid, invalid_object
from kutter.apiserver.cache import Entry
from kutter.apiserver.converting import converted
from kutter.apiserver.deletion import ends_with_update
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ownership import same_but_times
from kutter.apiserver.ports import Tree
from kutter.apiserver.settled import SPEC, beside_spec
from kutter.apiserver.storage.creation import Creation
from kutter.apiserver.storage.stored import (
    UPDATE_ATTEMPTS,
    attach,
    drop_repeated_owners,
    object_of,
    same,
    settled,
)
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import validate_metadata, validate_metadata_update
from kutter.apiserver.writing import WriteContext
from kutter.store.interface import WriteConflictError

Transform = Callable[[Tree | None], Tree]
"""From the stored object (None: absent) to the wanted one; called once per attempt."""


class Update(Creation):
    """Changes of objects; may create what is missing."""

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
            new = transform({} if blind else self._shown(context, entry, old))
        else:
            new = await self.converter.run(
                lambda: transform({} if blind else self._shown(context, entry, old))
            )
        kept = self._still_settled(context.settled, new, old)
        metadata = new.setdefault("metadata", {})
        sent = metadata.pop("managedFields", None)
        self._check_version(context, metadata, old["metadata"], entry)
        self._keep_system_fields(metadata, old["metadata"], entry)
        if kept is None:
            strategy.default(new)
            if self._settled is not None and self._may_share(context):
                self._settled.learn(old, new)
        else:
            strategy.default_beside_spec(new)
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
        new = object_of(request)
        if new["metadata"].get("ownerReferences"):
            drop_repeated_owners(new["metadata"], context.warnings)
        look = self._look(context)
        look.settled = self._still_settled(kept, new, old)
        self._prepare(context, look, new, old)
        self._keep_system_fields(new["metadata"], old["metadata"], entry)
        new["metadata"].pop("managedFields", None)
        # Binding a pod is not a change of what was asked for (upstream: generation stays 1).
        if context.subresource not in ("status", "binding"):
            self._count_generation(new, old)
        errors = self._errors(context, look, entry, new, old)
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
        return await settled(request.reservation, write)

    def _prepare(self, context: WriteContext, look: StrategyContext, new: Tree, old: Tree) -> None:
        strategy, part = self.strategy, context.subresource
        if part == "status":
            strategy.prepare_for_status_update(look, new, old)
        elif part in ("", "scale"):
            strategy.prepare_for_update(look, new, old)
        else:
            strategy.prepare_for_part_update(look, part, new, old)

    def _errors(
        self, context: WriteContext, look: StrategyContext, entry: Entry, new: Tree, old: Tree
    ) -> list[FieldError]:
        """All that is wrong with the change."""
        strategy, part = self.strategy, context.subresource
        if part == "status":
            errors = strategy.validate_status_update(look, new, old)
        elif part in ("", "scale"):
            errors = strategy.validate_update(look, new, old)
        else:
            errors = strategy.validate_part_update(look, part, new, old)
        if new["metadata"].get("name") != entry.name and not errors:
            wrong = new["metadata"].get("name", "")
            errors = [invalid("metadata.name", wrong, "field is immutable")]
        if errors or strategy.leaves_metadata:
            errors = self._common_errors(new, old) + errors
        return errors

    def _common_errors(self, new: Tree, old: Tree) -> list[FieldError]:
        """What upstream's server finds in metadata before it asks the kind.

        The kinds look for the same and more, so this is asked for only when they found anything.
        """
        metadata = new["metadata"]
        errors = validate_metadata(
            metadata,
            namespaced=self.resource.namespaced,
            name_check=text.path_segment,
            known_finalizers=False,
        )
        return errors + validate_metadata_update(metadata, old["metadata"], known_finalizers=False)

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
        if not ends and same(new, old) and same_but_times(entry.owners, owners):
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
        attach(new, owners)
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

    def _shown(self, context: WriteContext, entry: Entry, old: Tree) -> Tree:
        """What the transformation gets: a tree of its own but for what is settled."""
        context.settled = None
        if context.sees_owners:
            return entry.whole_tree
        if context.holds_owners:
            return entry.tree
        if self._settled is None or not self._may_share(context):
            return entry.bare_tree
        context.settled = entry.settled or self._settled.key(old)
        return entry.bare_tree if context.settled is None else beside_spec(old)

    def _may_share(self, context: WriteContext) -> bool:
        """Whether nobody on the way would write into a specification that two objects share."""
        part = context.subresource
        return (
            context.patches
            and (part in ("", "status"))
            and self._admission.spares_spec(self.resource, part)
        )

    def _still_settled(self, settled: bytes | None, new: Tree, old: Tree) -> bytes | None:
        """``settled``, as long as both objects have one specification."""
        return settled if settled is not None and new.get(SPEC) is old[SPEC] else None

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
        entry.settled = look.settled
        return entry if self.converter is None else await converted(self.converter, entry)

    def _check_version(
        self, context: WriteContext, metadata: Tree, old: Tree, entry: Entry
    ) -> None:
        patched = context.options.get("kind") == "PatchOptions"
        uid = metadata.get("uid")
        # A patch starts from the object, so another uid is a change of it, not a precondition.
        if uid and not patched:
            actual = old.get("uid", "")
            if uid != actual:
                key = self._key(entry.namespace, entry.name)
                raise self._conflict(
                    entry.name,
                    "StorageError: invalid object, Code: 4, "
                    f"Key: {key.removeprefix('/registry')}, ResourceVersion: 0, "
                    f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, "
                    f"UID in object meta: {actual}",
                )
        version = metadata.get("resourceVersion")
        if version in (None, "", "0"):
            if self.strategy.allow_unconditional_update:
                return
            error = invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid_object(self.resource.plural, entry.name, [error], self.resource.group)
        if patched and not str(version).isdecimal():
            raise ApiError(500, "", _not_a_version(version))
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
        if not metadata.get("deletionTimestamp") and "deletionTimestamp" in old:
            metadata["deletionTimestamp"] = old["deletionTimestamp"]
        for field in ("creationTimestamp", "generation"):
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


def _not_a_version(version: object) -> str:
    return f'strconv.ParseUint: parsing "{version}": invalid syntax'
