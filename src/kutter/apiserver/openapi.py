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
from kutter.apiserver import openapi_protobuf, openapi_v3_protobuf
from kutter.apiserver.aggregation.documents import merge
from kutter.apiserver.negotiation import JSON
from kutter.apiserver.openapi_definitions import Definitions
from kutter.apiserver.openapi_parameters import shared_parameters
from kutter.apiserver.openapi_paths import Paths
from kutter.apiserver.openapi_places import Place, places_of
from kutter.apiserver.ports import Tree
from kutter.apiserver.prose import Prose
from kutter.http.messages import ImmutableResponse, Request, Response

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

# Changes with the form of the documents: answers kept by clients are of another form then.
_FORM = "3"
COMPRESSED_BYTES = 128 * 1024
_VERSION_2, _INDEX = "/openapi/v2", "/openapi/v3"
_INFO: Tree = {"title": "Kubernetes", "version": "1.36"}
_CUSTOM_INFO: Tree = {"title": "Kubernetes CRD Swagger", "version": "v0.1.0"}
_SECURITY: Tree = {
    "type": "apiKey",
    "description": "Bearer Token authentication",
    "name": "authorization",
    "in": "header",
}
_NO_DOCUMENT: list[tuple[str, str]] = [("Content-Length", "0")]


class _Part:
    """One place's paths and definitions, as long as its resources stay."""

    __slots__ = ("definitions", "mark", "paths")

    def __init__(self, mark: str, definitions: Definitions, paths: Paths) -> None:
        self.mark = mark
        # Rendered first: only then all definitions are asked for.
        self.paths = paths.render()
        self.definitions = definitions.made


class OpenApi:
    """Answers ``/openapi/v3``, one document per place, and ``/openapi/v2``."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._generation = (-1, -1)
        self._prose = Prose()
        self._places: dict[str, Place] = {}
        # (path, media type) → document and ETag
        self._documents: dict[tuple[str, str], tuple[bytes, str]] = {}
        self._compressed: dict[tuple[str, str], bytes] = {}
        self._parts: dict[tuple[str, int], _Part] = {}

    def paths(self) -> list[str]:
        self._renew()
        return [_VERSION_2, _INDEX, *(f"{_INDEX}/{name}" for name in self._places)]

    def _renew(self) -> None:
        """Forget what was said of other resources than are served now."""
        generation = (self._server.catalog.generation, self._server.aggregator.generation)
        if self._generation != generation:
            self._generation = generation
            self._documents.clear()
            self._compressed.clear()
            self._places = {place.name: place for place in places_of(self._server)}

    def answer(self, request: Request, path: str) -> Response | None:
        """The answer to an OpenAPI path, None for other paths."""
        if not path.startswith("/openapi/"):
            return None
        self._renew()
        if path == _INDEX:
            # Upstream leaves it to the writer to tell what it is.
            content = orjson.dumps(self._index())
            return Response(200, [("Content-Type", "text/plain; charset=utf-8")], content)
        if path != _VERSION_2 and path.removeprefix(f"{_INDEX}/") not in self._places:
            return Response(404, list(_NO_DOCUMENT), b"")
        media = _media(request.headers.get("accept", ""), path)
        vary = [("Vary", "Accept")]
        if not media:
            return Response(406, [*_NO_DOCUMENT, *vary], b"")
        document, tag = self._document(path, media)
        headers = [("Content-Type", media), ("ETag", f'"{tag}"'), *vary]
        if len(document) > COMPRESSED_BYTES and "gzip" in request.headers.get(
            "accept-encoding", ""
        ):
            document = self._compress(path, media, document)
            headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        response: Response
        asked = request.params("hash") if request.raw_query and path != _VERSION_2 else []
        if asked and asked[0]:
            if asked[0] != tag:
                return Response(301, [*headers[:3], ("Location", f"{path}?hash={tag}")], b"")
            expires = self._server.clock.now() + timedelta(days=365)
            headers.append(("Cache-Control", "public, immutable"))
            headers.append(("Expires", format_datetime(expires, usegmt=True)))
            response = ImmutableResponse(200, headers, document)
        else:
            response = Response(200, headers, document)
        if request.headers.get("if-none-match") == f'"{tag}"':
            response.status, response.body = 304, b""
        return response

    def _document(self, path: str, media: str) -> tuple[bytes, str]:
        found = self._documents.get((path, media))
        if found is None:
            if path == _VERSION_2:
                made, encode, tag = self._version_2(), openapi_protobuf.encode_document, ""
            else:
                place = self._places[path.removeprefix(f"{_INDEX}/")]
                made, encode = self._version_3(place), openapi_v3_protobuf.encode_document
                tag = self._mark(place)
            document = orjson.dumps(made) if media == JSON else encode(made)
            found = self._documents[path, media] = (document, tag or _hash(document))
        return found

    def _compress(self, path: str, media: str, document: bytes) -> bytes:
        found = self._compressed.get((path, media))
        if found is None:
            found = self._compressed[path, media] = gzip.compress(document, 1)
        return found

    def _index(self) -> Tree:
        paths = {}
        for name, place in self._places.items():
            paths[name] = {"serverRelativeURL": f"{_INDEX}/{name}?hash={self._mark(place)}"}
        for (group, version), remote in self._server.aggregator.remotes.items():
            # The document itself is asked of its server, by whoever wants it.
            name = f"apis/{group}/{version}" if group else f"api/{version}"
            paths.pop(name, None)
            if remote.available and remote.documents.hash:
                url = f"{_INDEX}/{name}?hash={remote.documents.hash}"
                paths[name] = {"serverRelativeURL": url}
        return {"paths": dict(sorted(paths.items()))}

    def _mark(self, place: Place) -> str:
        """Changes with what a place's document says."""
        seed = f"{_FORM} {self._prose.known} {place.name}"
        if not place.version:
            return _hash(seed.encode())
        plurals = [r.plural for r in self._server.catalog.resources(place.group, place.version)]
        definitions: bytes = self._server.definitions.mark_of(place.group, place.version)
        return _hash(f"{seed} {plurals}".encode() + definitions)

    def _part(self, place: Place, form: int) -> _Part:
        mark = self._mark(place)
        part = self._parts.get((place.name, form))
        if part is None or part.mark != mark:
            alone = (place.group, place.version) if place.discovered else None
            definitions = Definitions(form, self._server.definitions, self._prose, alone)
            paths = Paths(definitions, self._returns_deleted)
            place.add(paths, definitions)
            if place.version:
                for resource in self._server.catalog.resources(place.group, place.version):
                    paths.add(resource)
            part = self._parts[place.name, form] = _Part(mark, definitions, paths)
        return part

    def _version_3(self, place: Place) -> Tree:
        part = self._part(place, 3)
        info, components = _INFO, {"securitySchemes": {"BearerToken": _SECURITY}}
        if not place.discovered:
            info, components = _CUSTOM_INFO, {}
        if part.definitions:
            components["schemas"] = part.definitions
        return {"openapi": "3.0.0", "info": info, "paths": part.paths, "components": components}

    def _version_2(self) -> Tree:
        # Parts of what is served no more would be kept for ever.
        self._parts = {key: part for key, part in self._parts.items() if key[0] in self._places}
        paths: Tree = {}
        definitions: Tree = {}
        for place in self._places.values():
            part = self._part(place, 2)
            paths |= part.paths
            definitions |= part.definitions
        document: Tree = {
            "swagger": "2.0",
            "info": _INFO,
            "paths": paths,
            "definitions": definitions,
            "parameters": shared_parameters(),
            "securityDefinitions": {"BearerToken": _SECURITY},
            "security": [{"BearerToken": []}],
        }
        for remote in self._server.aggregator.remotes.values():
            if remote.available:
                merge(document, remote.documents)
        return document

    def _returns_deleted(self, resource: Resource) -> bool:
        storage = self._server.served_for(resource).storage
        return storage is not None and storage.strategy.return_deleted_object


def _media(accept: str, path: str) -> str:
    """The form a document is asked for in; empty where it has no such form."""
    if path == _VERSION_2:
        protobuf, old = openapi_protobuf.MEDIA, openapi_protobuf.OLD_MEDIA
    else:
        protobuf, old = openapi_v3_protobuf.MEDIA, openapi_v3_protobuf.OLD_MEDIA
    for part in (accept or "*/*").split(","):
        media = part.partition(";")[0].strip().lower()
        if media in (protobuf, old):
            return protobuf
        if media in (JSON, "*/*", "application/*"):
            return JSON
    return ""


def _hash(content: bytes) -> str:
    return sha512(content).hexdigest().upper()
