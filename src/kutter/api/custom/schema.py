"""From a definition's ``openAPIV3Schema`` to nodes: the form every kind's schema has here.

Between a custom definition and everything that walks schemas: pruning, patches, field
ownership. A :class:`CustomNode` keeps the schema it was made from, whose value rules
(:mod:`kutter.api.custom.values`) and defaults a plain node has no room for.
"""

from __future__ import annotations

from typing import Any

from kutter.api.custom.prune import compile_prune
from kutter.api.schema.loader import type_node
from kutter.api.schema.node import Node, NodeType, Visit

Schema = dict[str, Any]

EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"
LIST_KEYS = "x-kubernetes-list-map-keys"
LIST_TYPE = "x-kubernetes-list-type"
MAP_TYPE = "x-kubernetes-map-type"
PRESERVE = "x-kubernetes-preserve-unknown-fields"
RULES = "x-kubernetes-validations"
_SCALARS: dict[str, NodeType] = {
    "string": "string",
    "boolean": "boolean",
    "integer": "int64",
    "number": "double",
}


class CustomNode(Node):
    """A node of a custom schema; its visit prunes and never judges a value."""

    __slots__ = ("_root", "schema")

    def __init__(self, type: NodeType, schema: Schema, *, root: bool = False, **more: Any) -> None:
        facts = {
            "listType": schema.get(LIST_TYPE, ""),
            "mapKeys": schema.get(LIST_KEYS, ()),
            "mapType": schema.get(MAP_TYPE, ""),
            "default": schema.get("default"),
            "enum": schema.get("enum") or (),
            "embedded": schema.get(EMBEDDED, False),
            "validations": schema.get(RULES) or (),
        }
        super().__init__(
            type,
            facts=facts,
            required=frozenset(schema.get("required") or ()),
            preserves_unknown=bool(schema.get(PRESERVE)),
            keeps_empty=True,
            **more,
        )
        self.schema = schema
        self._root = root

    @property
    def visit(self) -> Visit:
        if self._visit is None:
            self._visit = compile_prune(self.schema, root=self._root)
        return self._visit


def custom_root(schema: Schema, kind: str) -> CustomNode:
    """The node of a whole custom kind. ``schema`` is kept and must not change any more."""
    return CustomNode(
        "object", schema, root=True, name=kind, resolve=lambda: _fields(schema, resource=True)
    )


def _fields(schema: Schema, *, resource: bool) -> dict[str, Node]:
    fields = {name: custom_node(below) for name, below in (schema.get("properties") or {}).items()}
    if resource:
        plain = Node("string")
        fields |= {
            "apiVersion": plain,
            "kind": plain,
            "metadata": type_node("meta/v1", "ObjectMeta"),
        }
    return fields


def custom_node(schema: Schema) -> Node:
    """The node of one value below the root."""
    kind = schema.get("type") or ""
    if schema.get(INT_OR_STRING):
        return CustomNode("intstr", schema)
    if kind in _SCALARS:
        return CustomNode(_SCALARS[kind], schema)
    if kind == "array":
        return CustomNode("list", schema, items=custom_node(schema.get("items") or {}))
    more = schema.get("additionalProperties")
    if more is not None and more is not False and not schema.get("properties"):
        items = custom_node(more) if isinstance(more, dict) else Node("any")
        return CustomNode("map", schema, items=items)
    embedded = bool(schema.get(EMBEDDED))
    if kind == "object" or schema.get("properties") or embedded:
        return CustomNode("object", schema, resolve=lambda: _fields(schema, resource=embedded))
    return CustomNode("any", schema)
