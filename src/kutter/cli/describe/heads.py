"""Parts every description has: labels, annotations, owner. Pure."""

from __future__ import annotations

from typing import Any

from kutter.cli.describe.layout import Page

Tree = dict[str, Any]
_HIDDEN = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})


def add_head(page: Page, metadata: Tree) -> None:
    """Labels and annotations."""
    page.pairs("Labels", metadata.get("labels"))
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k not in _HIDDEN}
    page.pairs("Annotations", annotations, between=": ")


def add_controller(page: Page, metadata: Tree) -> None:
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            page.field("Controlled By", f"{owner['kind']}/{owner['name']}")


def add_conditions(page: Page, conditions: list[Tree]) -> None:
    """Type, status, reason."""
    if conditions:
        page.add("Conditions:")
        page.add("  Type\tStatus\tReason")
        page.add("  ----\t------\t------")
        for condition in conditions:
            page.add(
                f"  {condition['type']} \t{condition['status']}\t{condition.get('reason', '')}"
            )
