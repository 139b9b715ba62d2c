"""Bringing the default policy into a cluster: create what is missing, add what was lost.

Between :mod:`kutter.apiserver.authz.policy` and the API server's start. Rules and subjects that
somebody added stay; an object annotated ``rbac.authorization.kubernetes.io/autoupdate=false`` is
left alone. https://kubernetes.io/docs/reference/access-authn-authz/rbac/#auto-reconciliation
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

import msgspec

from kutter.apiserver.authz.policy import AUTOUPDATE, GROUP, Tree, default_objects
from kutter.apiserver.authz.rules import uncovered_rules
from kutter.apiserver.ports import Reader

_PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}


class Change(msgspec.Struct, frozen=True):
    """One write: ``replace`` deletes ``tree``'s predecessor first (a binding's role is fixed)."""

    action: Literal["create", "update", "replace"]
    plural: str
    tree: Tree


class PolicyWriter(Protocol):
    """Writes one RBAC object as the system itself. ``plural`` is of rbac.authorization.k8s.io."""

    async def create(self, plural: str, tree: Tree) -> None:
        """Create; an object that appeared meanwhile is fine. The namespace must be made too."""
        ...

    async def update(self, plural: str, tree: Tree) -> None:
        """Replace ``tree`` at its resourceVersion; raises ApiError Conflict."""
        ...

    async def delete(self, plural: str, namespace: str, name: str) -> None: ...


def plan_policy(reader: Reader, wanted: Iterable[Tree] | None = None) -> list[Change]:
    """What has to be written so that the default policy holds; empty when it does."""
    changes = []
    for tree in default_objects() if wanted is None else wanted:
        plural = _PLURALS[tree["kind"]]
        metadata = tree["metadata"]
        old = reader.get(f"{plural}.{GROUP}", metadata.get("namespace", ""), metadata["name"])
        change = _plan_one(plural, tree, old)
        if change is not None:
            changes.append(change)
    return changes


async def reconcile_policy(
    reader: Reader, writer: PolicyWriter, wanted: Iterable[Tree] | None = None
) -> int:
    """Apply :func:`plan_policy`; answers the number of writes. Raises ApiError."""
    changes = plan_policy(reader, wanted)
    # All at once: the store lets concurrent writes share a commit.
    async with asyncio.TaskGroup() as group:
        for change in changes:
            group.create_task(_apply(change, writer))
    return len(changes)


async def _apply(change: Change, writer: PolicyWriter) -> None:
    metadata = change.tree["metadata"]
    if change.action == "update":
        await writer.update(change.plural, change.tree)
        return
    if change.action == "replace":
        await writer.delete(change.plural, metadata.get("namespace", ""), metadata["name"])
    await writer.create(change.plural, change.tree)


def _plan_one(plural: str, wanted: Tree, old: Tree | None) -> Change | None:
    if old is None:
        return Change("create", plural, wanted)
    if (old["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "false":
        return None
    if "roleRef" in wanted and _ref(old) != _ref(wanted):
        return Change("replace", plural, wanted)
    new = dict(old)
    changed = _merge_metadata(new, wanted)
    if "roleRef" in wanted:
        changed |= _merge_subjects(new, wanted)
    else:
        changed |= _merge_rules(new, wanted)
    return Change("update", plural, new) if changed else None


def _merge_metadata(new: Tree, wanted: Tree) -> bool:
    metadata = dict(new["metadata"])
    changed = False
    for field in ("labels", "annotations"):
        have: Mapping[str, str] = metadata.get(field) or {}
        # What is there wins: an administrator may have changed a value.
        merged = {**wanted["metadata"][field], **have}
        if merged != have:
            metadata[field] = merged
            changed = True
    if changed:
        new["metadata"] = metadata
    return changed


def _merge_rules(new: Tree, wanted: Tree) -> bool:
    changed = False
    aggregation = wanted.get("aggregationRule")
    if aggregation:  # the rules are the controller's
        have = (new.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
        lacking = [s for s in aggregation["clusterRoleSelectors"] if s not in have]
        if lacking:
            new["aggregationRule"] = {"clusterRoleSelectors": [*have, *lacking]}
            changed = True
        return changed
    rules: list[Any] = list(new.get("rules") or ())
    lacking = uncovered_rules(rules, wanted["rules"])
    if lacking:
        new["rules"] = [*rules, *lacking]
        changed = True
    return changed


def _merge_subjects(new: Tree, wanted: Tree) -> bool:
    have = list(new.get("subjects") or ())
    known = {_subject(s) for s in have}
    lacking = [s for s in wanted.get("subjects") or () if _subject(s) not in known]
    if lacking:
        new["subjects"] = have + lacking
    return bool(lacking)


def _ref(binding: Tree) -> tuple[str, str]:
    ref = binding["roleRef"]
    return (ref["kind"], ref["name"])


def _subject(subject: Tree) -> tuple[str, str, str]:
    return (subject.get("kind", ""), subject.get("namespace", ""), subject.get("name", ""))
