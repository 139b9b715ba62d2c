"""What can be said about an object of any kind: deletion, conditions, warnings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from kutter.cli.describe.events import last_seen
from kutter.cli.why.finding import BROKEN, WAITING, Facts, Finding, event_line, warnings_of
from kutter.cli.why.workload import deletion_findings

_RECENT_S = 3600.0
_GOOD_WHEN_TRUE = frozenset(
    {"Ready", "Available", "Established", "Accepted", "Complete", "Approved"}
)
_GOOD_WHEN_FALSE = frozenset({"Failed", "Denied", "Stalled", "Degraded"})


def any_findings(facts: Facts) -> Iterator[Finding]:
    tree = facts.tree
    if tree["metadata"].get("deletionTimestamp"):
        yield from deletion_findings(tree)
    for condition in (tree.get("status") or {}).get("conditions") or ():
        name, status = condition.get("type"), condition.get("status")
        bad = (name in _GOOD_WHEN_TRUE and status == "False") or (
            name in _GOOD_WHEN_FALSE and status == "True"
        )
        if bad:
            detail = condition.get("message") or condition.get("reason") or ""
            yield Finding(BROKEN, f"Its condition {name} is {status}: {detail}".rstrip(": "))
        elif name in _GOOD_WHEN_TRUE and status == "Unknown":
            yield Finding(WAITING, f"Its condition {name} is not known yet.")
    recent = [e for e in warnings_of(facts.events) if _is_recent(e, facts.now)]
    if recent:
        message = (recent[0].get("message") or "").strip()
        yield Finding(
            WAITING,
            f"The last warning about it: {message}",
            tuple(event_line(event) for event in recent[:3]),
        )


def _is_recent(event: dict[str, object], now: datetime) -> bool:
    text = last_seen(event)
    if not text:
        return False
    return (now - datetime.fromisoformat(text)).total_seconds() < _RECENT_S
