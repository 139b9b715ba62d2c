"""Any object for people: its fields with words for keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kutter.cli.describe.events import add_events, events_of
from kutter.cli.describe.heads import add_head
from kutter.cli.describe.layout import Page

if TYPE_CHECKING:
    from kutter.cli.session import Session

Tree = dict[str, Any]
_boundary = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_HEAD = frozenset({"name", "namespace", "labels", "annotations", "managedFields"})
_SECRET_KEYS = frozenset({"data", "stringData"})


def describe_any(session: Session, tree: Tree, *, show_events: bool) -> str:
    page = Page()
    metadata = tree["metadata"]
    page.field("Name", metadata["name"])
    page.field("Namespace", metadata.get("namespace", ""))
    add_head(page, metadata)
    page.field("API Version", tree.get("apiVersion", ""))
    page.field("Kind", tree.get("kind", ""))
    page.add("Metadata:")
    _add_map(page, {k: v for k, v in metadata.items() if k not in _HEAD}, 1)
    body = {k: v for k, v in tree.items() if k not in ("apiVersion", "kind", "metadata")}
    if tree.get("kind") == "Secret":
        body = _without_contents(body)
    _add_map(page, body, 0)
    if show_events:
        add_events(page, events_of(session, tree))
    return page.text()


def _without_contents(body: Tree) -> Tree:
    """Secrets are described by the size of their values."""
    shown: Tree = {}
    for key, value in body.items():
        if key in _SECRET_KEYS and isinstance(value, dict):
            value = {name: f"{_decoded_size(text)} bytes" for name, text in value.items()}
        shown[key] = value
    return shown


def _decoded_size(text: object) -> int:
    import base64
    import binascii

    try:
        return len(base64.b64decode(str(text)))
    except binascii.Error:
        return len(str(text))


def _add_map(page: Page, tree: Tree, level: int) -> None:
    for key in sorted(tree):
        _add_value(page, title(key), tree[key], level)


def _add_value(page: Page, name: str, value: Any, level: int) -> None:
    if isinstance(value, dict):
        page.add(f"{name}:", level)
        _add_map(page, value, level + 1)
    elif isinstance(value, list):
        page.add(f"{name}:", level)
        for item in value:
            if isinstance(item, dict):
                _add_map(page, item, level + 1)
            else:
                page.add(str(item), level + 1)
    else:
        shown = str(value).lower() if isinstance(value, bool) else value
        text = str(shown)
        if "\n" in text:
            page.add(f"{name}:", level)
            for line in text.split("\n"):
                page.add(line.replace("\t", "  "), level + 1)
        else:
            page.field(name, text.replace("\t", "  "), level)


def title(key: str) -> str:
    """``resourceVersion`` → ``Resource Version``; keys that are data stay."""
    if not key.isalnum():
        return key
    return _boundary.sub(" ", key[:1].upper() + key[1:])
