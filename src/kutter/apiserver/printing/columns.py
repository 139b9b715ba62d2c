"""A table printer made of columns and a function for the cells."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from kutter.apiserver.printing.age import age

Tree = dict[str, Any]
Cells = Callable[[Tree, datetime], list[Any]]
Order = Callable[[Tree], Any]
NONE = "<none>"
UNSET = "<unset>"


def columns(text: str) -> list[Tree]:
    """Column definitions from ``Name Ready Restarts:integer IP+ Port(s)``.

    Spaces in names are written ``_``, a type follows ``:`` (string by default; ``name`` is a
    string in the format of a name), ``+`` marks a column shown only with ``-o wide``.
    """
    made = []
    for word in text.split():
        name, _, kind = word.rstrip("+").partition(":")
        name = name.replace("_", " ")
        if name == "Name" and not kind:
            kind = "name"
        made.append(
            {
                "name": name,
                "type": "string" if kind in ("", "name") else kind,
                "format": "name" if kind == "name" else "",
                "description": _DESCRIPTIONS.get(name, f"{name} of the object"),
                "priority": 1 if word.endswith("+") else 0,
            }
        )
    return made


_DESCRIPTIONS = {
    "Name": "Unique within its namespace",
    "Age": "Time since creation",
    "Containers": "Names of the containers of the template",
    "Images": "Images of the containers of the template",
    "Selector": "Labels of the pods it stands for",
}


class Printer:
    """``columns`` and ``cells`` of one kind."""

    def __init__(self, text: str, cells: Cells, order: Order | None = None) -> None:
        """``order`` sorts the rows of a list, where it is not the list's own."""
        self._columns = columns(text)
        self._cells = cells
        self.order = order

    @property
    def columns(self) -> list[Tree]:
        return self._columns

    def cells(self, tree: Tree, now: datetime) -> list[Any]:
        return self._cells(tree, now)

    def conditions(self, tree: Tree) -> list[Tree]:
        return []


def name_of(tree: Tree) -> str:
    return (tree.get("metadata") or {}).get("name") or ""


def age_of(tree: Tree, now: datetime) -> str:
    return age((tree.get("metadata") or {}).get("creationTimestamp"), now)


def labels_text(labels: Tree | None) -> str:
    """``a=b,c=d``, sorted."""
    return ",".join(f"{k}={v}" for k, v in sorted((labels or {}).items())) or NONE


def selector_text(selector: Tree | None) -> str:
    """A LabelSelector as kubectl writes one: ``app=web,tier in (a,b),!x``."""
    if selector is None:
        return NONE
    parts: list[tuple[str, str]] = []
    for key, value in (selector.get("matchLabels") or {}).items():
        parts.append((key, f"{key}={value}"))
    for rule in selector.get("matchExpressions") or ():
        key, values = rule.get("key") or "", ",".join(sorted(rule.get("values") or ()))
        text = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }.get(rule.get("operator") or "", "")
        parts.append((key, text))
    return ",".join(text for _, text in sorted(parts)) or NONE


def container_cells(pod_spec: Tree | None) -> tuple[str, str]:
    """Names and images, comma-separated."""
    containers = (pod_spec or {}).get("containers") or ()
    names = ",".join(c.get("name") or "" for c in containers)
    return names, ",".join(c.get("image") or "" for c in containers)


def with_more(items: list[str], most: int = 3) -> str:
    """The first few, and how many more there are."""
    shown = ",".join(items[:most])
    more = len(items) - most
    return f"{shown} + {more} more..." if more > 0 else shown


def bool_text(value: bool | None) -> str:
    return UNSET if value is None else "True" if value else "False"


def reference_text(kind: str, group: str, name: str) -> str:
    """``statefulset.apps/web``."""
    return f"{kind}.{group}/{name}".lower() if group else f"{kind.lower()}/{name}"
