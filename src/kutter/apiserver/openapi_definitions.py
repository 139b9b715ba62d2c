"""Types as OpenAPI definitions, under upstream's names: code generators go by them.

Between the schema tables (and custom schemas) and OpenAPI documents of version 2 or 3.
"""

from __future__ import annotations

from typing import Any, Protocol

from kutter.api.custom.publishing import publish_schema
from kutter.api.resources import Resource
from kutter.api.schema import Node, schema_for
from kutter.api.schema.loader import kinds_of, type_node
from kutter.apiserver.openapi_defaults import NONE, default_of
from kutter.apiserver.openapi_enums import enum_of
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
# Kinds of the core group, and those of every group-version that upstream's types are known in.
_META_KINDS = frozenset({"APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "Status"})
_EVERYWHERE = frozenset({"DeleteOptions", "WatchEvent"})
_VERSIONS = {
    "": "v1",
    "admission.k8s.io": "v1 v1beta1",
    "admissionregistration.k8s.io": "v1 v1alpha1 v1beta1",
    "apiextensions.k8s.io": "v1 v1beta1",
    "apiregistration.k8s.io": "v1 v1beta1",
    "apps": "v1 v1beta1 v1beta2",
    "authentication.k8s.io": "v1 v1alpha1 v1beta1",
    "authorization.k8s.io": "v1 v1beta1",
    "autoscaling": "v1 v2",
    "batch": "v1 v1beta1",
    "certificates.k8s.io": "v1 v1alpha1 v1beta1",
    "coordination.k8s.io": "v1 v1alpha2 v1beta1",
    "discovery.k8s.io": "v1 v1beta1",
    "events.k8s.io": "v1 v1beta1",
    "extensions": "v1beta1",
    "flowcontrol.apiserver.k8s.io": "v1 v1beta1 v1beta2 v1beta3",
    "imagepolicy.k8s.io": "v1alpha1",
    "internal.apiserver.k8s.io": "v1alpha1",
    "networking.k8s.io": "v1 v1beta1",
    "node.k8s.io": "v1 v1alpha1 v1beta1",
    "policy": "v1 v1beta1",
    "rbac.authorization.k8s.io": "v1 v1alpha1 v1beta1",
    "resource.k8s.io": "v1 v1alpha3 v1beta1 v1beta2",
    "scheduling.k8s.io": "v1 v1alpha2 v1beta1",
    "storage.k8s.io": "v1 v1alpha1 v1beta1",
    "storagemigration.k8s.io": "v1beta1",
}
_EVERYWHERE_AT = ("*", "")
# Groups whose kinds upstream's clients do not know: documents of custom kinds leave them out.
_SERVERS_OWN = frozenset(
    {"admission.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "imagepolicy.k8s.io"}
)
# What /version answers, whose type is no kind of the tables: fields that are always there, others.
_VERSION_INFO = "io.k8s.apimachinery.pkg.version.Info"
_INFO_REQUIRED = (
    "major",
    "minor",
    "gitVersion",
    "gitCommit",
    "gitTreeState",
    "buildDate",
    "goVersion",
    "compiler",
    "platform",
)
_INFO_OTHERS = (
    "emulationMajor",
    "emulationMinor",
    "minCompatibilityMajor",
    "minCompatibilityMinor",
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


class CustomKinds(Protocol):
    """What is known of custom resources."""

    def schema_of(self, resource: Resource) -> Tree | None: ...
    def selectable_of(self, resource: Resource) -> list[str]: ...


class Definitions:
    """Named types, each once, gathered while references to them are made."""

    def __init__(
        self,
        version: int,
        custom: CustomKinds,
        prose: Prose,
        place: tuple[str, str] | None = None,
    ) -> None:
        """``place``: the group-version of built-in kinds that alone is described."""
        self._prefix = "#/definitions/" if version == 2 else "#/components/schemas/"
        self._custom = custom
        self._prose = prose
        self._place = place if version == 3 else _EVERYWHERE_AT
        self.version = version
        self.made: dict[str, Tree] = {}

    # -- what paths refer to ---------------------------------------------------

    def kind(self, resource: Resource) -> Tree:
        """A reference to a resource's kind."""
        custom = self._custom.schema_of(resource)
        if custom is not None:
            return self._custom_kind(resource, custom)
        schema = schema_of(resource)
        return {"type": "object"} if schema is None else self.reference(schema.node)

    def list_of(self, resource: Resource) -> Tree:
        """A reference to the list of a resource's kind."""
        kind = resource.list_kind or f"{resource.kind}List"
        custom = self._custom.schema_of(resource)
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

    def patch(self) -> Tree:
        """A reference to what a PATCH sends, which is of no form the document could tell."""
        return self._named(f"{META}Patch", {"type": "object"})

    def version_info(self) -> Tree:
        """A reference to what ``/version`` answers."""
        default = {} if self.version == 2 else {"default": ""}
        properties = {
            name: {
                "type": "string",
                **(default if name in _INFO_REQUIRED else {}),
                **self._described(_VERSION_INFO, name),
            }
            for name in (*_INFO_REQUIRED, *_INFO_OTHERS)
        }
        info = {"type": "object", "properties": properties, "required": list(_INFO_REQUIRED)}
        return self._named(_VERSION_INFO, info)

    # -- custom kinds ----------------------------------------------------------

    def _custom_kind(self, resource: Resource, schema: Tree) -> Tree:
        name = custom_name(resource, resource.kind)
        if name not in self.made:
            head = self._head(metadata="ObjectMeta")
            made = publish_schema(schema, head, version=self.version, root=True)
            self.made[name] = {**made, **self._custom_facts(resource, resource.kind)}
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
                **self._custom_facts(resource, kind),
            }
        return {"$ref": self._prefix + name}

    def _custom_facts(self, resource: Resource, kind: str) -> Tree:
        facts: Tree = {
            "x-kubernetes-group-version-kind": [gvk(resource.group, resource.version, kind)]
        }
        if paths := self._custom.selectable_of(resource):
            facts["x-kubernetes-selectable-fields"] = [{"fieldPath": path} for path in paths]
        return facts

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
            # The type itself, not the field that refers to it and may know better.
            self.made[name] = self._object(type_node(node.table, node.name), name)
        return {"$ref": self._prefix + name}

    def _object(self, node: Node, name: str) -> Tree:
        made: Tree = {}
        if text := self._prose.kind(name):
            made["description"] = text
        made["type"] = "object"
        if node.fields:
            made["properties"] = {
                field: self._field(below, name, field, required=field in node.required)
                for field, below in node.fields.items()
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
        elif group == "meta" and node.name in _EVERYWHERE:
            known = _known_in(self._place)
            made["x-kubernetes-group-version-kind"] = [gvk(*one, node.name) for one in known]
        return made

    def _described(self, owner: str, field: str) -> Tree:
        text = self._prose.field(owner, field)
        return {"description": text} if text else {}

    def _field(self, node: Node, owner: str, field: str, *, required: bool) -> Tree:
        facts: Tree = self._described(owner, field)
        if self.version == 3:
            default = default_of(owner, field, node, required=required)
            if default is not NONE:
                facts["default"] = default
        if node.type == "string" and (values := enum_of(owner, field)):
            facts["enum"] = list(values)
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
                values = self._item(node.items, owner, field)
                return {"type": "object", "additionalProperties": values}
            case "list":
                assert node.items is not None
                return {"type": "array", "items": self._item(node.items, owner, field)}
            case "any":
                return self._anything(owner.rpartition(".")[2], field)
            case _ if node.type in _NAMED:
                name, second, third = _NAMED[node.type]
                return self._named(name, second if self.version == 2 else third)
            case _:
                return dict(_SCALARS[node.type])

    def _item(self, node: Node, owner: str, field: str) -> Tree:
        made = self._type(node, owner, field)
        if node.type == "string" and (values := enum_of(owner, field)):
            made["enum"] = list(values)
        return made

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


def _known_in(place: tuple[str, str] | None) -> list[tuple[str, str]]:
    """The group-versions of the types that all of them have, as a document tells them."""
    if place is not None and place is not _EVERYWHERE_AT:
        return [("", "v1")] if place[0] == "" else [("", "v1"), place]
    left_out = _SERVERS_OWN if place is None else frozenset()
    return [
        (group, version)
        for group, versions in _VERSIONS.items()
        if group not in left_out
        for version in versions.split()
    ]


def custom_name(resource: Resource, kind: str) -> str:
    """The name of a custom kind's definition: ``com.example.stable.v1.CronTab``."""
    parts: list[Any] = [*reversed(resource.group.split(".")), resource.version, kind]
    return ".".join(parts)
