"""What is particular to one kind on its way into the store.

Between ``apiserver.storage`` (the same for all kinds) and the knowledge of one kind. The base
class is a plain namespaced or cluster-wide kind with nothing particular; ``kinds`` subclasses
it. Methods work on trees in place, are synchronous and do no I/O; what has to read other
objects does so through ``context.reader``.

Order on create: ``default`` → admission mutates → ``prepare_for_create`` → uid, timestamps,
name → ``validate_create`` → ``canonicalize`` → admission validates → ``begin_create`` → store
→ ``after_create``. On update: ``default`` → admission mutates → ``prepare_for_update`` →
``validate_update`` → ``canonicalize`` → admission validates → ``begin_update`` → store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

import msgspec
import orjson

from kutter.api.errors import FieldError
from kutter.api.resources import Resource
from kutter.apiserver.authn.identity import User
from kutter.apiserver.known_specs import KnownSpecs
from kutter.apiserver.ports import Reader, Tree
from kutter.apiserver.settled import SettledSpecs

Finish = Callable[[bool | None], Awaitable[None]]
"""Called once with whether the write took place; None when nobody knows."""


class StrategyContext(msgspec.Struct):
    """What a strategy may look at beside the object itself."""

    user: User
    now: datetime
    reader: Reader
    dry_run: bool = False
    # The resource as the client named it; None for what the server writes.
    requested: Resource | None = None
    # What validation found that is not to stop the write.
    warnings: list[str] = msgspec.field(default_factory=list)
    # What the specification is known by, if an update leaves it as it was and nothing is to be
    # done about it (:mod:`kutter.apiserver.settled`).
    settled: bytes | None = None


# Parts of the metadata that a write to /status leaves alone, of kinds where it does; everywhere
# else labels, annotations, finalizers and owners of such a write count (as upstream).
WHOLE_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")
_STATUS_KEEPS: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "Deployment"): ("labels",),
    ("", "Pod"): ("deletionTimestamp", "ownerReferences"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): WHOLE_METADATA,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): WHOLE_METADATA,
    ("apiregistration.k8s.io", "APIService"): WHOLE_METADATA,
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): WHOLE_METADATA,
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): WHOLE_METADATA,
    ("internal.apiserver.k8s.io", "StorageVersion"): WHOLE_METADATA,
    ("networking.k8s.io", "ServiceCIDR"): WHOLE_METADATA,
    ("resource.k8s.io", "DeviceTaintRule"): WHOLE_METADATA,
    ("resource.k8s.io", "ResourceClaim"): WHOLE_METADATA,
    ("storage.k8s.io", "VolumeAttachment"): WHOLE_METADATA,
    ("storagemigration.k8s.io", "StorageVersionMigration"): WHOLE_METADATA,
}


class Strategy:
    """The base: no defaults, no validation, every field free to change.

    ``allow_create_on_update``: PUT of a missing object creates it (201).
    ``allow_unconditional_update``: an update without resourceVersion overwrites.
    ``generation_paths``: top-level fields whose change bumps ``metadata.generation``
    (empty: the kind has no generation), starting at ``first_generation``.
    ``field_labels``: what ``selectable_fields`` answers beside metadata.name and
    metadata.namespace; others are refused with 400.
    ``leaves_metadata``: of what an update does to metadata only the server itself is a judge.
    ``return_deleted_object``: a finished DELETE answers the object instead of a Status (pods).
    ``status_keeps``: what of the metadata a write to ``/status`` cannot change.
    """

    allow_create_on_update: ClassVar[bool] = False
    allow_unconditional_update: ClassVar[bool] = True
    generation_paths: ClassVar[tuple[str, ...]] = ()
    first_generation: ClassVar[int] = 1
    leaves_metadata: ClassVar[bool] = False
    field_labels: ClassVar[frozenset[str]] = frozenset()
    has_status: ClassVar[bool] = True
    return_deleted_object: ClassVar[bool] = False
    # Whether a new object comes to the same each time its words, its writer and what was read are
    # the same, but for its name, uid and time (:mod:`kutter.apiserver.storage.foretold`).
    foretells: ClassVar[bool] = False

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.status_keeps = _STATUS_KEEPS.get((resource.group, resource.kind), ())
        # For kinds that are made in numbers of one template, and whose ``default`` looks at
        # nothing but the specification when an object is new.
        self.known_specs: KnownSpecs | None = None
        # For kinds that are changed in numbers, and where no other step of an update does anything
        # about a specification that ``default`` leaves as it is.
        self.settled_specs: SettledSpecs | None = None

    # -- the tree -------------------------------------------------------------

    def default(self, tree: Tree) -> None:
        """Fill in the defaults of absent fields. Called for stored objects of older servers too,
        so it must be idempotent.
        """

    def default_beside_spec(self, tree: Tree) -> None:
        """What ``default`` does when nothing is to be done about the specification. Called for
        kinds with ``settled_specs``.
        """

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        """Drop what a client may not set (``status``) and set what the server sets."""
        if self.has_status and "status" in self.resource.subresources:
            tree.pop("status", None)

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        """Restore what an update of the main resource may not touch (``status``)."""
        if self.has_status and "status" in self.resource.subresources:
            _restore(new, old, "status")

    def prepare_for_status_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        """Restore what an update of ``/status`` may not touch: everything but status and the part
        of the metadata that is not in ``status_keeps``.
        """
        status = new.get("status")
        metadata = new.get("metadata")
        new.clear()
        new.update(old)
        if status is None:
            new.pop("status", None)
        else:
            new["status"] = status
        if metadata is not None:
            new["metadata"] = metadata
            for field in self.status_keeps:
                _restore(metadata, old["metadata"], field)

    def counts_generation(self, new: Tree, old: Tree) -> bool:
        """Whether the step from ``old`` to ``new`` is a new generation."""
        return any(new.get(path) != old.get(path) for path in self.generation_paths)

    def prepare_for_part_update(
        self, context: StrategyContext, part: str, new: Tree, old: Tree
    ) -> None:
        """Set what the server sets when another subresource (``approval``) changes."""

    def canonicalize(self, tree: Tree) -> None:
        """Bring a valid object into its stored form."""

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        """What is wrong with a new object, all of it. Includes the metadata rules."""
        return []

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        """What is wrong with the change."""
        return []

    def validate_status_update(
        self, context: StrategyContext, new: Tree, old: Tree
    ) -> list[FieldError]:
        """What is wrong with a change through ``/status``."""
        return []

    def validate_part_update(
        self, context: StrategyContext, part: str, new: Tree, old: Tree
    ) -> list[FieldError]:
        """What is wrong with a change through another subresource (``resize``, ``binding``).

        The handler has seen to it that only the subresource's own part differs.
        """
        return []

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        """Texts for ``Warning`` headers: deprecated fields, doubtful values."""
        return []

    # -- deletion -------------------------------------------------------------

    def grace_period_s(self, tree: Tree, requested_s: int | None) -> int | None:
        """Seconds of graceful deletion; None where the kind is deleted at once.

        0 means: graceful kind, but delete this one now.
        """
        return None

    def default_garbage_collection(self, tree: Tree) -> str:
        """What happens to dependents if the request does not say: "background", "orphan", or "none"
        where the kind takes no part in garbage collection (events).
        """
        return "background"

    def holds_deletion(self, tree: Tree) -> bool:
        """Whether something beside metadata.finalizers keeps it (Namespace: spec.finalizers)."""
        return False

    def check_delete(self, context: StrategyContext, tree: Tree) -> None:
        """Refuse a deletion by raising ApiError."""

    def begin_delete(self, context: StrategyContext, tree: Tree) -> None:
        """Called on the object about to get its deletionTimestamp (Namespace: phase)."""

    # -- selection and lifetime ----------------------------------------------

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        """Values of ``field_labels`` of one object."""
        return {}

    def select_fields(self, data: bytes) -> Mapping[str, str]:
        """As ``selectable_fields``, from the object's JSON; kinds watched by field override it
        to decode just what they answer.
        """
        return self.selectable_fields(orjson.loads(data))

    def ttl_s(self, tree: Tree) -> float | None:
        """Seconds after which the store forgets the object (events)."""
        return None

    # -- side effects ---------------------------------------------------------

    async def begin_create(self, context: StrategyContext, tree: Tree) -> Finish | None:
        """Acquire what the object needs (a cluster address) and write it into the tree.

        The answer is called with False if the object is not stored in the end (or dry run).
        """
        return None

    async def begin_update(self, context: StrategyContext, new: Tree, old: Tree) -> Finish | None:
        """As ``begin_create`` for a change."""
        return None

    def after_create(self, context: StrategyContext, tree: Tree) -> None:
        """The object is stored."""

    def after_delete(self, context: StrategyContext, tree: Tree) -> None:
        """The object is gone from the store (also when a finalizer's removal ended it)."""

    async def end_delete(self, context: StrategyContext, tree: Tree) -> None:
        """As ``after_delete``, for what has to be waited for before the deletion is answered."""


def _restore(new: Tree, old: Tree, field: str) -> None:
    value: Any = old.get(field)
    if value is None:
        new.pop(field, None)
    else:
        new[field] = value


StrategyFor = Callable[[Resource], Strategy]
