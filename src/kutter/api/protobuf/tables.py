"""Messages as data: each kind's fields, read from the tables when first asked for.

A table is a JSON file per group-version: a type's name → its fields, in the order of their
numbers; a field's name in JSON → ``number type [mark]``. Type texts are those of
:mod:`kutter.api.schema.loader` and ``any`` (JSON bytes in a message), ``strings`` (a list in a
message), ``schemaOrList``, ``schemaOrBoolean``, ``schemaOrStrings`` (unions of custom
definitions). Marks: ``pointer`` tells an absent value from zero; ``omitempty`` has no absent
value and JSON leaves zero out; no mark: JSON shows zero; ``inline``: a message of its own on the
wire whose fields are the holder's in JSON. ``tools/build_protobuf_tables.py`` writes them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import orjson


class Field(NamedTuple):
    """One field. ``type`` is a type text without the list's or map's brackets."""

    name: str
    number: int
    type: str
    shape: str  # "one", "list" or "map"
    mark: str  # "", "pointer", "omitempty" or "inline"


class Message(NamedTuple):
    """One message; ``table`` is where its references without a table point to."""

    table: str
    name: str
    fields: tuple[Field, ...]

    def reference(self, type: str) -> Message:
        """The message an ``@`` type text names."""
        target, colon, name = type[1:].partition(":")
        return message(target, name) if colon else message(self.table, target)


_FOLDER = Path(__file__).parent / "tables"


@lru_cache(maxsize=1)
def _files() -> frozenset[str]:
    return frozenset(path.name for path in _FOLDER.iterdir())


@lru_cache(maxsize=64)
def _table(name: str) -> dict[str, dict[str, str]]:
    file = f"{name.replace('/', '.')}.json"
    if file not in _files():  # the name may be a caller's: never a path to open as it is
        return {}
    read: dict[str, dict[str, str]] = orjson.loads((_FOLDER / file).read_bytes())
    return read


_SHAPES = {"[": "list", "{": "map"}


def _field(name: str, text: str) -> Field:
    number, type, *mark = text.split(" ")
    shape = _SHAPES.get(type[0], "one")
    if shape != "one":
        type = type[1:-1]
    return Field(name, int(number), type, shape, mark[0] if mark else "")


@lru_cache(maxsize=2048)
def message(table: str, name: str) -> Message:
    """A message by its table and name. KeyError when there is none."""
    described = _table(table)[name]
    return Message(table, name, tuple(_field(key, text) for key, text in described.items()))


# Kinds every group-version knows (clients put their own group-version on them).
_EVERYWHERE = frozenset(
    {"CreateOptions", "DeleteOptions", "GetOptions", "ListOptions", "PatchOptions", "UpdateOptions"}
)
_META = {
    "v1": frozenset({"APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "Status"}),
    "meta.k8s.io/v1": frozenset({"PartialObjectMetadata", "PartialObjectMetadataList"}),
    "meta.k8s.io/v1beta1": frozenset({"PartialObjectMetadata", "PartialObjectMetadataList"}),
}


@lru_cache(maxsize=1024)
def message_of(api_version: str, kind: str) -> Message | None:
    """The message of a kind as an envelope names it; None when there is none."""
    table = api_version if "/" in api_version else f"core/{api_version}"
    held = _table(table).get(kind) if table != "meta/v1" else None
    # Every kind is an object or a list and has metadata; other types are no kinds.
    if held is not None and "metadata" in held:
        return message(table, kind)
    if kind in _META.get(api_version, ()) or (held is None and kind in _EVERYWHERE):
        return message("meta/v1", kind)
    return None
