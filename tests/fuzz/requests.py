"""Seeded requests over the whole surface: paths, queries, headers, bodies, patches.

A request is made from the catalog the server serves right now, so that custom kinds made on the
way are asked for too. The same seed and the same state give the same request.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import yaml
from tests.fuzz.values import NUMBERS, TEXTS, damaged, damaged_bytes, encoded, leaf, made, paths

from kutter.api.resources import Resource
from kutter.api.schema import schema_for

NAMESPACES = ("default", "fuzz", "kube-system", "missing", "A_", "..")
NAMES = ("a", "b", "web", "web-0", "default", "kubernetes", "x" * 300, "A b", "..", "%2e", "é")
_ACCEPTS = (
    "*/*", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf",
    "application/json;as=Table;v=v1;g=meta.k8s.io", "application/cbor", "text/html", ";;,q=", "",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json",
    "application/vnd.kubernetes.protobuf;stream=watch", "application/json;stream=watch",
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
)  # fmt: skip
_PATCHES = (
    "application/json-patch+json", "application/merge-patch+json",
    "application/strategic-merge-patch+json", "application/apply-patch+yaml",
    "application/apply-patch+cbor", "application/json", "",
)  # fmt: skip
_PLAIN_PATHS = (
    "/", "/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/apis/nope/v1", "/version",
    "/openapi/v2", "/openapi/v3", "/openapi/v3/api/v1", "/openapi/v3/apis/apps/v1", "/metrics",
    "/healthz", "/livez/ping", "/readyz?verbose", "/logs", "/api/v2/pods", "/apis//v1/x",
    "/api/v1/namespaces/default/pods/a/proxy/../../x", "//api/v1", "/api/v1/watch/pods",
    "/.well-known/openid-configuration", "/openid/v1/jwks", "/debug/pprof",
)  # fmt: skip
_SELECTORS = (
    "a=b", "a!=b", "a in (b,c)", "!a", "a", "a notin ()", "a>1", "a>x", "=,=", "a in (", "x" * 400,
    "a==b,", "spec.nodeName=x", "metadata.name=a", "status.phase!=Running", "metadata.name=a,b=c",
    "metadata.namespace==default", "reason=x", "involvedObject.kind=Pod", "é=1", "a\\,b=c\\=d", "=",
)  # fmt: skip


@dataclass(slots=True)
class FuzzRequest:
    """What is sent."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Requests:
    """Makes requests. ``remember`` feeds it objects the server has answered."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        text = (Path(__file__).parent / "valid.yaml").read_text()
        self._valid: list[dict[str, Any]] = list(yaml.safe_load_all(text))
        self._known: list[dict[str, Any]] = []

    def remember(self, tree: dict[str, Any]) -> None:
        if len(self._known) < 400:
            self._known.append(tree)
        else:
            self._known[self.rng.randrange(400)] = tree

    def make(self, resources: Sequence[Resource]) -> FuzzRequest:
        rng = self.rng
        if rng.random() < 0.06:
            return self._plain()
        resource = rng.choice(resources)
        if rng.random() < 0.5:
            kind = rng.choice(self._valid)["kind"]
            resource = rng.choice([r for r in resources if r.kind == kind] or [resource])
        namespace, name = rng.choice(NAMESPACES[:3]), rng.choice(NAMES[:6])
        if rng.random() < 0.08:
            namespace, name = rng.choice(NAMESPACES), rng.choice(NAMES)
        method = rng.choice(
            ("GET", "GET", "POST", "POST", "PUT", "PATCH", "PATCH", "DELETE", "HEAD", "OPTIONS")
        )
        named = method in ("PUT", "PATCH") or (method != "POST" and rng.random() < 0.6)
        parts = sorted(resource.subresources)
        part = rng.choice(parts) if parts and rng.random() < 0.2 else ""
        if part:
            named = True
        path = resource.path(
            quote(namespace) if resource.namespaced else "",
            quote(name) if named else "",
            part,
        )
        if rng.random() < 0.03:
            path = self._bent(path)
        headers, body = {"accept": rng.choice(_ACCEPTS) if rng.random() < 0.4 else "*/*"}, b""
        if method == "PATCH":
            body, headers["content-type"] = self._patch(resource, namespace, name)
        elif method in ("POST", "PUT") or (method == "DELETE" and rng.random() < 0.5):
            tree = self._object(resource, namespace, name, part)
            if method == "DELETE":
                tree = self._delete_options()
            body, headers["content-type"] = encoded(tree, rng)
            if rng.random() < 0.05:
                headers["content-type"] = rng.choice((*_ACCEPTS, *_PATCHES))
        if rng.random() < 0.03:
            headers["accept-encoding"] = rng.choice(("gzip", "gzip;q=0", "br, *", ";"))
        return FuzzRequest(method, path + self._query(method), headers, body)

    def _plain(self) -> FuzzRequest:
        path = self.rng.choice(_PLAIN_PATHS)
        headers = {"accept": self.rng.choice(_ACCEPTS)}
        return FuzzRequest(self.rng.choice(("GET", "GET", "POST", "DELETE")), path, headers)

    def _bent(self, path: str) -> str:
        rng, segments = self.rng, path.split("/")
        at = rng.randrange(len(segments))
        match rng.randrange(4):
            case 0:
                del segments[at]
            case 1:
                segments.insert(at, segments[at])
            case 2:
                segments[at] = quote(rng.choice(TEXTS))
            case _:
                segments.append(rng.choice(("status", "scale", "", "log", "x", "proxy")))
        return "/".join(segments) or "/"

    def _query(self, method: str) -> str:
        rng = self.rng
        if rng.random() < 0.5:
            return ""
        numbers = ("", "0", "1", "-1", "3", "x", str(rng.choice(NUMBERS)), "999999999999")
        booleans = ("true", "false", "1", "", "x")
        choices: dict[str, Sequence[str]] = {
            "labelSelector": _SELECTORS,
            "fieldSelector": _SELECTORS,
            "limit": numbers,
            "continue": ("", "x", "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ", "e30", "bnVsbA"),
            "resourceVersion": numbers,
            "resourceVersionMatch": ("Exact", "NotOlderThan", "x", ""),
            "watch": booleans,
            "allowWatchBookmarks": booleans,
            "sendInitialEvents": booleans,
            "timeoutSeconds": ("1", "0", "-1", "x", "1.5"),
            "timeout": ("1s", "10ms", "x", "-1s", "1000h"),
            "dryRun": ("All", "", "x"),
            "fieldManager": ("a", "", "x" * 200, "\n", "é"),
            "fieldValidation": ("Strict", "Warn", "Ignore", "x", ""),
            "force": booleans,
            "gracePeriodSeconds": numbers,
            "propagationPolicy": ("Orphan", "Foreground", "Background", "x", ""),
            "orphanDependents": booleans,
            "pretty": booleans,
            "includeObject": ("None", "Metadata", "Object", "x"),
            "container": TEXTS,
            "command": TEXTS,
            "tailLines": numbers,
            "path": TEXTS,
            rng.choice(TEXTS): TEXTS,
        }
        picked = [(name, rng.choice(choices[name])) for name in rng.sample(list(choices), 3)]
        if method == "PATCH" and rng.random() < 0.5:
            picked += [("fieldManager", "fuzz"), ("force", "true")]
        if rng.random() < 0.05:
            return "?" + damaged_bytes(urlencode(picked).encode(), rng).decode("latin-1")
        return "?" + urlencode(picked, errors="replace")

    def _object(self, resource: Resource, namespace: str, name: str, part: str = "") -> Any:
        rng = self.rng
        if rng.random() < 0.45 and not part:
            like = [t for t in self._valid if t["kind"] == resource.kind]
            if like:
                tree = copy.deepcopy(rng.choice(like))
                tree["apiVersion"] = resource.api_version
                if rng.random() < 0.7 and "." not in tree["metadata"]["name"]:
                    tree["metadata"]["name"] = name
                if resource.namespaced:
                    tree["metadata"]["namespace"] = namespace
                return damaged(tree, rng) if rng.random() < 0.6 else tree
        if self._known and rng.random() < 0.3:
            like = [t for t in self._known if t.get("kind") == resource.kind]
            tree = rng.choice(like or self._known)
            return damaged(tree, rng) if rng.random() < 0.8 else tree
        schema = schema_for(resource.group, resource.version, resource.kind)
        tree = made(schema.node, rng) if schema is not None else {"spec": leaf(rng)}
        if not isinstance(tree, dict):
            return tree
        tree["apiVersion"], tree["kind"] = resource.api_version, resource.kind
        if part:
            tree["apiVersion"], tree["kind"] = rng.choice(
                (
                    (resource.api_version, resource.kind),
                    ("autoscaling/v1", "Scale"),
                    ("policy/v1", "Eviction"),
                    ("v1", "Binding"),
                    ("authentication.k8s.io/v1", "TokenRequest"),
                )
            )
        metadata: dict[str, Any] = {"name": name}
        if resource.namespaced:
            metadata["namespace"] = namespace
        if rng.random() < 0.3:
            metadata = {**(tree.get("metadata") or {}), **metadata}
        for odd in ("finalizers", "ownerReferences", "deletionTimestamp"):
            if rng.random() < 0.9:
                metadata.pop(odd, None)
        tree["metadata"] = metadata
        return damaged(tree, rng) if rng.random() < 0.4 else tree

    def _patch(self, resource: Resource, namespace: str, name: str) -> tuple[bytes, str]:
        rng = self.rng
        media = rng.choice(_PATCHES)
        tree = self._object(resource, namespace, name)
        if media.startswith("application/json-patch"):
            places = ["/" + "/".join(str(key) for key in path) for path in paths(tree)]
            operations: list[Any] = []
            for _ in range(rng.randrange(1, 5)):
                operation = {
                    "op": rng.choice(("add", "remove", "replace", "move", "copy", "test", "x")),
                    "path": rng.choice((*places, "/spec/-", "/metadata/labels/a~1b", "x", "/~2")),
                    "from": rng.choice(places),
                    "value": leaf(rng),
                }
                operations.append(damaged(operation, rng) if rng.random() < 0.2 else operation)
            return encoded(operations, rng)[0], media
        if media.startswith("application/strategic") and isinstance(tree, dict):
            places_of = [path for path in paths(tree) if path]
            for _ in range(rng.randrange(3)):
                at: Any = tree
                for key in rng.choice(places_of or [()]):
                    at = at[key]
                if isinstance(at, dict):
                    at[
                        rng.choice(
                            ("$patch", "$retainKeys", "$setElementOrder/containers", "$x",
                             "$deleteFromPrimitiveList/finalizers", "$setElementOrder/ports")
                        )
                    ] = rng.choice(("replace", "delete", "merge", "x", ["a"], [{"name": "a"}], 1))  # fmt: skip
        if media.startswith("application/apply-patch+yaml") and rng.random() < 0.5:
            try:
                return yaml.safe_dump(orjson.loads(orjson.dumps(tree))).encode(), media
            except (TypeError, ValueError, yaml.YAMLError):
                return b"a: [&a *a]", media
        return encoded(tree, rng)[0], media

    def _delete_options(self) -> Any:
        rng = self.rng
        options = {
            "kind": "DeleteOptions",
            "apiVersion": rng.choice(("v1", "meta.k8s.io/v1", "x")),
            "gracePeriodSeconds": rng.choice((0, 1, -1, None, "x")),
            "propagationPolicy": rng.choice(("Foreground", "Background", "Orphan", "", "x")),
            "preconditions": {"uid": rng.choice(TEXTS), "resourceVersion": rng.choice(TEXTS)},
        }
        for key in rng.sample(sorted(options), 3):
            del options[key]
        return damaged(options, rng) if options and rng.random() < 0.4 else options
