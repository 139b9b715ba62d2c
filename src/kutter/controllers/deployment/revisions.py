"""Names, hashes and annotations that tie ReplicaSets to revisions of a Deployment. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from kutter.api.types.apps_v1 import Deployment, ReplicaSet
from kutter.base.rng import NAME_ALPHABET

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"

# Annotations of the Deployment that say something about the Deployment, not about a revision.
_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
        "deprecated.deployment.rollback.to",
    }
)


def template_hash(template: dict[str, Any], collisions: int) -> str:
    """Ten letters that name a template; ``collisions`` is mixed in after a clash of names."""
    digest = hashlib.sha256(orjson.dumps(template, option=orjson.OPT_SORT_KEYS))
    if collisions:
        digest.update(str(collisions).encode())
    number = int.from_bytes(digest.digest()[:8], "big")
    letters = []
    for _ in range(10):
        number, index = divmod(number, len(NAME_ALPHABET))
        letters.append(NAME_ALPHABET[index])
    return "".join(letters)


def same_template(deployment: dict[str, Any], replica_set: dict[str, Any]) -> bool:
    """Whether two template trees are equal but for the hash label."""
    return _without_hash(deployment) == _without_hash(replica_set)


def _without_hash(template: dict[str, Any]) -> dict[str, Any]:
    meta = template.get("metadata") or {}
    labels = {k: v for k, v in (meta.get("labels") or {}).items() if k != HASH_LABEL}
    rest = {k: v for k, v in meta.items() if k not in ("labels", "creationTimestamp")}
    return {**template, "metadata": {**rest, "labels": labels}}


def revision_of(item: ReplicaSet | Deployment) -> int:
    """The revision number in the annotations; 0 if there is none or it is no number."""
    try:
        return int(item.metadata.annotations.get(REVISION, "0"))
    except ValueError:
        return 0


def next_revision(old: Sequence[ReplicaSet]) -> int:
    return max((revision_of(item) for item in old), default=0) + 1


def desired_of(item: ReplicaSet) -> int | None:
    """The Deployment's size when this set was last scaled; None if unknown."""
    try:
        return int(item.metadata.annotations[DESIRED_REPLICAS])
    except (KeyError, ValueError):
        return None


def max_of(item: ReplicaSet) -> int | None:
    """Size plus surge when this set was last scaled; None if unknown."""
    try:
        return int(item.metadata.annotations[MAX_REPLICAS])
    except (KeyError, ValueError):
        return None


def replica_set_annotations(
    deployment: Deployment, known: dict[str, str], revision: int
) -> dict[str, str]:
    """The annotations the new ReplicaSet should have, given those it has."""
    wanted = dict(known)
    for name, value in deployment.metadata.annotations.items():
        if name not in _NOT_COPIED:
            wanted[name] = value
    try:
        before = int(known.get(REVISION, "0"))
    except ValueError:
        before = 0
    if before < revision:
        wanted[REVISION] = str(revision)
        if before > 0:
            history = [h for h in known.get(REVISION_HISTORY, "").split(",") if h]
            if str(before) not in history:
                history.append(str(before))
            wanted[REVISION_HISTORY] = ",".join(history)
    return wanted
