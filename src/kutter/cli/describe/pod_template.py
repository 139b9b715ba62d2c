"""Pod templates, in the description of whatever holds one. Pure."""

from __future__ import annotations

from typing import Any

from kutter.cli.describe.containers import add_containers
from kutter.cli.describe.layout import Page, align
from kutter.cli.describe.volumes import add_volumes

Tree = dict[str, Any]


def add_template(page: Page, template: Tree, level: int = 0) -> None:
    page.add("Pod Template:", level)
    add_template_body(page, template, level + 1)


def add_template_body(page: Page, template: Tree, level: int) -> None:
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    page.pairs("Labels", metadata.get("labels"), level=level)
    if metadata.get("annotations"):
        page.pairs("Annotations", metadata["annotations"], level=level, between=": ")
    if spec.get("serviceAccountName"):
        page.field("Service Account", spec["serviceAccountName"], level)
    if spec.get("initContainers"):
        add_containers(page, "Init Containers", spec["initContainers"], None, level=level)
    add_containers(page, "Containers", spec.get("containers") or [], None, level=level)
    add_volumes(page, spec.get("volumes") or [], level)
    if spec.get("priorityClassName"):
        page.field("Priority Class Name", spec["priorityClassName"], level)
    add_placement(page, spec, level)


def add_placement(page: Page, spec: Tree, level: int = 0) -> None:
    """Node selectors and tolerations."""
    page.pairs("Node-Selectors", spec.get("nodeSelector"), level=level)
    texts = sorted(toleration_text(t) for t in spec.get("tolerations") or ())
    page.field("Tolerations", texts[0] if texts else "<none>", level)
    for text in texts[1:]:
        page.add(f"\t{text}", level)


def toleration_text(toleration: Tree) -> str:
    """``key=value:Effect op=Exists for 300s``."""
    text = toleration.get("key") or ""
    if toleration.get("value"):
        text += f"={toleration['value']}"
    if toleration.get("effect"):
        text += f":{toleration['effect']}"
    if toleration.get("operator") == "Exists" and not toleration.get("value"):
        text += " op=Exists" if text else "op=Exists"
    if toleration.get("tolerationSeconds") is not None:
        text += f" for {toleration['tolerationSeconds']}s"
    return text


def template_lines(template: Tree) -> list[str]:
    """A template on its own, for ``rollout history --revision``."""
    page = Page()
    add_template(page, template)
    return align(page.text().removesuffix("\n").split("\n"))
