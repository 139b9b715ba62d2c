"""Discovery: which groups, versions and resources there are, and the server's version.

Between the catalog and ``/api``, ``/apis`` and below. Both forms are served: the older, one
document per group-version, and the aggregated one (``apidiscovery.k8s.io/v2``).
Upstream: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import platform
from base64 import b64encode
from hashlib import sha256, sha512
from typing import TYPE_CHECKING

import orjson

from kutter.api.protobuf import encode_object
from kutter.api.resources import Resource, Subresource
from kutter.apiserver.negotiation import (
    JSON,
    OF_KINDS,
    PROTOBUF,
    YAML,
    check_accepts,
    negotiate,
    wants_aggregated_discovery,
)
from kutter.apiserver.ports import Tree
from kutter.base.memo import exact
from kutter.http.messages import ImmutableResponse, Request, Response

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

KUBERNETES_VERSION = "v1.36.0"
_AGGREGATED = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_INDEX = "/index.html"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class Discovery:
    """Answers kept until the catalog changes."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._generation = (-1, -1)
        # (path, media type of the aggregated form or "") → body, ETag
        self._answers: dict[tuple[str, str], tuple[bytes, str]] = {}

    def paths(self) -> list[str]:
        """Discovery's own paths."""
        catalog = self._server.catalog
        found = ["/version", "/version/", "/api", "/apis", "/apis/"]
        for group, version in (*catalog.group_versions(), *self._server.aggregator.remotes):
            found += (
                [f"/apis/{group}", f"/apis/{group}/{version}"] if group else [f"/api/{version}"]
            )
        return found

    def answer(self, request: Request, path: str) -> Response | None:
        """The answer to a discovery path, None for other paths."""
        if request.method != "GET" and not self._takes_any_method(path):
            return None
        accept = request.headers.get("accept", "")
        aggregated = wants_aggregated_discovery(accept) if path in ("/api", "/apis") else ""
        generation = (self._server.catalog.generation, self._server.aggregator.generation)
        if self._generation != generation:
            self._generation = generation
            self._answers.clear()
        key = (path, aggregated)
        found = self._answers.get(key)
        if found is None:
            tree = self._aggregated(path) if aggregated else self._tree(path.rstrip("/") or "/")
            if tree is None:
                return None
            body = exact(orjson.dumps(tree))
            etag = sha512(body).hexdigest().upper()
            if aggregated == PROTOBUF:
                body = encode_object(tree)
            found = self._answers[key] = (body, etag)
        body, etag = found
        if aggregated:
            headers = [
                ("Content-Type", aggregated + _AGGREGATED),
                ("ETag", f'"{etag}"'),
                ("Vary", "Accept"),
                ("Cache-Control", "public"),
            ]
            if request.headers.get("if-none-match", "").strip('"') == etag:
                return ImmutableResponse(304, headers)
            return ImmutableResponse(200, headers, body)
        if not path.startswith("/api"):
            # The root's paths are told to whoever asks, whatever for.
            if path not in ("/", _INDEX):
                check_accepts(accept, (JSON,))
            return Response(200, [("Content-Type", JSON)], body)
        only = () if self._takes_any_method(path) else OF_KINDS
        accepted = negotiate(accept, convertible=False, protobuf=True, only=only)
        if accepted.media == PROTOBUF:
            # The core group's lists have no apiVersion in JSON.
            tree = {"apiVersion": "v1", **orjson.loads(body)}
            return Response(200, [("Content-Type", PROTOBUF)], encode_object(tree))
        if accepted.media == YAML:
            from kutter.apiserver.answers import render_yaml

            return Response(200, [("Content-Type", YAML)], render_yaml(orjson.loads(body)))
        return Response(200, [("Content-Type", JSON)], body)

    def is_known(self, path: str) -> bool:
        """Whether a GET of the path would be answered."""
        return self._tree(path.rstrip("/") or "/") is not None

    def _takes_any_method(self, path: str) -> bool:
        """As upstream, where lists of paths and groups, and all of custom groups, look at no
        method.
        """
        parts = path.strip("/").split("/")
        if parts[0] != "apis":
            return path in ("/", _INDEX)
        return len(parts) < 3 or not self._server.catalog.is_own_group(parts[1])

    def _tree(self, path: str) -> Tree | None:
        if path in ("/", _INDEX):
            return {"paths": self._server.paths()}
        if path == "/version":
            return version_info()
        if path == "/api":
            return self._core_versions()
        if path == "/apis":
            groups = [self._group(g) for g in self._server.aggregator.groups() if g]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        parts = path.strip("/").split("/")
        if parts[0] == "api" and len(parts) == 2:
            return self._resource_list("", parts[1])
        if parts[0] != "apis" or len(parts) not in (2, 3):
            return None
        if len(parts) == 3:
            return self._resource_list(parts[1], parts[2])
        if not parts[1] or not self._server.aggregator.versions(parts[1]):
            return None
        return {"kind": "APIGroup", "apiVersion": "v1", **self._group(parts[1])}

    def _core_versions(self) -> Tree:
        return {
            "kind": "APIVersions",
            "versions": self._server.catalog.versions(""),
            "serverAddressByClientCIDRs": [
                {"clientCIDR": "0.0.0.0/0", "serverAddress": self._server.advertised_address}
            ],
        }

    def _group(self, group: str) -> Tree:
        versions = [
            {"groupVersion": f"{group}/{version}", "version": version}
            for version in self._server.aggregator.versions(group)
        ]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _resource_list(self, group: str, version: str) -> Tree | None:
        resources = self._server.catalog.resources(group, version)
        if not resources:
            return None
        found: list[Tree] = []
        for resource in resources:
            found.append(_resource(resource))
            found += [_subresource(resource, sub) for sub in _subresources(resource)]
        # As upstream: the core group's list does not say its apiVersion.
        head: Tree = {"kind": "APIResourceList"}
        if group:
            head["apiVersion"] = "v1"
        group_version = f"{group}/{version}" if group else version
        return {**head, "groupVersion": group_version, "resources": found}

    def _aggregated(self, path: str) -> Tree:
        aggregator = self._server.aggregator
        groups = [g for g in aggregator.groups() if bool(g) is (path == "/apis")]
        items = []
        for group in groups:
            metadata: Tree = {"name": group} if group else {}
            versions = [self._version(group, version) for version in aggregator.versions(group)]
            items.append({"metadata": metadata, "versions": versions})
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }

    def _version(self, group: str, version: str) -> Tree:
        """One entry of the aggregated form: our own, or what another server says of itself."""
        remote = self._server.aggregator.remotes.get((group, version))
        if remote is None:
            resources = self._server.catalog.resources(group, version)
            entries = [_aggregated_resource(r) for r in resources]
            return {"version": version, "resources": entries, "freshness": "Current"}
        known = remote.documents.version
        if known is not None and remote.available:
            return known
        # Not to be reached now: what is known may be out of date.
        known = known or {"version": version, "resources": []}
        return {**known, "freshness": "Stale"}


def version_info() -> Tree:
    """``/version``: the version of Kubernetes spoken, and who speaks."""
    machine = platform.machine()
    return {
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": KUBERNETES_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"linux/{_MACHINES.get(machine, machine)}",
    }


def _resource(resource: Resource) -> Tree:
    tree: Tree = {
        "name": resource.plural,
        "singularName": resource.singular or resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        tree["shortNames"] = list(resource.short_names)
    if resource.categories:
        tree["categories"] = list(resource.categories)
    # A custom resource whose stored version is not served has none.
    if resource.storage_prefix and (resource.stored_as or not resource.custom):
        stored = resource.stored_as or f"{resource.group}/{resource.version}"
        digest = sha256(f"{stored}/{resource.kind}".encode()).digest()
        tree["storageVersionHash"] = b64encode(digest[:8]).decode()
    return tree


def _subresources(resource: Resource) -> list[Subresource]:
    """By name, but status before scale where both are a custom resource's."""
    found = sorted(resource.subresources.items(), reverse=resource.custom)
    return [subresource for _, subresource in found]


def _subresource(resource: Resource, subresource: Subresource) -> Tree:
    tree: Tree = {
        "name": f"{resource.plural}/{subresource.name}",
        "singularName": "",
        "namespaced": resource.namespaced,
    }
    if subresource.version is not None:
        tree["group"] = subresource.group or ""
        tree["version"] = subresource.version
    tree["kind"] = subresource.kind
    tree["verbs"] = list(subresource.verbs)
    return tree


def _aggregated_resource(resource: Resource) -> Tree:
    # As upstream: built-in kinds leave their group-version empty where it is the document's own.
    own_group, own_version = (resource.group, resource.version) if resource.custom else ("", "")
    tree: Tree = {
        "resource": resource.plural,
        "responseKind": {"group": own_group, "version": own_version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular or resource.kind.lower(),
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        tree["shortNames"] = list(resource.short_names)
    if resource.categories:
        tree["categories"] = list(resource.categories)
    if resource.subresources:
        tree["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {
                    "group": own_group if sub.version is None else sub.group or "",
                    "version": sub.version or own_version,
                    "kind": sub.kind,
                },
                "verbs": list(sub.verbs),
            }
            for sub in _subresources(resource)
        ]
    return tree
