"""What an explanation is made of. Pure values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

Tree = dict[str, Any]

BROKEN = "broken"  # it will stay so until somebody does something
WAITING = "waiting"  # it is on its way
NOTE = "note"  # worth knowing, not in the way
_ORDER = {BROKEN: 0, WAITING: 1, NOTE: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """``says`` is one sentence; ``evidence`` is what shows it; ``next_steps`` what to do."""

    kind: str
    says: str
    evidence: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was fetched about one object. Lists are empty where there is nothing."""

    tree: Tree
    now: datetime
    events: Sequence[Tree] = ()
    owners: Sequence[Tree] = ()
    node: Tree | None = None
    node_is_missing: bool = False
    lease: Tree | None = None
    # ``configmap/x``: named by the object and not there.
    missing: Sequence[str] = ()
    pods: Sequence[Tree] = ()
    # Facts of the pods that are not as they should be.
    pod_facts: Sequence[Facts] = ()
    replica_sets: Sequence[Tree] = ()
    replica_set_events: Sequence[Tree] = ()
    slices: Sequence[Tree] = ()
    other_pods: Sequence[Tree] = ()
    remaining: Sequence[str] = ()
    storage_class: Tree | None = None
    has_default_class: bool = False

    @property
    def name(self) -> str:
        return str(self.tree["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer: the most telling finding first."""

    subject: str
    findings: tuple[Finding, ...] = field(default_factory=tuple)

    @property
    def verdict(self) -> str:
        kinds = {f.kind for f in self.findings}
        return BROKEN if BROKEN in kinds else WAITING if WAITING in kinds else "well"


def explain(subject: str, findings: Iterable[Finding]) -> Explanation:
    """In order of weight; the order given decides among equals."""
    return Explanation(subject, tuple(sorted(findings, key=lambda f: _ORDER[f.kind])))


def about(prefix: str, finding: Finding) -> Finding:
    """A finding about a part, said about the whole."""
    return replace(finding, says=f"{prefix}{finding.says[:1].lower()}{finding.says[1:]}")


def condition_of(tree: Tree, name: str) -> Tree | None:
    for condition in (tree.get("status") or {}).get("conditions") or ():
        if condition.get("type") == name:
            found: Tree = condition
            return found
    return None


def warnings_of(events: Sequence[Tree], *reasons: str) -> list[Tree]:
    """Warning events with one of ``reasons`` (any without), the latest first."""
    found = [
        event
        for event in events
        if event.get("type") == "Warning" and (not reasons or event.get("reason") in reasons)
    ]
    return list(reversed(found))


def event_line(event: Tree) -> str:
    """An event as evidence."""
    count = (event.get("series") or {}).get("count") or event.get("count") or 1
    times = f" ({count} times)" if count > 1 else ""
    message = (event.get("message") or "").strip()
    return f"event {event.get('reason')}{times}: {message}"
