"""OpenAPI v3 and v2, made from the catalog and the schema tables when first asked for.

Between the tables of facts and clients that validate or merge by them (kubectl). Kept while
the catalog does not change. Descriptions are not in the tables, so there are none here.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha512
from typing import TYPE_CHECKING, Any

import orjson

from kutter.api.custom.publishing import publish_schema
from kutter.api.resources import Resource
from kutter.api.schema import Node, schema_for
from kutter.api.schema.loader import type_node
from kutter.apiserver.aggregation.documents import merge
from kutter.apiserver.negotiation import JSON
from kutter.apiserver.openapi_protobuf import MEDIA, encode_document, wants_protobuf
from kutter.apiserver.ports import Tree
from kutter.apiserver.versions import schema_of
from kutter.http.messages import Request, Response

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

_SCALARS: dict[str, Tree] = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"},
    "byte": {"type": "string", "format": "byte"},
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "date-time"},
    "quantity": {"type": "string"},
    "intstr": {"type": "string", "format": "int-or-string"},
    # Not empty: kubectl's explain takes an empty schema for a missing one.
    "any": {"description": "Any value."},
}
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
# Custom kinds take no strategic merge patch, and kubectl looks here before it sends one.
_CUSTOM_PATCHES = tuple(media for media in _PATCHES if "strategic" not in media)
_QUERY = ("dryRun", "fieldManager", "fieldValidation", "pretty")


class OpenApi:
    """Answers ``/openapi/v3``, one document per group-version, and ``/openapi/v2``."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._generation = (-1, -1)
        self._documents: dict[tuple[str, str], bytes] = {}

    def paths(self) -> list[str]:
        found = ["/openapi/v2", "/openapi/v3"]
        for group, version in self._server.catalog.group_versions():
            found.append("/openapi/v3/" + _path_of(group, version))
        return found

    def answer(self, request: Request, path: str) -> Response | None:
        """The answer to an OpenAPI path, None for other paths."""
        if not path.startswith("/openapi/") or request.method != "GET":
            return None
        generation = (self._server.catalog.generation, self._server.aggregator.generation)
        if self._generation != generation:
            self._generation = generation
            self._documents.clear()
        protobuf = path == "/openapi/v2" and wants_protobuf(request.headers.get("accept", ""))
        media = MEDIA if protobuf else JSON
        document = self._documents.get((path, media))
        if document is None:
            made = self._make(path)
            if made is None:
                return None
            document = encode_document(made) if protobuf else orjson.dumps(made)
            self._documents[path, media] = document
        etag = f'"{_hash(document)}"'
        headers = [("Content-Type", media), ("ETag", etag), ("Vary", "Accept")]
        if request.headers.get("if-none-match") == etag:
            return Response(304, headers)
        return Response(200, headers, document)

    def _make(self, path: str) -> Tree | None:
        if path == "/openapi/v2":
            return self._version_2()
        if path == "/openapi/v3":
            return self._index()
        for group, version in self._server.catalog.group_versions():
            if path == "/openapi/v3/" + _path_of(group, version):
                return self._version_3(group, version)
        return None

    def _index(self) -> Tree:
        paths = {}
        for group, version in self._server.catalog.group_versions():
            path = _path_of(group, version)
            # The hash makes the document's address change with its content.
            seed = f"{path}{[r.plural for r in self._server.catalog.resources(group, version)]}"
            mark = self._server.definitions.mark_of(group, version)
            relative = f"/openapi/v3/{path}?hash={_hash(seed.encode() + mark)}"
            paths[path] = {"serverRelativeURL": relative}
        for (group, version), remote in self._server.aggregator.remotes.items():
            # The document itself is asked of its server, by whoever wants it.
            path = _path_of(group, version)
            paths.pop(path, None)
            if remote.available and remote.documents.hash:
                url = f"/openapi/v3/{path}?hash={remote.documents.hash}"
                paths[path] = {"serverRelativeURL": url}
        return {"paths": paths}

    def _version_3(self, group: str, version: str) -> Tree:
        definitions = _Definitions("#/components/schemas/", self._custom_schema, version=3)
        paths: Tree = {}
        for resource in self._server.catalog.resources(group, version):
            _add_paths(paths, resource, definitions, version=3)
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "v1.36.0"},
            "paths": paths,
            "components": {"schemas": definitions.made},
        }

    def _version_2(self) -> Tree:
        definitions = _Definitions("#/definitions/", self._custom_schema, version=2)
        paths: Tree = {}
        for resource in self._server.catalog:
            _add_paths(paths, resource, definitions, version=2)
        document = {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": "v1.36.0"},
            "paths": paths,
            "definitions": definitions.made,
        }
        for remote in self._server.aggregator.remotes.values():
            if remote.available:
                merge(document, remote.documents)
        return document

    def _custom_schema(self, resource: Resource) -> Tree | None:
        return self._server.definitions.schema_of(resource)


def _path_of(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _hash(content: bytes) -> str:
    return sha512(content).hexdigest().upper()


class _Definitions:
    """Named types, each once, gathered while references to them are made."""

    def __init__(
        self, prefix: str, custom: Callable[[Resource], Tree | None], *, version: int
    ) -> None:
        self._prefix = prefix
        self._custom = custom
        self._version = version
        self.made: dict[str, Tree] = {}
        self._names: dict[int, str] = {}

    def kind(self, resource: Resource) -> Tree:
        """A reference to a resource's kind."""
        custom = self._custom(resource)
        if custom is not None:
            return self._custom_kind(resource, custom)
        schema = schema_of(resource)
        if schema is None:
            return {"type": "object"}
        group = (resource.group or "core").split(".")[0]
        name = f"io.k8s.api.{group}.{resource.version}.{resource.kind}"
        if name not in self.made:
            self.made[name] = {}
            made = self._object(schema.node)
            made["x-kubernetes-group-version-kind"] = [_gvk(resource)]
            self.made[name] = made
        return {"$ref": self._prefix + name}

    def is_custom(self, resource: Resource) -> bool:
        return self._custom(resource) is not None

    def _custom_kind(self, resource: Resource, schema: Tree) -> Tree:
        name = ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])
        if name not in self.made:
            self.made[name] = {}
            made = publish_schema(schema, self._metadata(), version=self._version, root=True)
            made["x-kubernetes-group-version-kind"] = [_gvk(resource)]
            self.made[name] = made
        return {"$ref": self._prefix + name}

    def _metadata(self) -> Tree:
        return self._reference(type_node("meta/v1", "ObjectMeta"))

    def delete_options(self) -> Tree:
        """A reference to DeleteOptions."""
        schema = schema_for("", "v1", "DeleteOptions")
        assert schema is not None, "every group-version has DeleteOptions"
        return self._reference(schema.node)

    def _reference(self, node: Node) -> Tree:
        # Types of a name may differ between group-versions: told apart by their fields' identity.
        key = id(node.fields)
        name = self._names.get(key)
        if name is None:
            name = f"io.k8s.api.{node.name}"
            number = 2
            while name in self.made:
                name = f"io.k8s.api.{node.name}.{number}"
                number += 1
            self._names[key] = name
            self.made[name] = {}
            self.made[name] = self._object(node)
        return {"$ref": self._prefix + name}

    def _object(self, node: Node) -> Tree:
        made: Tree = {"type": "object"}
        if node.fields:
            made["properties"] = {name: self._field(field) for name, field in node.fields.items()}
        if node.required:
            made["required"] = sorted(node.required)
        if node.map_type:
            made["x-kubernetes-map-type"] = node.map_type
        return made

    def _field(self, node: Node) -> Tree:
        made = self._type(node)
        facts: Tree = {}
        if node.list_type:
            facts["x-kubernetes-list-type"] = node.list_type
        if node.map_keys:
            facts["x-kubernetes-list-map-keys"] = list(node.map_keys)
        if node.patch_strategies:
            facts["x-kubernetes-patch-strategy"] = ",".join(sorted(node.patch_strategies))
        if node.merge_key:
            facts["x-kubernetes-patch-merge-key"] = node.merge_key
        if "$ref" in made:
            # A reference cannot carry siblings: facts go beside it in an allOf.
            return {"allOf": [made], **facts} if facts else made
        return {**made, **facts}

    def _type(self, node: Node) -> Tree:
        match node.type:
            case "object":
                return self._reference(node) if node.name else self._object(node)
            case "map":
                assert node.items is not None
                return {"type": "object", "additionalProperties": self._field(node.items)}
            case "list":
                assert node.items is not None
                return {"type": "array", "items": self._field(node.items)}
            case _:
                return dict(_SCALARS[node.type])


def _gvk(resource: Resource) -> Tree:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _add_paths(paths: Tree, resource: Resource, definitions: _Definitions, *, version: int) -> None:
    namespace = "{namespace}" if resource.namespaced else ""
    collection = resource.path(namespace)
    one = resource.path(namespace, "{name}")
    reference = definitions.kind(resource)
    patches = _CUSTOM_PATCHES if definitions.is_custom(resource) else _PATCHES
    verbs = set(resource.verbs)
    on_collection: Tree = {}
    on_one: Tree = {}
    for method, verb, action, target in (
        ("get", "list", "list", on_collection),
        ("post", "create", "post", on_collection),
        ("delete", "deletecollection", "deletecollection", on_collection),
        ("get", "get", "get", on_one),
        ("put", "update", "put", on_one),
        ("patch", "patch", "patch", on_one),
        ("delete", "delete", "delete", on_one),
    ):
        if verb in verbs:
            target[method] = _operation(resource, action, reference, version, patches)
    if on_collection:
        paths[collection] = on_collection
    if on_one:
        paths[one] = on_one


def _operation(
    resource: Resource, action: str, reference: Tree, version: int, patches: tuple[str, ...]
) -> Tree:
    writes = action in ("post", "put", "patch")
    parameters: list[Tree] = []
    if writes or action == "delete":
        kind: Tree = {"schema": {"type": "string"}} if version == 3 else {"type": "string"}
        parameters = [{"name": name, "in": "query", **kind} for name in _QUERY]
    operation: Tree = {
        "operationId": f"{action}{resource.group.split('.')[0].title() or 'Core'}"
        f"{resource.version.title()}{resource.kind}",
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(resource),
        "parameters": parameters,
    }
    if version == 3:
        content: Any = {"application/json": {"schema": reference}}
        operation["responses"] = {"200": {"description": "OK", "content": content}}
        if writes:
            types = patches if action == "patch" else ("application/json", "application/yaml")
            body = {"type": "object"} if action == "patch" else reference
            operation["requestBody"] = {"content": {media: {"schema": body} for media in types}}
        return operation
    operation["responses"] = {"200": {"description": "OK", "schema": reference}}
    if writes:
        operation["consumes"] = list(patches) if action == "patch" else ["application/json"]
        body = {"type": "object"} if action == "patch" else reference
        parameters.append({"name": "body", "in": "body", "required": True, "schema": body})
    return operation
