"""One admission request as webhooks and policies see it: its place, its objects by version.

Made when the first of them looks, kept with the request, so that labels, versions and namespaces
are worked out once for all of them.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from kutter.api.errors import internal, not_found
from kutter.api.resources import Resource
from kutter.apiserver.admission.dynamic.matching import Matcher, Place
from kutter.apiserver.admission.dynamic.versions import Versions, check_unchanged_kind
from kutter.apiserver.ports import AdmissionRequest, Tree

_KEY = "subject"


class Subject:
    """``of`` gives the one of a request."""

    def __init__(self, request: AdmissionRequest, versions: Versions) -> None:
        self.request = request
        self._versions = versions
        resource = request.requested or request.resource
        creates = request.shown is not None and request.shown.creates
        self.place = Place(
            resource=resource,
            subresource=request.subresource,
            operation="CREATE" if creates else request.operation,
            namespace=request.namespace or _own_name(request, resource),
            name=request.name or _name_of(request.object),
            equivalents=self._equivalents,
        )
        self._others: list[Resource] | None = None
        self._namespace: Tree | None = None
        # By api version; the new object's are forgotten when it changes.
        self._new: dict[str, Tree] = {}
        self._old: dict[str, Tree] = {}
        # What expressions are bound to, by version; forgotten with the new object.
        self.bindings: dict[str, Tree] = {}

    @classmethod
    def of(cls, request: AdmissionRequest, versions: Versions) -> Subject:
        if request.memory is None:
            request.memory = {}
        found = request.memory.get(_KEY)
        if found is None:
            found = request.memory[_KEY] = cls(request, versions)
        assert isinstance(found, cls)
        return found

    def begin(self) -> None:
        """Another plugin looks: others may have changed the object since, or it got its name."""
        self._forget()
        if not self.place.name:
            name = self.request.name or _name_of(self.request.object)
            self.place = replace(self.place, name=name)

    def _forget(self) -> None:
        self._new = {}
        self.bindings = {}

    def _equivalents(self) -> list[Resource]:
        if self._others is None:
            self._others = self._versions.equivalents(self.place.resource)
        return self._others

    # -- matching -------------------------------------------------------------

    def match(self, matcher: Matcher) -> Resource | None:
        """The resource in the version to be shown, None when this is not its business.

        Raises 404 when the namespace that selects is not there, 500 for selectors that are none.
        """
        found = matcher.find(self.place)
        if found is None:
            return None
        if matcher.broken:
            raise internal(matcher.broken)
        if matcher.looks_at_object and not self._selects_object(matcher):
            return None
        if matcher.looks_at_namespace and not self._selects_namespace(matcher):
            return None
        return found

    def _selects_object(self, matcher: Matcher) -> bool:
        both = (self.request.object, self.request.old)
        return any(matcher.selects_object(_labels(tree)) for tree in both if tree is not None)

    def _selects_namespace(self, matcher: Matcher) -> bool:
        place, request = self.place, self.request
        is_namespace = place.resource.plural == "namespaces" and not place.resource.group
        if is_namespace and not place.subresource and request.operation in ("CREATE", "UPDATE"):
            return matcher.selects_namespace(_labels(request.object))
        if not place.namespace:
            return True
        return matcher.selects_namespace(_labels(self.namespace_object()))

    def namespace_object(self) -> Tree:
        """The namespace of the request. Raises 404."""
        if self._namespace is None:
            name = self.place.namespace
            self._namespace = self.request.reader.get("namespaces", "", name)
            if self._namespace is None:
                raise not_found("namespaces", name)
        return self._namespace

    # -- objects --------------------------------------------------------------

    def kind_of(self, resource: Resource) -> tuple[str, str, str]:
        """Group, version and kind of the object in the version of ``resource``."""
        part = resource.subresources.get(self.place.subresource)
        if part is None or part.kind == resource.kind:
            return resource.group, resource.version, resource.kind
        group = resource.group if part.group is None else part.group
        return group, part.version or resource.version, part.kind

    async def new_in(self, resource: Resource) -> Tree | None:
        """The object, to be read only."""
        return await self._shown(self.request.object, resource, self._new)

    async def old_in(self, resource: Resource) -> Tree | None:
        """The object before, to be read only; none for what clients see as a creation."""
        old = None if self.place.operation == "CREATE" else self.request.old
        return await self._shown(old, resource, self._old)

    async def _shown(
        self, tree: Tree | None, resource: Resource, kept: dict[str, Tree]
    ) -> Tree | None:
        if tree is None:
            return None
        found = kept.get(resource.api_version)
        if found is None:
            found = kept[resource.api_version] = await self._convert(tree, resource)
        return found

    async def _convert(self, tree: Tree, resource: Resource) -> Tree:
        request = self.request
        group, version, kind = self.kind_of(resource)
        head = {"kind": kind, "apiVersion": f"{group}/{version}" if group else version}
        if request.shown is not None and kind == request.kind:
            return {**request.shown.render(tree), **head}
        if request.operation != "CONNECT":
            tree = await self._versions.convert(tree, request.resource, resource)
        return {**tree, **head}

    async def replace(self, tree: Tree, resource: Resource, *, strict: bool = False) -> None:
        """The object is now ``tree``, which is of the version of ``resource``. Raises ApiError.

        With ``strict`` fields a built-in kind does not have are an error.
        """
        request = self.request
        group, version, kind = self.kind_of(resource)
        check_unchanged_kind(tree, f"{group}/{version}" if group else version, kind)
        if request.shown is not None and kind == request.kind:
            assert request.object is not None, "there is an object to change"
            request.shown.absorb(request.object, tree)
        elif request.operation == "CONNECT" or kind != resource.kind or resource.virtual:
            # Nothing of this is stored: what it says is what its reader makes of it.
            request.object = self._versions.read_part(tree, group, version, kind)
        else:
            request.object = await self._versions.settle(
                tree, resource, request.resource, strict=strict
            )
        self._forget()

    def state(self, key: str, make: Any) -> Any:
        """What a plugin remembers from one round of the chain to the next."""
        assert self.request.memory is not None, "the request has a subject"
        found = self.request.memory.get(key)
        if found is None:
            found = self.request.memory[key] = make()
        return found


def _own_name(request: AdmissionRequest, resource: Resource) -> str:
    """A request for a namespace is in the namespace of its name."""
    if resource.plural == "namespaces" and not resource.group:
        return request.name or _name_of(request.object)
    return ""


def _name_of(tree: Tree | None) -> str:
    metadata = (tree or {}).get("metadata") or {}
    return str(metadata.get("name") or "")


def _labels(tree: Tree | None) -> dict[str, str]:
    return ((tree or {}).get("metadata") or {}).get("labels") or {}
