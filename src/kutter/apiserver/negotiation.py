"""What form of answer a caller accepts: plain, Table or metadata only; JSON or YAML.

Between the ``Accept`` header and the encoders. Pure and cached: callers send few different
headers. Protobuf is not spoken; callers that list JSON beside it get JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from kutter.api.errors import not_acceptable

Form = Literal["object", "table", "partial", "discovery"]
JSON = "application/json"
YAML = "application/yaml"
_META_VERSIONS = ("v1", "v1beta1")
_CONVERSIONS: dict[str, Form] = {
    "Table": "table",
    "PartialObjectMetadata": "partial",
    "PartialObjectMetadataList": "partial",
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The form chosen. ``version`` is that of ``meta.k8s.io`` for table and partial answers."""

    form: Form = "object"
    media: str = JSON
    version: str = "v1"
    kind: str = ""


_PLAIN = Accepted()


@lru_cache(maxsize=512)
def _clauses(header: str) -> tuple[tuple[str, dict[str, str]], ...]:
    """Media types with parameters, the most wanted first."""
    found: list[tuple[float, int, str, dict[str, str]]] = []
    for position, clause in enumerate(header.split(",")):
        media, *rest = (part.strip() for part in clause.split(";"))
        params = dict(part.split("=", 1) for part in rest if "=" in part)
        try:
            quality = float(params.pop("q", "1"))
        except ValueError:
            quality = 1.0
        if media and quality > 0:
            found.append((-quality, position, media.lower(), params))
    found.sort(key=lambda item: (item[0], item[1]))
    return tuple((media, params) for _, _, media, params in found)


@lru_cache(maxsize=512)
def negotiate(header: str, *, watch: bool = False, convertible: bool = True) -> Accepted:
    """Choose the answer's form. Raises 406 when nothing acceptable can be made.

    ``convertible`` is False where only plain objects are answered (discovery, scale).
    """
    if not header:
        return _PLAIN
    for media, params in _clauses(header):
        if media in ("*/*", "application/*"):
            chosen = JSON
        elif media in (JSON, YAML):
            chosen = media
        else:
            continue
        if watch and chosen == YAML:
            continue
        wanted = params.get("as", "")
        if not wanted:
            return Accepted(media=chosen)
        form = _CONVERSIONS.get(wanted)
        if (
            convertible
            and form is not None
            and params.get("g") == "meta.k8s.io"
            and params.get("v") in _META_VERSIONS
        ):
            return Accepted(form, chosen, params["v"], wanted)
    raise not_acceptable([JSON] if watch else [JSON, YAML])


@lru_cache(maxsize=512)
def wants_aggregated_discovery(header: str) -> str:
    """The version of ``apidiscovery.k8s.io`` the caller prefers, empty for the older form."""
    for media, params in _clauses(header):
        if media != JSON:
            continue
        if params.get("as") == "APIGroupDiscoveryList":
            if params.get("g") == "apidiscovery.k8s.io" and params.get("v") == "v2":
                return "v2"
            continue
        return ""
    return ""
