"""OpenAPI v3 and v2, made from the catalog and the schema tables when first asked for.

Between the tables of facts and clients that explain, validate or merge by them (kubectl) or
generate code from them. What a group-version's document says depends on its resources alone, so
their hash is its ETag and part of its address: whoever asks by it may keep the answer for good.
"""

from __future__ import annotations

import gzip
from datetime import timedelta
from email.utils import format_datetime
from hashlib import sha512
from typing import TYPE_CHECKING

import orjson

from kutter.api.resources import Resource
from kutter.apiserver.aggregation.documents import merge
from kutter.apiserver.negotiation import JSON
from kutter.apiserver.openapi_definitions import Definitions
from kutter.apiserver.openapi_paths import Paths
from kutter.apiserver.openapi_protobuf import MEDIA, encode_document, wants_protobuf
from kutter.apiserver.ports import Tree
from kutter.apiserver.prose import Prose
from kutter.http.messages import ImmutableResponse, Request, Response

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

# Changes with the form of the documents: answers kept by clients are of another form then.
_FORM = "2"
COMPRESSED_BYTES = 128 * 1024
_SECURITY: Tree = {"type": "apiKey", "name": "authorization", "in": "header"}


class _Part:
    """One group-version's paths and definitions, as long as its resources stay."""

    __slots__ = ("definitions", "mark", "paths")

    def __init__(self, mark: str, definitions: Definitions, paths: Paths) -> None:
        self.mark = mark
        self.definitions = definitions.made
        self.paths = paths.made


class OpenApi:
    """Answers ``/openapi/v3``, one document per group-version, and ``/openapi/v2``."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._generation = (-1, -1)
        self._prose = Prose()
        # (path, media type) → document and ETag
        self._documents: dict[tuple[str, str], tuple[bytes, str]] = {}
        self._compressed: dict[tuple[str, str], bytes] = {}
        self._parts: dict[tuple[str, str, int], _Part] = {}

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
            self._compressed.clear()
        protobuf = path == "/openapi/v2" and wants_protobuf(request.headers.get("accept", ""))
        media = MEDIA if protobuf else JSON
        found = self._documents.get((path, media))
        if found is None:
            made = self._make(path)
            if made is None:
                return None
            document = encode_document(made) if protobuf else orjson.dumps(made)
            found = self._documents[path, media] = (document, self._tag_of(path, document))
        document, tag = found
        headers = [("Content-Type", media), ("ETag", f'"{tag}"'), ("Vary", "Accept")]
        if len(document) > COMPRESSED_BYTES and "gzip" in request.headers.get(
            "accept-encoding", ""
        ):
            document = self._compress(path, media, document)
            headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        response: Response
        asked = request.params("hash") if request.raw_query else []
        if asked and asked[0]:
            if asked[0] != tag:
                return Response(301, [("Location", f"{path}?hash={tag}")])
            expires = self._server.clock.now() + timedelta(days=365)
            headers.append(("Cache-Control", "public, immutable"))
            headers.append(("Expires", format_datetime(expires, usegmt=True)))
            response = ImmutableResponse(200, headers, document)
        else:
            response = Response(200, headers, document)
        if request.headers.get("if-none-match") == f'"{tag}"':
            response.status, response.body = 304, b""
        return response

    def _compress(self, path: str, media: str, document: bytes) -> bytes:
        found = self._compressed.get((path, media))
        if found is None:
            found = self._compressed[path, media] = gzip.compress(document, 1)
        return found

    def _tag_of(self, path: str, document: bytes) -> str:
        for group, version in self._server.catalog.group_versions():
            if path == "/openapi/v3/" + _path_of(group, version):
                return self._mark(group, version)
        return _hash(document)

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
            relative = f"/openapi/v3/{path}?hash={self._mark(group, version)}"
            paths[path] = {"serverRelativeURL": relative}
        for (group, version), remote in self._server.aggregator.remotes.items():
            # The document itself is asked of its server, by whoever wants it.
            path = _path_of(group, version)
            paths.pop(path, None)
            if remote.available and remote.documents.hash:
                url = f"/openapi/v3/{path}?hash={remote.documents.hash}"
                paths[path] = {"serverRelativeURL": url}
        return {"paths": paths}

    def _mark(self, group: str, version: str) -> str:
        """Changes with what a group-version's document says."""
        plurals = [r.plural for r in self._server.catalog.resources(group, version)]
        seed = f"{_FORM} {self._prose.known} {group}/{version} {plurals}"
        return _hash(seed.encode() + self._server.definitions.mark_of(group, version))

    def _part(self, group: str, version: str, form: int) -> _Part:
        mark = self._mark(group, version)
        part = self._parts.get((group, version, form))
        if part is None or part.mark != mark:
            definitions = Definitions(form, self._custom_schema, self._prose)
            paths = Paths(definitions)
            paths.add_discovery(group, version)
            for resource in self._server.catalog.resources(group, version):
                paths.add(resource)
            part = self._parts[group, version, form] = _Part(mark, definitions, paths)
        return part

    def _version_3(self, group: str, version: str) -> Tree:
        part = self._part(group, version, 3)
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "v1.36.0"},
            "paths": part.paths,
            "components": {
                "schemas": part.definitions,
                "securitySchemes": {"BearerToken": _SECURITY},
            },
            "security": [{"BearerToken": []}],
        }

    def _version_2(self) -> Tree:
        served = list(self._server.catalog.group_versions())
        # Parts of what is served no more would be kept for ever.
        self._parts = {key: part for key, part in self._parts.items() if key[:2] in set(served)}
        paths: Tree = {}
        definitions: Tree = {}
        for group, version in served:
            part = self._part(group, version, 2)
            paths |= part.paths
            definitions |= part.definitions
        document: Tree = {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": "v1.36.0"},
            "paths": paths,
            "definitions": definitions,
            "securityDefinitions": {"BearerToken": _SECURITY},
            "security": [{"BearerToken": []}],
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
