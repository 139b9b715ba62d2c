"""Paths and operations of OpenAPI documents: what may be asked of each resource, and how.

Between the catalog and documents of version 2 or 3. Operations have upstream's names and tags,
because generated clients get their methods' and classes' names from them.
"""

from __future__ import annotations

from collections.abc import Callable

from kutter.api.resources import Resource, Subresource
from kutter.apiserver.openapi_definitions import Definitions, gvk
from kutter.apiserver.openapi_operations import (
    ANSWERS,
    ANY_MEDIA,
    JSON,
    PROTOBUF,
    YAML,
    Operation,
    Operations,
    Renderer,
)
from kutter.apiserver.openapi_parameters import (
    COLLECTION,
    DELETING,
    LISTING,
    LOGGING,
    PATCHING,
    WRITING,
    connecting,
)
from kutter.apiserver.ports import Tree

_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
# Custom kinds take no strategic merge patch, and kubectl looks here before it sends one.
_CUSTOM_PATCHES = tuple(media for media in _PATCHES if "strategic" not in media)

_CUSTOM_MEDIAS = (JSON, YAML)
_STREAMS = (*ANSWERS, f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")

_CONNECT_METHODS = {"create": "post", "get": "get"}
_EVERY_METHOD = ("delete", "get", "head", "options", "patch", "post", "put")
_TEXT: Tree = {"type": "string"}


class Paths:
    """``add`` each resource of a document; ``render`` makes its paths then.

    ``returns_deleted`` tells whether a finished DELETE answers the object.
    """

    def __init__(
        self, definitions: Definitions, returns_deleted: Callable[[Resource], bool]
    ) -> None:
        self._definitions = definitions
        self._returns_deleted = returns_deleted
        self._operations: Operations = {}
        self._renderer = Renderer(definitions.version)

    def add(self, resource: Resource) -> None:
        namespace = "{namespace}" if resource.namespaced else ""
        collection, one = resource.path(namespace), resource.path(namespace, "{name}")
        for method, operation in self._on_collection(resource):
            self._put(collection, method, operation, resource)
        if resource.namespaced and "list" in resource.verbs:
            everywhere = self._list(resource, everywhere=True)
            self._put(resource.path(), "get", everywhere, resource)
        for method, operation in self._on_one(resource):
            self._put(one, method, operation, resource)
        for sub in resource.subresources.values():
            self._add_subresource(resource, sub, f"{one}/{sub.name}")
        if "watch" in resource.verbs and not resource.custom:
            self._add_watches(resource)

    def _add_watches(self, resource: Resource) -> None:
        """The older paths that watch, of which upstream publishes that they are deprecated."""
        namespace = "{namespace}" if resource.namespaced else ""
        collection, one = resource.path(namespace), resource.path(namespace, "{name}")
        places = [
            (collection, "watchlist", _name("watch", resource, tail="List")),
            (one, "watch", _name("watch", resource)),
        ]
        if resource.namespaced:
            prefix = prefix_of(resource.group, resource.version)
            name = f"watch{prefix}{resource.kind}ListForAllNamespaces"
            places.append((resource.path(), "watchlist", name))
        root = _root(resource.group, resource.version)
        for path, action, name in places:
            watched = Operation(
                name,
                action,
                f"Watches {resource.plural}; deprecated, list them with the parameter watch.",
                _own_gvk(resource),
                LISTING,
                self._definitions.meta("WatchEvent"),
                produces=_STREAMS,
            )
            self._put(f"{root}watch/{path.removeprefix(root)}", "get", watched, resource)

    def add_discovery(self, group: str, version: str) -> None:
        """The list of a group-version's resources."""
        operation = Operation(
            f"get{prefix_of(group, version)}APIResources",
            "",
            "Says which resources there are.",
            {},
            (),
            self._definitions.meta("APIResourceList"),
            medias=ANSWERS,
        )
        self.add_plain(_root(group, version), operation, _tag(group, version))

    def add_plain(self, path: str, operation: Operation, tag: str) -> None:
        """What can be got that is no resource."""
        self._operations[path] = {"get": (operation, tag)}

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
                body_type="DeleteOptions",
                needs_body=False,
            )
            found.append(("delete", made))
        return found

    def _list(self, resource: Resource, *, everywhere: bool = False) -> Operation:
        name = _name("list", resource)
        if everywhere:
            name = (
                f"list{prefix_of(resource.group, resource.version)}{resource.kind}ForAllNamespaces"
            )
        return Operation(
            name,
            "list",
            f"Lists or watches {resource.plural}.",
            _own_gvk(resource),
            LISTING,
            self._definitions.list_of(resource),
            produces=_STREAMS,
        )

    def _on_one(self, resource: Resource) -> list[tuple[str, Operation]]:
        found = self._read_and_write(resource, None)
        if "delete" in resource.verbs:
            returned = self._returns_deleted(resource)
            definitions = self._definitions
            deleted = definitions.kind(resource) if returned else definitions.meta("Status")
            made = Operation(
                _name("delete", resource),
                "delete",
                f"Deletes a {resource.kind}.",
                _own_gvk(resource),
                DELETING,
                deleted,
                (200, 202),
                body=self._definitions.meta("DeleteOptions"),
                body_type="DeleteOptions",
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
                PATCHING,
                reference,
                (200, 201),
                body=self._definitions.patch(),
                body_type="Patch",
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
        connects = connecting(resource.plural, sub.name)
        if connects is not None:
            self._add_connect(resource, sub, path, connects)
            return
        if sub.name == "log":
            own = _own_gvk(resource)
            what = "Reads a container's log."
            log = Operation(_name("read", resource, tail="Log"), "get", what, own, LOGGING, _TEXT)
            log.produces = ("text/plain", *ANSWERS)
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

    def _add_connect(
        self, resource: Resource, sub: Subresource, path: str, parameters: tuple[str, ...]
    ) -> None:
        kind = gvk(resource.group, resource.version, sub.kind)
        places = [("", path)]
        methods = tuple(_CONNECT_METHODS.get(verb, "") for verb in sub.verbs)
        if sub.name == "proxy":
            places.append(("WithPath", f"{path}/{{path}}"))
            methods = _EVERY_METHOD
        prefix = prefix_of(resource.group, resource.version)
        what = f"Connects to {sub.name} of a {resource.kind}."
        for method in methods:
            head = f"connect{prefix}{method.title()}"
            for tail, place in places:
                name = _name(head, resource, tail=f"{_camel(sub.name)}{tail}", whole=True)
                made = Operation(name, "connect", what, kind, parameters, _TEXT)
                made.produces = (ANY_MEDIA,)
                self._put(place, method, made, resource)

    # -- the document's form ---------------------------------------------------

    def _put(self, path: str, method: str, operation: Operation, resource: Resource) -> None:
        named = [name for name in ("namespace", "name") if f"{{{name}}}" in path]
        if path.endswith("/{path}"):
            named.append("path@url")
        if operation.action != "connect":
            named.append("pretty")
        operation.parameters = (*operation.parameters, *named)
        if resource.custom:
            _make_custom(operation, resource)
        tag = _tag(resource.group, resource.version)
        self._operations.setdefault(path, {})[method] = (operation, tag)

    def render(self) -> dict[str, Tree]:
        """Every path with its operations. What all of them take stands with the path."""
        return self._renderer.render(self._operations)


def _make_custom(operation: Operation, resource: Resource) -> None:
    """What upstream says otherwise of custom resources, whose documents it makes elsewhere."""
    operation.kind = _own_gvk(resource)
    operation.produces = _CUSTOM_MEDIAS
    match operation.action:
        case "get":
            operation.parameters = (*operation.parameters, "resourceVersion")
        case "patch":
            operation.codes = (200,)
            return
        case "deletecollection":
            named = tuple(set(operation.parameters) - {*COLLECTION, *DELETING})
            operation.parameters = (*LISTING, *named)
            operation.body, operation.body_type = None, ""
    operation.medias = _CUSTOM_MEDIAS


def _root(group: str, version: str) -> str:
    return f"/apis/{group}/{version}/" if group else f"/api/{version}/"


def _own_gvk(resource: Resource) -> Tree:
    return gvk(resource.group, resource.version, resource.kind)


def _title(text: str) -> str:
    return text[:1].upper() + text[1:]


def _camel(name: str) -> str:
    return "".join(_title(part) for part in name.split("-"))


def prefix_of(group: str, version: str) -> str:
    """``CoreV1``, ``RbacAuthorizationV1``, ``StableExampleComV1``."""
    parts = group.removesuffix(".k8s.io").split(".") if group else ["core"]
    return "".join(_title(part) for part in parts) + _title(version)


def group_tag(group: str) -> str:
    """``core``, ``rbacAuthorization``: generated classes are named by it."""
    name = prefix_of(group, "")
    return f"{name[:1].lower()}{name[1:]}"


def _tag(group: str, version: str) -> str:
    return f"{group_tag(group)}_{version}"


def _name(
    verb: str, resource: Resource, middle: str = "", *, tail: str = "", whole: bool = False
) -> str:
    """An operation's id: ``replaceAppsV1NamespacedDeploymentScale``."""
    head = verb if whole else verb + prefix_of(resource.group, resource.version)
    scope = "Namespaced" if resource.namespaced else ""
    return f"{head}{middle}{scope}{resource.kind}{tail}"
