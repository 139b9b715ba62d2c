"""Types as OpenAPI definitions, under upstream's names: code generators go by them.

Between the schema tables (and custom schemas) and OpenAPI documents of version 2 or 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kutter.api.custom.publishing import publish_schema
from kutter.api.resources import Resource
from kutter.api.schema import Node, schema_for
from kutter.api.schema.loader import kinds_of, type_node
from kutter.apiserver.ports import Tree
from kutter.apiserver.prose import Prose
from kutter.apiserver.versions import schema_of

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_RAW = "io.k8s.apimachinery.pkg.runtime.RawExtension"
# Where a table's types live in Go, if not in k8s.io/api.
_PACKAGES = {
    "meta/v1": META,
    "apiextensions.k8s.io/v1": _APIEXTENSIONS,
    "apiregistration.k8s.io/v1": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.",
}
_SCALARS: dict[str, Tree] = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"},
    "byte": {"type": "string", "format": "byte"},
}
# Types that are values on the wire and have a name all the same: (version 2, version 3).
_NAMED: dict[str, tuple[str, Tree, Tree]] = {
    "time": (
        f"{META}Time",
        {"type": "string", "format": "date-time"},
        {"type": "string", "format": "date-time"},
    ),
    "microtime": (
        f"{META}MicroTime",
        {"type": "string", "format": "date-time"},
        {"type": "string", "format": "date-time"},
    ),
    "quantity": (
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        {"type": "string"},
        {"oneOf": [{"type": "string"}, {"type": "number"}]},
    ),
    "intstr": (
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        {"type": "string", "format": "int-or-string"},
        {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    ),
}
# Fields that take anything, by what upstream calls it; the others are raw extensions.
_ANYTHING = {
    ("ManagedFieldsEntry", "fieldsV1"): f"{META}FieldsV1",
    ("CustomResourceSubresources", "status"): f"{_APIEXTENSIONS}CustomResourceSubresourceStatus",
    ("JSONSchemaProps", "additionalItems"): f"{_APIEXTENSIONS}JSONSchemaPropsOrBool",
    ("JSONSchemaProps", "additionalProperties"): f"{_APIEXTENSIONS}JSONSchemaPropsOrBool",
    ("JSONSchemaProps", "default"): f"{_APIEXTENSIONS}JSON",
    ("JSONSchemaProps", "dependencies"): f"{_APIEXTENSIONS}JSONSchemaPropsOrStringArray",
    ("JSONSchemaProps", "enum"): f"{_APIEXTENSIONS}JSON",
    ("JSONSchemaProps", "example"): f"{_APIEXTENSIONS}JSON",
    ("JSONSchemaProps", "items"): f"{_APIEXTENSIONS}JSONSchemaPropsOrArray",
}
# Kinds of every group, whatever group-version they are asked of.
_META_KINDS = frozenset(
    {"APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "DeleteOptions", "Status"}
)
_OBJECTS = (_RAW, f"{META}FieldsV1", f"{_APIEXTENSIONS}CustomResourceSubresourceStatus")


def package_of(table: str) -> str:
    """The start of the names of a table's types: ``io.k8s.api.core.v1.``."""
    found = _PACKAGES.get(table)
    if found is None:
        group, version = table.split("/")
        found = f"io.k8s.api.{group.split('.')[0]}.{version}."
    return found


def gvk(group: str, version: str, kind: str) -> Tree:
    return {"group": group, "version": version, "kind": kind}


class Definitions:
    """Named types, each once, gathered while references to them are made."""

    def __init__(
        self, version: int, custom: Callable[[Resource], Tree | None], prose: Prose
    ) -> None:
        self._prefix = "#/definitions/" if version == 2 else "#/components/schemas/"
        self._custom = custom
        self._prose = prose
        self.version = version
        self.made: dict[str, Tree] = {}

    # -- what paths refer to ---------------------------------------------------

    def kind(self, resource: Resource) -> Tree:
        """A reference to a resource's kind."""
        custom = self._custom(resource)
        if custom is not None:
            return self._custom_kind(resource, custom)
        schema = schema_of(resource)
        return {"type": "object"} if schema is None else self.reference(schema.node)

    def list_of(self, resource: Resource) -> Tree:
        """A reference to the list of a resource's kind."""
        kind = resource.list_kind or f"{resource.kind}List"
        custom = self._custom(resource)
        if custom is not None:
            return self._custom_list(resource, kind)
        schema = schema_of(resource)
        if schema is not None and kind in kinds_of(schema.node.table):
            return self.reference(type_node(schema.node.table, kind))
        return self.kind(resource)

    def other(self, group: str, version: str, kind: str) -> Tree:
        """A reference to a kind that is no resource of its own (Scale, DeleteOptions)."""
        schema = schema_for(group, version, kind)
        return {"type": "object"} if schema is None else self.reference(schema.node)

    def meta(self, name: str) -> Tree:
        """A reference to a type of meta/v1."""
        return self.reference(type_node("meta/v1", name))

    # -- custom kinds ----------------------------------------------------------

    def _custom_kind(self, resource: Resource, schema: Tree) -> Tree:
        name = custom_name(resource, resource.kind)
        if name not in self.made:
            head = self._head(metadata="ObjectMeta")
            made = publish_schema(schema, head, version=self.version, root=True)
            made["x-kubernetes-group-version-kind"] = [
                gvk(resource.group, resource.version, resource.kind)
            ]
            self.made[name] = made
        return {"$ref": self._prefix + name}

    def _custom_list(self, resource: Resource, kind: str) -> Tree:
        name = custom_name(resource, kind)
        if name not in self.made:
            items = {
                "description": f"The {resource.plural} of the list.",
                "type": "array",
                "items": self.kind(resource),
            }
            self.made[name] = {
                "description": f"A list of {resource.kind}.",
                "type": "object",
                "required": ["items"],
                "properties": {**self._head(metadata="ListMeta"), "items": items},
                "x-kubernetes-group-version-kind": [gvk(resource.group, resource.version, kind)],
            }
        return {"$ref": self._prefix + name}

    def _head(self, *, metadata: str) -> Tree:
        """What every object begins with, as properties."""
        owner = "io.k8s.api.core.v1.Pod" + ("List" if metadata == "ListMeta" else "")
        head: Tree = {
            field: {"type": "string", **self._described(owner, field)}
            for field in ("apiVersion", "kind")
        }
        text = self._described(owner, "metadata")
        head["metadata"] = self._beside(self.meta(metadata), text)
        return head

    # -- types of the tables ---------------------------------------------------

    def reference(self, node: Node) -> Tree:
        """A reference to a named type."""
        name = package_of(node.table) + node.name
        if name not in self.made:
            self.made[name] = {}
            self.made[name] = self._object(node, name)
        return {"$ref": self._prefix + name}

    def _object(self, node: Node, name: str) -> Tree:
        made: Tree = {}
        if text := self._prose.kind(name):
            made["description"] = text
        made["type"] = "object"
        if node.fields:
            made["properties"] = {
                field: self._field(below, name, field) for field, below in node.fields.items()
            }
        if node.required:
            made["required"] = sorted(node.required)
        if node.map_type:
            made["x-kubernetes-map-type"] = node.map_type
        if node.unions:
            made["x-kubernetes-unions"] = list(node.unions)
        group, _, version = node.table.partition("/")
        if node.name in kinds_of(node.table) or (group == "meta" and node.name in _META_KINDS):
            group = "" if group in ("core", "meta") else group
            made["x-kubernetes-group-version-kind"] = [gvk(group, version, node.name)]
        return made

    def _described(self, owner: str, field: str) -> Tree:
        text = self._prose.field(owner, field)
        return {"description": text} if text else {}

    def _field(self, node: Node, owner: str, field: str) -> Tree:
        facts: Tree = self._described(owner, field)
        if node.enum:
            facts["enum"] = list(node.enum)
        if node.list_type:
            facts["x-kubernetes-list-type"] = node.list_type
        if node.map_keys:
            facts["x-kubernetes-list-map-keys"] = list(node.map_keys)
        if node.patch_strategies:
            facts["x-kubernetes-patch-strategy"] = ",".join(sorted(node.patch_strategies))
        if node.merge_key:
            facts["x-kubernetes-patch-merge-key"] = node.merge_key
        # What all references to a type have in common stands with the type.
        if node.map_type and (node.type == "map" or node.map_type == "granular"):
            facts["x-kubernetes-map-type"] = node.map_type
        return self._beside(self._type(node, owner, field), facts)

    def _beside(self, made: Tree, facts: Tree) -> Tree:
        if "$ref" in made and facts and self.version == 3:
            # A reference cannot carry siblings there: they go beside it in an allOf.
            return {"allOf": [made], **facts}
        return {**made, **facts}

    def _type(self, node: Node, owner: str, field: str) -> Tree:
        match node.type:
            case "object":
                return self.reference(node) if node.name else self._object(node, "")
            case "map":
                assert node.items is not None
                values = self._type(node.items, owner, field)
                return {"type": "object", "additionalProperties": values}
            case "list":
                assert node.items is not None
                return {"type": "array", "items": self._type(node.items, owner, field)}
            case "any":
                return self._anything(owner.rpartition(".")[2], field)
            case _ if node.type in _NAMED:
                name, second, third = _NAMED[node.type]
                return self._named(name, second if self.version == 2 else third)
            case _:
                return dict(_SCALARS[node.type])

    def _anything(self, owner: str, field: str) -> Tree:
        name = _ANYTHING.get((owner, field), _RAW)
        # Not empty: kubectl's explain takes an empty schema for a missing one.
        plain = {"type": "object"} if name in _OBJECTS else {"description": "Any value."}
        return self._named(name, plain)

    def _named(self, name: str, schema: Tree) -> Tree:
        if name not in self.made:
            text = self._prose.kind(name)
            self.made[name] = {**schema, **({"description": text} if text else {})}
        return {"$ref": self._prefix + name}


def custom_name(resource: Resource, kind: str) -> str:
    """The name of a custom kind's definition: ``com.example.stable.v1.CronTab``."""
    parts: list[Any] = [*reversed(resource.group.split(".")), resource.version, kind]
    return ".".join(parts)
