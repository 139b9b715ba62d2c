"""Objects in the version a webhook or policy asks for, and back.

Between admission, whose objects are in the version storage works with, and the server, which
knows the versions of each kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from kutter.api.errors import internal
from kutter.api.resources import Resource
from kutter.api.schema import KindSchema, Misfit, schema_for
from kutter.apiserver.ports import Tree

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer


class Versions:
    """The versions of one server's kinds."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    def equivalents(self, resource: Resource) -> list[Resource]:
        """The other resources that show the same objects."""
        prefix = resource.storage_prefix
        if not prefix:
            return []
        return [r for r in self._server.catalog if r.storage_prefix == prefix and r != resource]

    async def convert(self, tree: Tree, source: Resource, target: Resource) -> Tree:
        """``tree`` in another version; a copy, unless nothing changes. Raises ApiError."""
        if source.api_version == target.api_version:
            return tree
        here, there = self._server.served_for(source), self._server.served_for(target)
        converter = here.converter or there.converter
        if converter is not None:
            # Custom kinds, perhaps by webhook; either version's converter knows all of them.
            wanted = target.api_version
            return await converter.run(lambda: converter.translate(tree, wanted))
        return there.to_served(here.to_stored(orjson.loads(orjson.dumps(tree))))

    async def from_cache(self, tree: Tree, target: Resource) -> Tree:
        """What the read cache holds, which is of the version it is stored in. Raises ApiError."""
        found = str(tree.get("apiVersion") or "")
        for resource in (target, *self.equivalents(target)):
            if resource.api_version == found:
                return await self.convert(tree, resource, target)
        # Stored in a version that is served no more.
        converter = self._server.served_for(target).converter
        if converter is None:
            return tree
        wanted = target.api_version
        return await converter.run(lambda: converter.translate(tree, wanted))

    async def settle(
        self, tree: Tree, changed: Resource, target: Resource, *, strict: bool = False
    ) -> Tree:
        """What admission has changed in version ``changed``, pruned and checked by its schema,
        then in version ``target`` with the defaults of what is new in it. Raises ApiError.
        """
        served = self._server.served_for(changed)
        metadata = tree.get("metadata")
        if not isinstance(metadata, dict):
            metadata = tree["metadata"] = {}
        metadata.pop("managedFields", None)
        if served.schema is not None:
            try:
                unknown = served.schema.read(tree, report=strict)
            except Misfit as misfit:
                raise internal(str(misfit)) from None
            if unknown and self._server.definitions.version_of(changed) is None:
                raise internal(f"strict decoding error: {', '.join(unknown)}")
        tree = await self.convert(tree, changed, target)
        self._server.served_for(target).storage.strategy.default(tree)
        return tree

    def read_part(self, tree: Tree, group: str, version: str, kind: str) -> Tree:
        """A changed object of a kind that is not stored (options, reviews), checked by its schema
        where it has one. Raises ApiError.
        """
        schema = schema_for(group, version, kind)
        if schema is not None:
            try:
                schema.read(tree)
            except Misfit as misfit:
                raise internal(str(misfit)) from None
        return tree

    def schema_of(
        self, resource: Resource, group: str, version: str, kind: str
    ) -> KindSchema | None:
        """The schema of an object of ``resource``, or of a subresource's own kind."""
        if kind != resource.kind:
            return schema_for(group, version, kind)
        return self._server.served_for(resource).schema

    def resource_of_kind(self, group: str, version: str, kind: str) -> Resource | None:
        return self._server.catalog.find_kind(group, version, kind)


def check_unchanged_kind(tree: Tree, api_version: str, kind: str) -> None:
    """A patch may change everything but what the object is. Raises ApiError."""
    if tree.get("kind") != kind or tree.get("apiVersion") != api_version:
        raise internal(
            f"admission changed the object's kind from {api_version}, Kind={kind} to "
            f"{tree.get('apiVersion')}, Kind={tree.get('kind')}"
        )
