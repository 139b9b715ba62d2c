"""Which resources the server serves, and the names people call them by.

Read from the aggregated discovery documents (the older ones where a server has no others) and
remembered on disk for a while, so that most commands make no request for it.
Upstream: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from kutter.api.resources import Resource, Subresource
from kutter.cli.command import CommandError

if TYPE_CHECKING:
    from kutter.cli.session import Session

_FORM = "as=APIGroupDiscoveryList"
_ACCEPT = (
    f"application/json;g=apidiscovery.k8s.io;v=v2;{_FORM},"
    f"application/json;g=apidiscovery.k8s.io;v=v2beta1;{_FORM},application/json"
)
_KEEP_S = 600.0
_FORMAT = 2
Tree = dict[str, Any]


class Discovery:
    """Finds resources by the words people use. Asks again once before saying no."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._file = _cache_file(session.connection.server, session.cache_dir)
        self._fresh = False
        self._resources: list[Resource] = []
        rows = _read_cache(self._file)
        if rows is None:
            self.refresh()
        else:
            self._take(rows)

    def refresh(self) -> None:
        """Ask the server."""
        rows = [*_fetch(self._session, "/api"), *_fetch(self._session, "/apis")]
        self._fresh = True
        self._take(rows)
        _write_cache(self._file, rows)

    def all(self) -> list[Resource]:
        """Every resource of every version, the preferred versions first within a group."""
        return self._resources

    def preferred(self) -> list[Resource]:
        """One version of each resource."""
        seen: set[tuple[str, str]] = set()
        chosen = []
        for resource in self._resources:
            key = (resource.group, resource.plural)
            if key not in seen:
                seen.add(key)
                chosen.append(resource)
        return chosen

    def find(self, word: str) -> Resource:
        """``pods``, ``po``, ``deployments.apps``, ``deployments.v1.apps``. Raises CommandError."""
        found = self._match(word)
        if found is None and not self._fresh:
            self.refresh()
            found = self._match(word)
        if found is None:
            raise CommandError(
                f'the server doesn\'t have a resource type "{word}"',
                hint="'kutter api-resources' lists them",
            )
        return found

    def category(self, word: str) -> list[Resource]:
        """The listable resources of a category (``all``)."""
        return [r for r in self.preferred() if word in r.categories and "list" in r.verbs]

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """The resource of an object's kind."""
        found = self._of_kind(api_version, kind)
        if found is None and not self._fresh:
            self.refresh()
            found = self._of_kind(api_version, kind)
        return found

    def versions(self) -> list[str]:
        """Every ``group/version``, sorted."""
        return sorted({r.api_version for r in self._resources})

    def _of_kind(self, api_version: str, kind: str) -> Resource | None:
        for resource in self._resources:
            if resource.kind == kind and resource.api_version == api_version:
                return resource
        return None

    def _match(self, word: str) -> Resource | None:
        wanted = word.lower()
        found = self._named.get(wanted)
        if found is not None or "." not in wanted:
            return found
        name, _, rest = wanted.partition(".")
        version, _, group = rest.partition(".")
        for resource in self._resources:
            if name not in _names(resource):
                continue
            if resource.group == rest or (resource.version == version and resource.group == group):
                return resource
        # ``deployments.app`` finds ``deployments.apps``, as kubectl does.
        for resource in self._resources:
            if name in _names(resource) and rest and resource.group.startswith(rest):
                return resource
        return None

    def _take(self, rows: list[Tree]) -> None:
        self._resources = [_from_row(row) for row in rows]
        self._named: dict[str, Resource] = {}
        for pick in (_full_names, _short_names):
            for resource in self._resources:
                for name in pick(resource):
                    self._named.setdefault(name, resource)


def _full_names(resource: Resource) -> Iterable[str]:
    return (resource.plural, resource.singular, resource.kind.lower())


def _short_names(resource: Resource) -> Iterable[str]:
    return resource.short_names


def _names(resource: Resource) -> set[str]:
    return {*_full_names(resource), *resource.short_names}


def _from_row(row: Tree) -> Resource:
    return Resource(
        group=row["g"],
        version=row["v"],
        plural=row["p"],
        kind=row["k"],
        namespaced=row["n"],
        verbs=tuple(row["verbs"]),
        singular=row["s"],
        short_names=tuple(row["short"]),
        categories=tuple(row["cat"]),
        subresources={name: Subresource(name, "", ()) for name in row["sub"]},
    )


def _fetch(session: Session, path: str) -> list[Tree]:
    answer = session.call("GET", path, accept=_ACCEPT)
    if answer.get("kind") == "APIGroupDiscoveryList":
        return [row for item in answer.get("items") or () for row in _aggregated(item)]
    if path == "/api":
        versions = [("", v) for v in answer.get("versions") or ()]
    else:
        versions = []
        for group in answer.get("groups") or ():
            listed = sorted(
                group.get("versions") or (),
                key=lambda v, g=group: v != (g.get("preferredVersion") or {}),
            )
            versions += [(group["name"], v["version"]) for v in listed]
    rows = []
    for group_name, version in versions:
        base = f"/apis/{group_name}/{version}" if group_name else f"/api/{version}"
        rows += _older(group_name, version, session.call("GET", base))
    return rows


def _aggregated(item: Tree) -> Iterable[Tree]:
    group = (item.get("metadata") or {}).get("name") or ""
    for version in item.get("versions") or ():
        for resource in version.get("resources") or ():
            yield {
                "g": group,
                "v": version["version"],
                "p": resource["resource"],
                "k": (resource.get("responseKind") or {}).get("kind") or "",
                "n": resource.get("scope") == "Namespaced",
                "s": resource.get("singularResource") or "",
                "verbs": resource.get("verbs") or [],
                "short": resource.get("shortNames") or [],
                "cat": resource.get("categories") or [],
                "sub": [s["subresource"] for s in resource.get("subresources") or ()],
            }


def _older(group: str, version: str, answer: Tree) -> list[Tree]:
    rows: dict[str, Tree] = {}
    for resource in answer.get("resources") or ():
        name, _, subresource = resource["name"].partition("/")
        if subresource:
            if name in rows:
                rows[name]["sub"].append(subresource)
            continue
        rows[name] = {
            "g": group,
            "v": version,
            "p": name,
            "k": resource.get("kind") or "",
            "n": bool(resource.get("namespaced")),
            "s": resource.get("singularName") or "",
            "verbs": resource.get("verbs") or [],
            "short": resource.get("shortNames") or [],
            "cat": resource.get("categories") or [],
            "sub": [],
        }
    return list(rows.values())


def _cache_file(server: str, cache_dir: str) -> Path:
    folder = cache_dir or os.environ.get("KUTTER_CACHE_DIR", "")
    if not folder:
        folder = os.path.join(os.path.expanduser("~"), ".kube", "cache", "kutter")
    name = hashlib.sha256(server.encode()).hexdigest()[:20]
    return Path(folder) / f"{name}.json"


def _read_cache(file: Path) -> list[Tree] | None:
    """Rows no older than ``_KEEP_S``; anything odd is no cache."""
    from kutter.cli.moments import wall

    try:
        if not 0 <= wall() - file.stat().st_mtime < _KEEP_S:
            return None
        kept = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    if not isinstance(kept, dict) or kept.get("format") != _FORMAT:
        return None
    rows = kept.get("rows")
    return rows if isinstance(rows, list) and rows else None


def _write_cache(file: Path, rows: list[Tree]) -> None:
    """Best effort: a command must not fail because its memory cannot be written."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(orjson.dumps({"format": _FORMAT, "rows": rows}))
        os.replace(temporary, file)
    except OSError:
        return
