"""A definition's conditions, read and written; and which names it gets. Pure.

Names are first come, first served within a group: plural, singular and short names share one
space, kind and list kind another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Tree = dict[str, Any]


def find_condition(tree: Tree, type: str) -> Tree | None:
    for condition in (tree.get("status") or {}).get("conditions") or ():
        if condition.get("type") == type:
            found: Tree = condition
            return found
    return None


def is_true(tree: Tree, type: str) -> bool:
    condition = find_condition(tree, type)
    return condition is not None and condition.get("status") == "True"


def set_condition(
    tree: Tree, type: str, status: str, reason: str, message: str, *, now: str
) -> None:
    """Write a condition; its transition time moves only with its status."""
    known = find_condition(tree, type)
    if known is None:
        known = {"type": type}
        holder = tree.setdefault("status", {})
        holder["conditions"] = [*(holder.get("conditions") or ()), known]
    if known.get("status") != status:
        known["lastTransitionTime"] = now
    known.update(status=status, reason=reason, message=message)


def drop_condition(tree: Tree, type: str) -> None:
    """Remove a condition that says nothing any more."""
    if find_condition(tree, type) is not None:
        status = tree["status"]
        status["conditions"] = [c for c in status["conditions"] if c.get("type") != type]


def accept_names(tree: Tree, others: Iterable[Tree], now: str) -> None:
    """Settle ``status.acceptedNames`` and the condition NamesAccepted in place.

    ``others`` are the other definitions of the group. A name that is taken keeps the one
    accepted before, if any.
    """
    resources: set[Any] = set()
    kinds: set[Any] = set()
    for other in others:
        names = (other.get("status") or {}).get("acceptedNames") or {}
        resources |= {names.get("plural"), names.get("singular"), *(names.get("shortNames") or ())}
        kinds |= {names.get("kind"), names.get("listKind")}
    wanted: Tree = tree["spec"]["names"]
    status = tree.setdefault("status", {})
    before: Tree = status.get("acceptedNames") or {}
    accepted = dict(before)
    problem = ("", "")
    for field, reason, taken in (
        ("plural", "PluralConflict", resources),
        ("singular", "SingularConflict", resources),
        ("shortNames", "ShortNamesConflict", resources),
        ("kind", "KindConflict", kinds),
        ("listKind", "ListKindConflict", kinds),
    ):
        value, held = wanted.get(field), before.get(field)
        names = value if isinstance(value, list) else [value] if value else []
        mine = held if isinstance(held, list) else [held]
        bad = [
            f'"{name}" is already in use' for name in names if name not in mine and name in taken
        ]
        if bad:
            text = bad[0] if len(bad) == 1 else f"[{', '.join(bad)}]"
            problem = (reason, text)
        elif value:
            accepted[field] = value
        else:
            accepted.pop(field, None)
    if wanted.get("categories"):
        accepted["categories"] = wanted["categories"]
    else:
        accepted.pop("categories", None)
    for field in ("plural", "kind"):
        accepted.setdefault(field, "")
    status["acceptedNames"] = accepted
    if problem[0]:
        set_condition(tree, "NamesAccepted", "False", *problem, now=now)
    else:
        set_condition(tree, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now=now)
