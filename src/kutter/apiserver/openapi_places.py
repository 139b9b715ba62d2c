"""What has an OpenAPI document of its own: group-versions, and what is got that is no resource.

Between the catalog and the index at ``/openapi/v3``. Groups of custom resources have documents of
their versions only, as upstream.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from kutter.apiserver.openapi_definitions import Definitions
from kutter.apiserver.openapi_operations import ANSWERS, JSON, Operation
from kutter.apiserver.openapi_paths import Paths, group_tag, prefix_of
from kutter.apiserver.ports import Tree

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

_TEXT: Tree = {"type": "string"}


class Place(msgspec.Struct, frozen=True):
    """``name`` is its path in the index. ``discovered``: its discovery is in the document."""

    name: str
    group: str = ""
    version: str = ""
    discovered: bool = True

    def add(self, paths: Paths, definitions: Definitions) -> None:
        """Put into ``paths`` what is not said of single resources."""
        match self.name:
            case ".well-known/openid-configuration":
                id_, text = "OpenIDConfiguration", "Says how this cluster's tokens are checked."
                paths.add_plain(f"/{self.name}/", _issuer(id_, text, JSON), "WellKnown")
            case "openid/v1/jwks":
                id_, text = "OpenIDKeyset", "The keys that tokens are checked by."
                media = "application/jwk-set+json"
                paths.add_plain(f"/{self.name}/", _issuer(id_, text, media), "openid")
            case "version":
                got = _get("getCodeVersion", "Says which version this is.")
                got.answer, got.medias, got.produces = definitions.version_info(), (JSON,), (JSON,)
                paths.add_plain("/version/", got, "version")
            case "api":
                got = _get("getCoreAPIVersions", "Says which versions of the core group there are.")
                got.answer = definitions.meta("APIVersions")
                paths.add_plain("/api/", got, "core")
            case "apis":
                got = _get("getAPIVersions", "Says which groups there are.")
                got.answer = definitions.meta("APIGroupList")
                paths.add_plain("/apis/", got, "apis")
            case _ if not self.version:
                got = _get(
                    f"get{prefix_of(self.group, '')}APIGroup", "Says of which versions it is."
                )
                got.answer = definitions.meta("APIGroup")
                paths.add_plain(f"/{self.name}/", got, group_tag(self.group))
            case _ if self.discovered:
                paths.add_discovery(self.group, self.version)


def places_of(server: ApiServer) -> Iterator[Place]:
    """Everything this server describes itself."""
    for path in server.documents:
        yield Place(path[1:])
    yield Place("version")
    yield Place("api")
    yield Place("apis")
    groups: set[str] = set()
    for group, version in server.catalog.group_versions():
        custom = all(r.custom for r in server.catalog.resources(group, version))
        if group and not custom and group not in groups:
            groups.add(group)
            yield Place(f"apis/{group}", group)
        name = f"apis/{group}/{version}" if group else f"api/{version}"
        yield Place(name, group, version, discovered=not custom)


def _get(id_: str, text: str) -> Operation:
    return Operation(id_, "", text, {}, (), None, medias=ANSWERS)


def _issuer(id_: str, text: str, media: str) -> Operation:
    got = _get(f"getServiceAccountIssuer{id_}", text)
    got.answer, got.medias, got.produces = _TEXT, (), (media,)
    return got
