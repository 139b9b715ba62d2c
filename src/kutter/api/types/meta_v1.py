"""Reader views of meta/v1. Laws: :mod:`kutter.api.types.base`."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.resources import Resource
from kutter.api.types.base import View


class OwnerReference(View):
    api_version: str = ""
    block_owner_deletion: bool | None = None
    controller: bool | None = None
    kind: str = ""
    name: str = ""
    uid: str = ""


class ObjectMeta(View):
    annotations: dict[str, str] = {}
    creation_timestamp: str = ""
    deletion_grace_period_seconds: int | None = None
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    generate_name: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    name: str = ""
    namespace: str = ""
    owner_references: tuple[OwnerReference, ...] = ()
    resource_version: str = ""
    uid: str = ""


class KubeObject(View):
    """Base of every top-level kind: what a client can get, list and watch."""

    resource: ClassVar[Resource]

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()


class LabelSelectorRequirement(View):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class LabelSelector(View):
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()
    match_labels: dict[str, str] = {}


class Condition(View):
    last_transition_time: str = ""
    message: str = ""
    observed_generation: int = 0
    reason: str = ""
    status: str = ""
    type: str = ""


class GroupResource(View):
    group: str = ""
    resource: str = ""


class Preconditions(View):
    resource_version: str | None = None
    uid: str | None = None


class DeleteOptions(View):
    api_version: str = ""
    dry_run: tuple[str, ...] = ()
    grace_period_seconds: int | None = None
    ignore_store_read_error_with_cluster_breaking_potential: bool | None = None
    kind: str = ""
    orphan_dependents: bool | None = None
    preconditions: Preconditions | None = None
    propagation_policy: str | None = None


class FieldSelectorRequirement(View):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class ShardInfo(View):
    selector: str = ""


class ListMeta(View):
    continue_: str = ""
    remaining_item_count: int | None = None
    resource_version: str = ""
    shard_info: ShardInfo | None = None


class StatusCause(View):
    field: str = ""
    message: str = ""
    reason: str = ""


class StatusDetails(View):
    causes: tuple[StatusCause, ...] = ()
    group: str = ""
    kind: str = ""
    name: str = ""
    retry_after_seconds: int = 0
    uid: str = ""


class Status(View):
    api_version: str = ""
    code: int = 0
    details: StatusDetails | None = None
    kind: str = ""
    message: str = ""
    metadata: ListMeta = ListMeta()
    reason: str = ""
    status: str = ""
