"""The Events section, and events as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kutter.api.errors import ApiError
from kutter.api.selectors import escape_field_value
from kutter.cli.moments import age

if TYPE_CHECKING:
    from kutter.cli.describe.layout import Page
    from kutter.cli.session import Session

Tree = dict[str, Any]


def events_of(session: Session, tree: Tree) -> list[Tree]:
    """Events about an object, oldest first. Without the right to see them: none."""
    metadata = tree["metadata"]
    fields = {
        "involvedObject.name": metadata["name"],
        "involvedObject.namespace": metadata.get("namespace", ""),
        "involvedObject.kind": tree["kind"],
    }
    if tree["kind"] != "Node":  # agents report events with the node's name as its uid
        fields["involvedObject.uid"] = metadata.get("uid", "")
    selector = ",".join(f"{k}={escape_field_value(v)}" for k, v in fields.items() if v)
    try:
        found = session.list(
            session.kinds.find("events"), metadata.get("namespace", ""), fields=selector
        )
    except ApiError as error:
        if error.code == 403:
            return []
        raise
    return sorted(found, key=last_seen)


def last_seen(event: Tree) -> str:
    """When it happened last, as RFC 3339."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def event_age(event: Tree) -> str:
    """``5s``, or ``5s (x3 over 2m)``."""
    count = (event.get("series") or {}).get("count") or event.get("count") or 1
    first = event.get("firstTimestamp") or event.get("eventTime")
    if count > 1 and first:
        return f"{age(last_seen(event))} (x{count} over {age(first)})"
    return age(last_seen(event))


def event_source(event: Tree) -> str:
    source = event.get("source") or {}
    name = source.get("component") or event.get("reportingComponent") or ""
    return name + (f", {source['host']}" if name == "" and source.get("host") else "")


def add_events(page: Page, events: list[Tree]) -> None:
    if not events:
        page.field("Events", "<none>")
        return
    page.add("Events:")
    page.add("  Type\tReason\tAge\tFrom\tMessage")
    page.add("  ----\t------\t----\t----\t-------")
    for event in events:
        message = (event.get("message") or "").strip().replace("\n", " ")
        page.add(
            f"  {event.get('type')}\t{event.get('reason')}\t{event_age(event)}"
            f"\t{event_source(event)}\t{message}"
        )
