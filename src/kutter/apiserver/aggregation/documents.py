"""What an aggregated server publishes about itself, brought into this server's forms.

Between its discovery and OpenAPI documents and ours. Pure but for the asking; what it publishes
outside its own group-version is left out, so that no server describes another's kinds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import msgspec
import orjson

from kutter.api.resources import Resource
from kutter.apiserver.ports import Tree

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_ACCEPT = f"{AGGREGATED},application/json"
_DEFINITIONS = "#/definitions/"
_PARAMETERS = "#/parameters/"
_DEPTH_LIMIT = 200
_OPAQUE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_FORMS: dict[str, type | tuple[type, ...]] = {
    "$ref": str,
    "type": str,
    "format": str,
    "required": list,
    "properties": dict,
    "items": dict,
    "additionalProperties": (dict, bool),
    "allOf": list,
}


class Answer(Protocol):
    status: int
    body: bytes


class DocumentError(ValueError):
    """A document that is not what its path promises."""


_EMPTY: Tree = {"swagger": "2.0", "info": {"title": "", "version": ""}}

Get = Callable[..., Awaitable[Any]]


class Documents(msgspec.Struct):
    """``version``: an entry of the aggregated discovery; ``hash``: of its OpenAPI v3 document;
    ``paths`` and ``definitions``: its part of OpenAPI v2. Empty until they are known.
    """

    version: Tree | None = None
    hash: str = ""
    paths: Tree = msgspec.field(default_factory=dict)
    definitions: Tree = msgspec.field(default_factory=dict)

    def resources(self, group: str, version: str) -> list[Resource]:
        """Its resources as those of this server's catalog are described."""
        entries = self.version.get("resources") or () if self.version is not None else ()
        return [
            Resource(
                group,
                version,
                plural=str(entry.get("resource", "")),
                kind=str((entry.get("responseKind") or {}).get("kind", "")),
                namespaced=entry.get("scope") == "Namespaced",
                verbs=tuple(str(verb) for verb in entry.get("verbs") or ()),
                singular=str(entry.get("singularResource", "")),
            )
            for entry in entries
        ]


async def fetch(get: Get, group: str, version: str) -> Documents:
    """Ask a server for its documents. What it does not have, or what is none, stays empty; so
    does an OpenAPI v2 that cannot be written in every form it is published in.

    Raises OSError, and DocumentError for documents that say something else than they should.
    """
    try:
        found = await _fetch(get, group, version)
        found.resources(group, version)  # judged here, not by whoever asks later
    except (AttributeError, TypeError, KeyError) as error:
        # Another's JSON, of whatever form; walking it found a value of another type.
        raise DocumentError(f"malformed document: {error}") from error
    # Read in with the first aggregated server.
    from kutter.apiserver.openapi_protobuf import encode_document

    try:
        # It will be part of our own document, in all its forms.
        encode_document({**_EMPTY, "paths": found.paths, "definitions": found.definitions})
    except (AttributeError, TypeError, KeyError, ValueError):
        found.paths, found.definitions = {}, {}
    return found


async def _fetch(get: Get, group: str, version: str) -> Documents:
    root = f"/apis/{group}" if group else "/api"
    found = Documents(version=await _fetch_discovery(get, group, version))
    index = _tree(await get("/openapi/v3"))
    entry = ((index or {}).get("paths") or {}).get(f"{root[1:]}/{version}")
    if isinstance(entry, dict):
        found.hash = str(entry.get("serverRelativeURL", "")).partition("hash=")[2]
    document = _tree(await get("/openapi/v2"))
    if document is not None:
        found.paths, found.definitions = own_part(document, f"{root}/{version}")
    return found


def _tree(answer: Any) -> Tree | None:
    if answer.status != 200:
        return None
    try:
        tree = orjson.loads(answer.body)
    except ValueError:
        return None
    if _is_deep(tree):
        raise DocumentError(f"malformed document: nested deeper than {_DEPTH_LIMIT}")
    return tree if isinstance(tree, dict) else None


def _is_deep(tree: Any) -> bool:
    """Whether a document is nested deeper than any honest one: walking it would end in an error."""
    level, depth = [tree], 0
    while level:
        depth += 1
        if depth > _DEPTH_LIMIT:
            return True
        parts = [
            p.values() if isinstance(p, dict) else p for p in level if isinstance(p, dict | list)
        ]
        level = [value for part in parts for value in part]
    return False


async def _fetch_discovery(get: Get, group: str, version: str) -> Tree | None:
    answer = _tree(await get("/apis" if group else "/api", _ACCEPT))
    if answer is not None and answer.get("kind") == "APIGroupDiscoveryList":
        for item in answer.get("items") or ():
            if (item.get("metadata") or {}).get("name", "") == group:
                for entry in item.get("versions") or ():
                    if entry.get("version") == version:
                        return {**entry, "freshness": "Current"}
    listed = _tree(await get(f"/apis/{group}/{version}" if group else f"/api/{version}"))
    if listed is None or listed.get("kind") != "APIResourceList":
        return None
    return version_entry(listed, group, version)


def version_entry(listed: Tree, group: str, version: str) -> Tree:
    """An older ``APIResourceList`` as an entry of the aggregated discovery."""
    made: dict[str, Tree] = {}
    parts: list[tuple[str, str, Tree]] = []
    for resource in listed.get("resources") or ():
        plural, _, part = str(resource.get("name", "")).partition("/")
        if part:
            parts.append((plural, part, resource))
            continue
        entry: Tree = {
            "resource": plural,
            "responseKind": _kind(resource, group, version),
            "scope": "Namespaced" if resource.get("namespaced") else "Cluster",
            "singularResource": resource.get("singularName") or "",
            "verbs": resource.get("verbs") or [],
        }
        for name in ("shortNames", "categories"):
            if resource.get(name):
                entry[name] = resource[name]
        made[plural] = entry
    for plural, part, resource in parts:
        if plural in made:
            made[plural].setdefault("subresources", []).append(
                {
                    "subresource": part,
                    "responseKind": _kind(resource, group, version),
                    "verbs": resource.get("verbs") or [],
                }
            )
    return {"version": version, "resources": list(made.values()), "freshness": "Current"}


def _kind(resource: Tree, group: str, version: str) -> Tree:
    return {
        "group": resource.get("group") or group,
        "version": resource.get("version") or version,
        "kind": resource.get("kind") or "",
    }


# -- OpenAPI v2 -------------------------------------------------------------------


def own_part(document: Tree, root: str) -> tuple[Tree, Tree]:
    """Paths below ``root``, and the definitions they need."""
    paths = {
        path: item
        for path, item in (document.get("paths") or {}).items()
        if path.rstrip("/") == root or path.startswith(f"{root}/")
    }
    paths = _with_parameters(paths, document.get("parameters") or {})
    known = document.get("definitions") or {}
    needed: Tree = {}
    pending = list(_references(paths))
    while pending:
        name = pending.pop()
        if name in known and name not in needed:
            needed[name] = known[name]
            pending += _references(known[name])
    # References have to lead somewhere, even to what says little.
    return paths, {n: v if is_schema(v) else dict(_OPAQUE) for n, v in needed.items()}


def is_schema(value: Any) -> bool:
    """Whether a definition has the form that ours have, so that it can be written in all ways."""
    pending = [value]
    while pending:
        found = pending.pop()
        if not isinstance(found, dict):
            return False
        for key, kind in _FORMS.items():
            if key in found and not isinstance(found[key], kind):
                return False
        if not all(isinstance(name, str) for name in found.get("required") or ()):
            return False
        pending += (found.get("properties") or {}).values()
        pending += found.get("allOf") or ()
        pending += [found[key] for key in ("items", "additionalProperties") if key in found]
        if found.get("additionalProperties") in (True, False):
            pending.remove(found["additionalProperties"])
    return True


def _with_parameters(value: Any, shared: Tree) -> Any:
    """``value`` with the parameters its document shares put in where they are referred to."""
    if isinstance(value, list):
        return [_with_parameters(part, shared) for part in value]
    if not isinstance(value, dict):
        return value
    target = value.get("$ref")
    if isinstance(target, str) and target.startswith(_PARAMETERS):
        return shared.get(target.removeprefix(_PARAMETERS), value)
    return {key: _with_parameters(part, shared) for key, part in value.items()}


def _references(value: Any) -> Iterator[str]:
    """Names of the definitions that are referred to."""
    pending = [value]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            target = found.get("$ref")
            if isinstance(target, str) and target.startswith(_DEFINITIONS):
                yield target.removeprefix(_DEFINITIONS)
            pending += found.values()
        elif isinstance(found, list):
            pending += found


def merge(document: Tree, documents: Documents) -> None:
    """Add a server's part to ours; what it defines otherwise than we do gets another name."""
    own = document["definitions"]
    names: dict[str, str] = {}
    for name, definition in documents.definitions.items():
        chosen, number = name, 2
        while chosen in own and own[chosen] != definition:
            chosen, number = f"{name}_v{number}", number + 1
        names[name] = chosen
    renamed = any(name != chosen for name, chosen in names.items())
    for name, definition in documents.definitions.items():
        own[names[name]] = _renamed(definition, names) if renamed else definition
    for path, item in documents.paths.items():
        document["paths"].setdefault(path, _renamed(item, names) if renamed else item)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        made = {key: _renamed(part, names) for key, part in value.items()}
        target = made.get("$ref")
        if isinstance(target, str) and target.startswith(_DEFINITIONS):
            name = target.removeprefix(_DEFINITIONS)
            made["$ref"] = _DEFINITIONS + names.get(name, name)
        return made
    if isinstance(value, list):
        return [_renamed(part, names) for part in value]
    return value
