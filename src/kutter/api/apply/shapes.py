"""Shapes: what ownership has to know of a schema node, computed once for each.

Between schema nodes and the walks over trees. A *leaf* (scalar, atomic list, atomic map or
struct) is owned as a whole; a *struct* by its declared fields, a *map* by its keys, a *set* by
its values, a *keyed* list by the key fields of its items. Where no schema tells, maps are owned
by key and lists as a whole.
"""

from __future__ import annotations

from typing import Any, Literal

from kutter.api.apply.elements import ElementError, key_element, value_element
from kutter.api.schema.node import Node

Form = Literal["leaf", "struct", "map", "set", "keyed", "deduced"]

# Struct fields that are no pointers in Go: an object that is yet empty has them already, so
# nobody comes to own them as a whole. Those below a list item or a pointer do not matter.
_EMBEDDED_STRUCTS = frozenset(
    {
        "metadata",
        "spec",
        "status",
        "template",
        "jobTemplate",
        "strategy",
        "updateStrategy",
        "resources",
        "loadBalancer",
        "daemonEndpoints",
        "kubeletEndpoint",
        "nodeInfo",
        "source",
        "deprecatedSource",
    }
)

# Defaults of key fields of built-in kinds; OpenAPI v2, which the tables come from, has none.
_KEY_DEFAULTS = {
    ("ContainerPort", "protocol"): "TCP",
    ("ServicePort", "protocol"): "TCP",
    ("LocalObjectReference", "name"): "",
}


class Shape:
    """How values of one node are owned."""

    __slots__ = (
        "_below",
        "_compiled",
        "_every",
        "atomic",
        "defaults",
        "form",
        "is_text",
        "keys",
        "node",
    )

    def __init__(self, node: Node | None) -> None:
        self.node = node
        self.form: Form = _form(node)
        self.atomic = node is not None and self.form == "leaf" and node.type in _CONTAINERS
        self.is_text = node is not None and node.type == "string"
        self.keys: tuple[str, ...] = ()
        self.defaults: dict[str, Any] = {}
        self._compiled: dict[Any, Any] = {}
        # Shapes of declared fields, and the one of all keys of a map, once they are known.
        self._below: dict[str, Shape] = {}
        self._every: Shape | None = None
        if self.form == "keyed":
            assert node is not None
            self.keys = node.map_keys or (node.merge_key,)
            items = node.items
            fields = items.fields if items is not None else {}
            for key in self.keys:
                default = fields[key].default if key in fields else None
                if default is None and items is not None:
                    default = _KEY_DEFAULTS.get((items.name, key))
                if default is not None:
                    self.defaults[key] = default

    @property
    def compiled(self) -> dict[Any, Any]:
        """What walks keep here for this shape, by variant."""
        return self._compiled

    def field(self, key: str) -> Shape | None:
        """The shape below a key of a map or struct; None when the schema forbids the key."""
        return self._every or self._below.get(key) or self._find(key)

    def _find(self, key: str) -> Shape | None:
        node = self.node
        if node is None or self.form == "deduced":
            self._every = DEDUCED
            return DEDUCED
        if node.type != "object":
            self._every = shape_of(node.items)
            return self._every
        field = node.fields.get(key)
        if field is not None:
            below = self._below[key] = shape_of(field)
            return below
        return DEDUCED if node.preserves_unknown else None

    def declares(self, key: str) -> bool:
        """Whether ``key`` is a field of a struct (not a key of a map)."""
        return self.form == "struct" and self.node is not None and key in self.node.fields

    def embeds(self, key: str, below: Shape) -> bool:
        """Whether the field is there, empty, in any value of this struct."""
        node = self.node
        if node is None or not node.table or self.form != "struct":
            return False
        if below.form == "struct":
            return key in _EMBEDDED_STRUCTS or key in node.required
        return (
            below.form in ("map", "set", "keyed")
            and below.node is not None
            and below.node.keeps_empty
            and key in node.required
        )

    @property
    def item(self) -> Shape:
        """The shape of a list's items."""
        return DEDUCED if self.node is None else shape_of(self.node.items)

    def element(self, item: Any) -> str:
        """The path element of a list item. Raises ElementError when it has none."""
        if self.form == "set":
            return _set_element(item)
        if type(item) is not dict:
            what = "null element" if item is None else "non-map elements"
            raise ElementError(f"associative list with keys may not have {_article(what)}")
        fields: dict[str, Any] = {}
        for key in self.keys:
            if key in item:
                fields[key] = item[key]
            elif key in self.defaults:
                fields[key] = self.defaults[key]
        if not fields:
            names = " ".join(f'"{key}"' for key in self.keys)
            raise ElementError(
                f"associative list with keys has an element that omits all key fields [{names}] "
                "(and doesn't have default values for any key fields)"
            )
        return key_element(fields)


def _article(what: str) -> str:
    return f"a {what}" if what.startswith("null") else what


def _set_element(item: Any) -> str:
    if isinstance(item, dict):
        raise ElementError("associative list without keys has an element that's a map type")
    if isinstance(item, list):
        raise ElementError("not supported: associative list with lists as elements")
    if item is None:
        raise ElementError("associative list without keys has an element that's an explicit null")
    return value_element(item)


_CONTAINERS = ("object", "map", "list", "any")


def _form(node: Node | None) -> Form:
    if node is None or node.type == "any":
        return "deduced"
    if node.type == "object":
        if node.map_type == "atomic":
            return "leaf"
        return "struct" if node.fields else "deduced"
    if node.type == "map":
        return "leaf" if node.map_type == "atomic" else "map"
    if node.type != "list":
        return "leaf"
    if node.list_type:
        return {"set": "set", "map": "keyed"}.get(node.list_type, "leaf")  # type: ignore[return-value]
    if "merge" in node.patch_strategies:
        return "keyed" if node.merge_key else "set"
    return "leaf"


DEDUCED = Shape(None)


def shape_of(node: Node | None) -> Shape:
    """The shape of a node, kept with it."""
    if node is None:
        return DEDUCED
    shape = node.ownership
    if shape is None:
        shape = node.ownership = Shape(node)
    assert isinstance(shape, Shape)
    return shape
