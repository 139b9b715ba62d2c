"""Paths and operations of OpenAPI documents: what may be asked of each resource, and how.

Between the catalog and documents of version 2 or 3. Operations have upstream's names and tags,
because generated clients get their methods' and classes' names from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kutter.api.resources import Resource, Subresource
from kutter.apiserver.openapi_definitions import Definitions, gvk
from kutter.apiserver.openapi_parameters import (
    COLLECTION,
    CONNECTS,
    DELETING,
    LISTING,
    LOGGING,
    PARAMETERS,
    WRITING,
    parameter,
)
from kutter.apiserver.ports import Tree

_JSON, _YAML = "application/json", "application/yaml"
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
# Custom kinds take no strategic merge patch, and kubectl looks here before it sends one.
_CUSTOM_PATCHES = tuple(media for media in _PATCHES if "strategic" not in media)

_CONNECT_METHODS = {"create": "post", "get": "get"}
_EVERY_METHOD = ("delete", "get", "head", "options", "patch", "post", "put")
_TEXT: Tree = {"type": "string"}


@dataclass(slots=True)
class Operation:
    """One method of a path, in neither version's form yet."""

    id: str
    action: str
    description: str
    kind: Tree
    parameters: tuple[str, ...]
    answer: Tree
    codes: tuple[int, ...] = (200,)
    body: Tree | None = None
    medias: tuple[str, ...] = (_JSON, _YAML, _PROTOBUF)
    needs_body: bool = True
    produces: tuple[str, ...] = field(default=(_JSON, _YAML, _PROTOBUF))


class Paths:
    """``add`` each resource of a document; ``made`` is its paths then."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._version = definitions.version
        self.made: dict[str, Tree] = {}
        # Shared by all operations, yet not by reference: kubectl looks for parameters by their
        # name to learn what the server can do, and does not resolve references.
        self._parameters = {name: parameter(name, self._version) for name in PARAMETERS}

    def add(self, resource: Resource) -> None:
        namespace = "{namespace}" if resource.namespaced else ""
        collection, one = resource.path(namespace), resource.path(namespace, "{name}")
        for method, operation in self._on_collection(resource):
            self._put(collection, method, operation, resource)
        if resource.namespaced and "list" in resource.verbs:
            everywhere = self._list(resource, everywhere=True)
            self._put(resource.path(), "get", everywhere, resource, everywhere=True)
        for method, operation in self._on_one(resource):
            self._put(one, method, operation, resource)
        for sub in resource.subresources.values():
            self._add_subresource(resource, sub, f"{one}/{sub.name}")

    def add_discovery(self, group: str, version: str) -> None:
        """The list of a group-version's resources."""
        base = f"/apis/{group}/{version}/" if group else f"/api/{version}/"
        operation = Operation(
            f"get{_prefix(group, version)}APIResources",
            "",
            "Says which resources there are.",
            {},
            (),
            self._definitions.meta("APIResourceList"),
        )
        self.made[base] = {"get": self._render(operation, _tag(group, version))}

    # -- operations ------------------------------------------------------------

    def _on_collection(self, resource: Resource) -> list[tuple[str, Operation]]:
        found: list[tuple[str, Operation]] = []
        verbs, kind = set(resource.verbs), resource.kind
        own = _own_gvk(resource)
        reference = self._definitions.kind(resource)
        if "list" in verbs:
            found.append(("get", self._list(resource)))
        if "create" in verbs:
            made = Operation(
                _name("create", resource),
                "post",
                f"Makes a {kind}.",
                own,
                WRITING,
                reference,
                (200, 201, 202),
                body=reference,
            )
            found.append(("post", made))
        if "deletecollection" in verbs:
            made = Operation(
                _name("delete", resource, "Collection"),
                "deletecollection",
                f"Deletes the {resource.plural} that match.",
                own,
                tuple(dict.fromkeys((*COLLECTION, *DELETING))),
                self._definitions.meta("Status"),
                body=self._definitions.meta("DeleteOptions"),
                needs_body=False,
            )
            found.append(("delete", made))
        return found

    def _list(self, resource: Resource, *, everywhere: bool = False) -> Operation:
        streams = (_JSON, _YAML, _PROTOBUF, f"{_JSON};stream=watch", f"{_PROTOBUF};stream=watch")
        name = _name("list", resource)
        if everywhere:
            name = f"list{_prefix(resource.group, resource.version)}{resource.kind}ForAllNamespaces"
        return Operation(
            name,
            "list",
            f"Lists or watches {resource.plural}.",
            _own_gvk(resource),
            LISTING,
            self._definitions.list_of(resource),
            produces=streams,
        )

    def _on_one(self, resource: Resource) -> list[tuple[str, Operation]]:
        found = self._read_and_write(resource, None)
        if "delete" in resource.verbs:
            deleted = self._definitions.meta("Status")
            made = Operation(
                _name("delete", resource),
                "delete",
                f"Deletes a {resource.kind}.",
                _own_gvk(resource),
                DELETING,
                deleted,
                (200, 202),
                body=self._definitions.meta("DeleteOptions"),
                needs_body=False,
            )
            found.append(("delete", made))
        return found

    def _read_and_write(
        self, resource: Resource, sub: Subresource | None
    ) -> list[tuple[str, Operation]]:
        """get, put and patch of an object or of a part of it."""
        verbs = set(resource.verbs if sub is None else sub.verbs)
        tail = _camel(sub.name) if sub is not None else ""
        if sub is None:
            own, reference, kind = _own_gvk(resource), self._definitions.kind(resource), "object"
        else:
            own, reference, kind = *self._sub_kind(resource, sub), sub.name
        found: list[tuple[str, Operation]] = []
        what = f"{kind} of a {resource.kind}" if sub is not None else f"a {resource.kind}"
        if "get" in verbs:
            read = Operation(
                _name("read", resource, tail=tail), "get", f"Reads {what}.", own, (), reference
            )
            found.append(("get", read))
        if "update" in verbs:
            write = Operation(
                _name("replace", resource, tail=tail),
                "put",
                f"Replaces {what}.",
                own,
                WRITING,
                reference,
                (200, 201),
                body=reference,
            )
            found.append(("put", write))
        if "patch" in verbs:
            change = Operation(
                _name("patch", resource, tail=tail),
                "patch",
                f"Changes {what}.",
                own,
                (*WRITING, "force"),
                reference,
                (200, 201),
                body={"type": "object"},
                medias=_CUSTOM_PATCHES if resource.custom else _PATCHES,
            )
            found.append(("patch", change))
        return found

    def _sub_kind(self, resource: Resource, sub: Subresource) -> tuple[Tree, Tree]:
        if sub.kind == resource.kind:
            return _own_gvk(resource), self._definitions.kind(resource)
        group = resource.group if sub.group is None else sub.group
        version = sub.version or resource.version
        return gvk(group, version, sub.kind), self._definitions.other(group, version, sub.kind)

    def _add_subresource(self, resource: Resource, sub: Subresource, path: str) -> None:
        if sub.name in CONNECTS:
            self._add_connect(resource, sub, path)
            return
        if sub.name == "log":
            own = _own_gvk(resource)
            what = "Reads a container's log."
            log = Operation(_name("read", resource, tail="Log"), "get", what, own, LOGGING, _TEXT)
            log.produces = ("text/plain", _JSON, _YAML, _PROTOBUF)
            self._put(path, "get", log, resource)
            return
        for method, operation in self._read_and_write(resource, sub):
            self._put(path, method, operation, resource)
        if "create" in sub.verbs:
            own, reference = self._sub_kind(resource, sub)
            name = _name("create", resource, tail=_camel(sub.name))
            what = f"Makes a {sub.kind} for a {resource.kind}."
            codes = (200, 201, 202)
            made = Operation(name, "post", what, own, WRITING, reference, codes, body=reference)
            self._put(path, "post", made, resource)

    def _add_connect(self, resource: Resource, sub: Subresource, path: str) -> None:
        kind = gvk(resource.group, resource.version, sub.kind)
        places = [("", path)]
        methods = tuple(_CONNECT_METHODS.get(verb, "") for verb in sub.verbs)
        if sub.name == "proxy":
            places.append(("WithPath", f"{path}/{{path}}"))
            methods = _EVERY_METHOD
        prefix = _prefix(resource.group, resource.version)
        what = f"Connects to {sub.name} of a {resource.kind}."
        for method in methods:
            head = f"connect{prefix}{method.title()}"
            for tail, place in places:
                name = _name(head, resource, tail=f"{_camel(sub.name)}{tail}", whole=True)
                made = Operation(name, "connect", what, kind, CONNECTS[sub.name], _TEXT)
                made.produces = ("*/*",)
                self._put(place, method, made, resource)

    # -- the document's form ---------------------------------------------------

    def _put(
        self,
        path: str,
        method: str,
        operation: Operation,
        resource: Resource,
        *,
        everywhere: bool = False,
    ) -> None:
        item = self.made.get(path)
        if item is None:
            named = [name for name in ("namespace", "name", "path") if f"{{{name}}}" in path]
            if everywhere or operation.action != "connect":
                named.append("pretty")
            item = self.made[path] = {"parameters": [self._parameters[name] for name in named]}
            if not item["parameters"]:
                del item["parameters"]
        item[method] = self._render(operation, _tag(resource.group, resource.version))

    def _render(self, operation: Operation, tag: str) -> Tree:
        made: Tree = {
            "description": operation.description,
            "tags": [tag],
            "operationId": operation.id,
        }
        if operation.action:
            made["x-kubernetes-action"] = operation.action
            made["x-kubernetes-group-version-kind"] = operation.kind
        parameters = [self._parameters[name] for name in operation.parameters]
        render = self._render_2 if self._version == 2 else self._render_3
        render(made, operation, parameters)
        if parameters:
            made["parameters"] = parameters
        return made

    def _render_2(self, made: Tree, operation: Operation, parameters: list[Any]) -> None:
        made["consumes"] = ["*/*"]
        made["produces"] = list(operation.produces)
        made["schemes"] = ["https"]
        if operation.body is not None:
            if operation.action == "patch":
                made["consumes"] = list(operation.medias)
            body: Tree = {"name": "body", "in": "body", "schema": operation.body}
            if operation.needs_body:
                body["required"] = True
            parameters.insert(0, body)
        made["responses"] = {
            str(code): {"description": _said(code), "schema": operation.answer}
            for code in operation.codes
        }
        made["responses"]["401"] = {"description": "Unauthorized"}

    def _render_3(self, made: Tree, operation: Operation, parameters: list[Any]) -> None:
        answer = {media: {"schema": operation.answer} for media in operation.produces}
        made["responses"] = {
            str(code): {"description": _said(code), "content": answer} for code in operation.codes
        }
        made["responses"]["401"] = {"description": "Unauthorized"}
        if operation.body is not None:
            body: Tree = {"content": {m: {"schema": operation.body} for m in operation.medias}}
            if operation.needs_body:
                body["required"] = True
            made["requestBody"] = body


def _said(code: int) -> str:
    return {200: "OK", 201: "Created", 202: "Accepted"}[code]


def _own_gvk(resource: Resource) -> Tree:
    return gvk(resource.group, resource.version, resource.kind)


def _title(text: str) -> str:
    return text[:1].upper() + text[1:]


def _camel(name: str) -> str:
    return "".join(_title(part) for part in name.split("-"))


def _prefix(group: str, version: str) -> str:
    """``CoreV1``, ``RbacAuthorizationV1``, ``StableExampleComV1``."""
    parts = group.removesuffix(".k8s.io").split(".") if group else ["core"]
    return "".join(_title(part) for part in parts) + _title(version)


def _tag(group: str, version: str) -> str:
    """``core_v1``, ``rbacAuthorization_v1``: generated classes are named by it."""
    name = _prefix(group, "")
    return f"{name[:1].lower()}{name[1:]}_{version}"


def _name(
    verb: str, resource: Resource, middle: str = "", *, tail: str = "", whole: bool = False
) -> str:
    """An operation's id: ``replaceAppsV1NamespacedDeploymentScale``."""
    head = verb if whole else verb + _prefix(resource.group, resource.version)
    scope = "Namespaced" if resource.namespaced else ""
    return f"{head}{middle}{scope}{resource.kind}{tail}"
