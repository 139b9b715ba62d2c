"""Nodes: the one form of a schema, built from the tables or from a custom definition.

A node tells what one value may be. Nodes of named types are shared and may be recursive, so
fields are resolved when first asked for. Facts that belong to a field rather than to its type
(list type, patch strategy) sit on the field's own node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

NodeType = Literal[
    "object",  # fixed fields
    "map",  # text → items
    "list",  # of items
    "string",
    "boolean",
    "int32",
    "int64",
    "double",
    "byte",  # base64 text
    "time",  # RFC 3339, whole seconds
    "microtime",  # RFC 3339, six digits of a second
    "quantity",
    "intstr",  # int32 or text
    "any",  # not looked into
]

Visit = Callable[[Any, "Findings | None"], Any]


class Findings:
    """What a walk saw: unknown fields as (object, key), which :func:`locate` turns into paths,
    and how many keys there were in all.
    """

    __slots__ = ("keys", "unknown")

    def __init__(self) -> None:
        self.keys = 0
        self.unknown: list[tuple[dict[str, Any], str]] = []


class Node:
    """One value's schema.

    ``name`` is the type's (``PodSpec``), ``""`` when it has none; ``table`` is its
    group-version's. ``patch_strategies`` and ``merge_key`` drive strategic merge patch;
    ``list_type`` (``atomic``, ``set``, ``map``),
    ``map_keys`` and ``map_type`` drive field ownership.
    """

    __slots__ = (
        "_fields",
        "_resolve",
        "_visit",
        "default",
        "embedded",
        "enum",
        "items",
        "keeps_empty",
        "list_type",
        "map_keys",
        "map_type",
        "merge_key",
        "name",
        "ownership",
        "patch_strategies",
        "preserves_unknown",
        "required",
        "table",
        "type",
        "unions",
        "validations",
    )

    def __init__(
        self,
        type: NodeType,
        *,
        name: str = "",
        table: str = "",
        items: Node | None = None,
        resolve: Callable[[], dict[str, Node]] | None = None,
        facts: dict[str, Any] | None = None,
        required: frozenset[str] = frozenset(),
        preserves_unknown: bool = False,
        keeps_empty: bool = False,
    ) -> None:
        facts = facts or {}
        self.type: NodeType = type
        self.name = name
        self.table = table
        self.items = items
        self.required = required
        self.preserves_unknown = preserves_unknown
        # Whether an empty list or map stays; Go's `omitempty` drops it.
        self.keeps_empty = keeps_empty
        self.list_type: str = facts.get("listType", "")
        self.map_keys: tuple[str, ...] = tuple(facts.get("mapKeys", ()))
        self.map_type: str = facts.get("mapType", "")
        strategies: str = facts.get("patchStrategy", "")
        self.patch_strategies = frozenset(strategies.split(",") if strategies else ())
        self.merge_key: str = facts.get("mergeKey", "")
        self.default: Any = facts.get("default")
        self.enum: tuple[Any, ...] = tuple(facts.get("enum", ()))
        self.embedded: bool = facts.get("embedded", False)
        self.validations: tuple[Any, ...] = tuple(facts.get("validations", ()))
        self.unions: tuple[Any, ...] = tuple(facts.get("unions", ()))
        self._resolve = resolve
        self._fields: dict[str, Node] | None = None
        self._visit: Visit | None = None
        # What kutter.api.apply computed of this node.
        self.ownership: object = None

    @property
    def fields(self) -> dict[str, Node]:
        """An object's fields by wire name; empty for anything else."""
        if self._fields is None:
            self._fields = self._resolve() if self._resolve else {}
        return self._fields

    @property
    def visit(self) -> Visit:
        """The compiled walk over a value of this node (:mod:`kutter.api.schema.walk`)."""
        if self._visit is None:
            from kutter.api.schema.walk import compile_visit

            self._visit = compile_visit(self)
        return self._visit

    def child(self, key: str) -> Node | None:
        """The node below ``key``: a field, or a map's items. None when it is not known."""
        if self.type == "object":
            return self.fields.get(key)
        return self.items if self.type == "map" else None

    def at(self, path: tuple[str, ...]) -> Node | None:
        """The node some keys down; ``*`` steps into the items of a list or map."""
        node: Node | None = self
        for key in path:
            if node is None:
                return None
            node = node.items if key == "*" else node.child(key)
        return node

    def go_type(self) -> str:
        """The type's name as Go prints it, as near as the tables tell."""
        match self.type:
            case "object":
                return f"{self.table.rpartition('/')[2] or 'v1'}.{self.name}"
            case "list" | "map":
                assert self.items is not None
                prefix = "[]" if self.type == "list" else "map[string]"
                return prefix + self.items.go_type()
            case "boolean":
                return "bool"
            case "double":
                return "float64"
            case "byte":
                return "[]uint8"
            case "time" | "microtime" | "quantity" | "intstr" | "any":
                named = {
                    "time": "v1.Time",
                    "microtime": "v1.MicroTime",
                    "quantity": "resource.Quantity",
                    "intstr": "intstr.IntOrString",
                }
                return named.get(self.type, "interface {}")
            case _:
                return self.type


def locate(tree: dict[str, Any], findings: Findings) -> list[str]:
    """Paths of unknown fields in document order: ``spec.containers[0].foo``."""
    keys: dict[int, list[str]] = {}
    for holder, key in findings.unknown:
        keys.setdefault(id(holder), []).append(key)
    paths: list[str] = []
    _locate(tree, "", keys, paths)
    return paths


def _locate(value: Any, path: str, keys: dict[int, list[str]], paths: list[str]) -> None:
    if type(value) is dict:
        prefix = f"{path}." if path else ""
        paths.extend(f"{prefix}{key}" for key in keys.get(id(value), ()))
        for key, below in value.items():
            _locate(below, f"{prefix}{key}", keys, paths)
    elif type(value) is list:
        for index, below in enumerate(value):
            _locate(below, f"{path}[{index}]", keys, paths)
