"""What form of answer a caller accepts: plain, Table or metadata only; JSON, YAML or protobuf.

Between the ``Accept`` header and the encoders. Pure and cached: callers send few different
headers. JSON is what a caller without a wish gets; protobuf only who names it, and only of kinds
that have messages. Tables have none, so the next wish in the header counts; the metadata of any
kind has one, custom ones included.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import msgspec

from kutter.api.errors import not_acceptable, not_represented
from kutter.api.protobuf import MEDIA_TYPE

Form = Literal["object", "table", "partial", "discovery"]
JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = MEDIA_TYPE
_META_VERSIONS = ("v1", "v1beta1")
_CONVERSIONS: dict[str, Form] = {
    "Table": "table",
    "PartialObjectMetadata": "partial",
    "PartialObjectMetadataList": "partial",
}


class Accepted(msgspec.Struct, frozen=True):
    """The form chosen. ``version`` is that of ``meta.k8s.io`` for table and partial answers."""

    form: Form = "object"
    media: str = JSON
    version: str = "v1"
    kind: str = ""


_PLAIN = Accepted()
OF_KINDS = (JSON, YAML, PROTOBUF)
OF_LISTS = (*OF_KINDS, f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")


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


def check_accepts(header: str, only: tuple[str, ...]) -> None:
    """Raises 406 for a caller who names none of the media types there are."""
    if header and not any(media == "*/*" or media in only for media, _ in _clauses(header)):
        raise not_represented(*only)


@lru_cache(maxsize=512)
def negotiate(
    header: str,
    *,
    watch: bool = False,
    convertible: bool = True,
    protobuf: bool = False,
    only: tuple[str, ...] = (),
) -> Accepted:
    """Choose the answer's form. Raises 406 when nothing acceptable can be made.

    ``convertible`` is False where only plain objects are answered (discovery, scale);
    ``protobuf`` tells whether what is answered has a message of its own. With ``only``, what a
    path says it has, a caller has to name one of those (or anything), before the rest is looked
    at: upstream's routes of built-in kinds refuse others on their own.
    """
    if not header:
        return _PLAIN
    if only:
        check_accepts(header, only)
    for media, params in _clauses(header):
        wanted = params.get("as", "")
        form = _CONVERSIONS.get(wanted)
        if media in ("*/*", "application/*"):
            chosen = JSON
        elif media in (JSON, YAML) or (media == PROTOBUF and (protobuf or form == "partial")):
            chosen = media
        else:
            continue
        if watch and chosen == YAML:
            continue
        if not wanted:
            return Accepted(media=chosen)
        if form == "table" and chosen == PROTOBUF:
            continue
        if (
            convertible
            and form is not None
            and params.get("g") == "meta.k8s.io"
            and params.get("v") in _META_VERSIONS
        ):
            return Accepted(form, chosen, params["v"], wanted)
    # Upstream tells what its encoders know, of whatever kind is asked for.
    if watch and status_media(header) == YAML:
        raise not_acceptable([f"{JSON};stream=watch", f"{PROTOBUF};stream=watch"])
    raise not_acceptable([JSON, YAML, PROTOBUF])


@lru_cache(maxsize=512)
def status_media(header: str) -> str:
    """The media type of a Status, which has a form in each."""
    for media, params in _clauses(header):
        # What a wish for another form would get says nothing of a Status.
        if "as" in params:
            continue
        if media in OF_KINDS:
            return media
        if media in ("*/*", "application/*"):
            return JSON
    return JSON


@lru_cache(maxsize=512)
def wants_aggregated_discovery(header: str) -> str:
    """The media type the caller prefers aggregated discovery in, empty for the older form."""
    for media, params in _clauses(header):
        if media not in (JSON, PROTOBUF):
            continue
        if params.get("as") == "APIGroupDiscoveryList":
            if params.get("g") == "apidiscovery.k8s.io" and params.get("v") == "v2":
                return media
            continue
        return ""
    return ""


@lru_cache(maxsize=512)
def asks_for(header: str, group: str, version: str, kind: str) -> bool:
    """Whether the caller asks for a kind by name, in JSON."""
    wanted = {"g": group, "v": version, "as": kind}
    return any(media == JSON and params == wanted for media, params in _clauses(header))
