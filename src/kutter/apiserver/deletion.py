"""What deleting an object means: at once, gracefully, or after its finalizers. Pure.

Between storage's delete and the object's metadata. Follows upstream's ``rest.BeforeDelete``
and the finalizer rules of its generic registry
(https://kubernetes.io/docs/concepts/architecture/garbage-collection/).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from kutter.api.errors import conflict
from kutter.api.resources import Resource
from kutter.apiserver.kinds.strategy import Strategy
from kutter.apiserver.ports import Tree
from kutter.apiserver.writing import DeleteOptions
from kutter.base.clock import parse_time, render_time

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"

Outcome = Literal["now", "update", "update-then-delete", "pending"]


def check_preconditions(resource: Resource, tree: Tree, options: DeleteOptions) -> None:
    """Raises 409 when uid or resourceVersion is not what the caller expects."""
    metadata = tree["metadata"]
    uid, version = metadata.get("uid", ""), metadata.get("resourceVersion", "")
    if options.uid and options.uid != uid:
        raise conflict(
            resource.kind,
            metadata["name"],
            f"the UID in the precondition ({options.uid}) does not match the UID in record "
            f"({uid}). The object might have been deleted and then recreated",
            resource.group,
        )
    if options.resource_version and options.resource_version != version:
        raise conflict(
            resource.kind,
            metadata["name"],
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match "
            f"the ResourceVersion in record ({version}). The object might have been modified",
            resource.group,
        )


def plan_delete(strategy: Strategy, tree: Tree, options: DeleteOptions, now: datetime) -> Outcome:
    """Decide, and change ``tree`` into what has to be stored for "update*".

    * ``now``: delete the record.
    * ``update``: store the tree, the object lingers until grace or finalizers end.
    * ``update-then-delete``: a graceful kind deleted with no grace: stored once with its zero
      grace period (watchers see it), then deleted.
    * ``pending``: it is being deleted already, nothing changes.
    """
    metadata = tree["metadata"]
    graceful, pending = _begin_grace(strategy, tree, options, now)
    if pending:
        return "pending"
    wanted = _finalizers_for(strategy, tree, options)
    if set(wanted) != set(metadata.get("finalizers") or ()):
        if wanted:
            metadata["finalizers"] = wanted
        else:
            metadata.pop("finalizers", None)
    held = bool(metadata.get("finalizers")) or strategy.holds_deletion(tree)
    if graceful:
        if held or metadata["deletionGracePeriodSeconds"] > 0:
            return "update"
        return "update-then-delete"
    if not held:
        return "now"
    _mark_deleting(strategy, tree, now)
    return "update"


def _begin_grace(
    strategy: Strategy, tree: Tree, options: DeleteOptions, now: datetime
) -> tuple[bool, bool]:
    """(graceful, pending): see upstream's BeforeDelete."""
    metadata = tree["metadata"]
    period = strategy.grace_period_s(tree, options.grace_period_s)
    if period is None:
        return False, False
    if metadata.get("deletionTimestamp"):
        current = metadata.get("deletionGracePeriodSeconds") or 0
        if current == 0:
            return False, False
        if options.grace_period_s is None or options.grace_period_s >= current:
            return False, True
        # Only a shorter period counts, measured from when the deletion began.
        began = parse_time(metadata["deletionTimestamp"]) - timedelta(seconds=current)
        shorter = options.grace_period_s
        metadata["deletionTimestamp"] = render_time(began + timedelta(seconds=shorter))
        metadata["deletionGracePeriodSeconds"] = shorter
        return True, False
    metadata["deletionTimestamp"] = render_time(now + timedelta(seconds=period))
    metadata["deletionGracePeriodSeconds"] = period
    _bump_generation(metadata)
    return True, False


def _mark_deleting(strategy: Strategy, tree: Tree, now: datetime) -> None:
    metadata = tree["metadata"]
    stamp = metadata.get("deletionTimestamp")
    if not stamp:
        _bump_generation(metadata)
    if not stamp or parse_time(stamp) > now:
        metadata["deletionTimestamp"] = render_time(now)
    if metadata.get("finalizers"):
        metadata["deletionGracePeriodSeconds"] = 0


def _bump_generation(metadata: Tree) -> None:
    if metadata.get("generation"):
        metadata["generation"] += 1


def _finalizers_for(strategy: Strategy, tree: Tree, options: DeleteOptions) -> list[str]:
    present = list(tree["metadata"].get("finalizers") or ())
    default = strategy.default_garbage_collection(tree)
    if default == "none":
        return present
    kept = [f for f in present if f not in (ORPHAN, FOREGROUND)]
    if options.orphan_dependents is not None:
        orphan, foreground = options.orphan_dependents, False
    elif options.propagation_policy:
        orphan = options.propagation_policy == "Orphan"
        foreground = options.propagation_policy == "Foreground"
    elif ORPHAN in present or FOREGROUND in present:
        orphan, foreground = ORPHAN in present, FOREGROUND in present
    else:
        orphan, foreground = default == "orphan", False
    if orphan:
        kept.append(ORPHAN)
    if foreground:
        kept.append(FOREGROUND)
    return kept


def ends_with_update(strategy: Strategy, new: Tree, old: Tree) -> bool:
    """Whether this update removed the last thing a deletion waited for."""
    metadata, before = new["metadata"], old["metadata"]
    return bool(
        not metadata.get("finalizers")
        and before.get("deletionTimestamp")
        # Namespaces are deleted without any grace period, not with one of zero.
        and not before.get("deletionGracePeriodSeconds")
        and not strategy.holds_deletion(new)
    )
