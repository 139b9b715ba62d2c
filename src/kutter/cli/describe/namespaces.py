"""A namespace for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kutter.cli.describe.heads import add_head
from kutter.cli.describe.layout import Page

if TYPE_CHECKING:
    from kutter.cli.session import Session

Tree = dict[str, Any]


def describe_namespace(session: Session, namespace: Tree, *, show_events: bool) -> str:
    page = Page()
    metadata, status = namespace["metadata"], namespace.get("status") or {}
    page.field("Name", metadata["name"])
    add_head(page, metadata)
    page.field("Status", status.get("phase", ""))
    conditions = status.get("conditions") or []
    if conditions:
        page.add("Conditions:")
        page.add("  Type\tStatus\tLastTransitionTime\tReason\tMessage")
        page.add("  ----\t------\t------------------\t------\t-------")
        for c in conditions:
            page.add(
                f"  {c['type']}\t{c['status']}\t{c.get('lastTransitionTime', '')}"
                f"\t{c.get('reason', '')}\t{c.get('message', '')}"
            )
    quotas = session.list(session.kinds.find("resourcequotas"), metadata["name"])
    page.add("")
    if not quotas:
        page.add("No resource quota.")
    else:
        page.add("Resource Quotas")
        for quota in quotas:
            hard, used = ((quota.get("status") or {}).get(key) or {} for key in ("hard", "used"))
            page.field("  Name", quota["metadata"]["name"])
            page.add("  Resource\tUsed\tHard")
            page.add("  --------\t---\t---")
            for resource in sorted(hard):
                page.add(f"  {resource}\t{used.get(resource, '0')}\t{hard[resource]}")
    limits = session.list(session.kinds.find("limitranges"), metadata["name"])
    page.add("")
    if not limits:
        page.add("No LimitRange resource.")
        return page.text()
    page.add("Resource Limits")
    page.add(" Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio")
    page.add(" ----\t--------\t---\t---\t---------------\t-------------\t-----------------------")
    for limit in limits:
        for item in limit["spec"].get("limits") or ():
            _add_limit(page, item)
    return page.text()


def _add_limit(page: Page, item: Tree) -> None:
    fields = ("min", "max", "defaultRequest", "default", "maxLimitRequestRatio")
    names = sorted({name for field in fields for name in item.get(field) or {}})
    for name in names:
        cells = [str((item.get(field) or {}).get(name, "-")) for field in fields]
        page.add(f" {item['type']}\t{name}\t" + "\t".join(cells))
