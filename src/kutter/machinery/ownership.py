"""Controller references: which controller owns an object, adopting and releasing.

Follows upstream's rules (kubernetes.io/docs/concepts/architecture/garbage-collection): a
controller adopts matching orphans while it is not being deleted itself, and releases what no
longer matches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from kutter.api.errors import is_reason
from kutter.api.types.meta_v1 import KubeObject, OwnerReference
from kutter.client.client import Client

V = TypeVar("V", bound=KubeObject)


def controller_of(view: KubeObject) -> OwnerReference | None:
    """The owner reference with ``controller: true``, if any."""
    for owner in view.metadata.owner_references or ():
        if owner.controller:
            return owner
    return None


def controller_uid(view: KubeObject) -> Sequence[str]:
    """Index function: the uid of the object's controller."""
    owner = controller_of(view)
    return (owner.uid,) if owner is not None else ()


def controller_reference(owner: KubeObject) -> dict[str, Any]:
    """The reference a controller puts on what it creates."""
    return {
        "apiVersion": owner.resource.api_version,
        "kind": owner.resource.kind,
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


class Claim(msgspec.Struct, Generic[V], frozen=True):
    """What belongs to an owner now, and what should change hands. Pure result."""

    owned: list[V]
    adopt: list[V]
    release: list[V]


def plan_claim(
    owner: KubeObject, candidates: Iterable[V], matches: Callable[[V], bool]
) -> Claim[V]:
    """Sort ``candidates`` into owned, to adopt and to release. Pure."""
    owned: list[V] = []
    adopt: list[V] = []
    release: list[V] = []
    for item in candidates:
        reference = controller_of(item)
        if reference is not None:
            if reference.uid != owner.metadata.uid:
                continue
            if matches(item):
                owned.append(item)
            elif owner.metadata.deletion_timestamp is None:
                release.append(item)
        elif (
            owner.metadata.deletion_timestamp is None
            and item.metadata.deletion_timestamp is None
            and matches(item)
        ):
            adopt.append(item)
    return Claim(owned, adopt, release)


async def apply_claim(client: Client, owner: KubeObject, claim: Claim[V]) -> list[V]:
    """Write adoptions and releases; answers what is owned afterwards.

    Before adopting, the owner is read afresh: one that was deleted and made again with the same
    name must not adopt for its predecessor.
    """
    owned = list(claim.owned)
    if claim.adopt:
        fresh = await client.get(type(owner), owner.metadata.name, owner.metadata.namespace or "")
        if (
            fresh.metadata.uid != owner.metadata.uid
            or fresh.metadata.deletion_timestamp is not None
        ):
            return owned
    for item in claim.adopt:
        references = [
            {"uid": owner.metadata.uid, **controller_reference(owner)},
        ]
        body = {"metadata": {"ownerReferences": references, "uid": item.metadata.uid}}
        if await _patch(client, item, body):
            owned.append(item)
    for item in claim.release:
        body = {
            "metadata": {
                "ownerReferences": [{"$patch": "delete", "uid": owner.metadata.uid}],
                "uid": item.metadata.uid,
            }
        }
        await _patch(client, item, body)
    return owned


async def _patch(client: Client, item: KubeObject, body: dict[str, Any]) -> bool:
    meta = item.metadata
    try:
        await client.patch(item.resource, meta.name, body, meta.namespace or "", kind="strategic")
    except Exception as error:
        # Gone, or another object of that name: nothing to adopt or release.
        if is_reason(error, "NotFound", "Invalid", "Conflict"):
            return False
        raise
    return True
