"""From cache entries to answers: plain objects, lists, Tables and metadata-only forms.

Between the read cache's bytes and the wire. Plain answers are spliced, never decoded; the
others decode the entry once. Two encoders with equal ``key`` produce equal bytes, so that
watchers share frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

import orjson

from kutter.api.resources import Resource
from kutter.apiserver.cache import Entry, head_of
from kutter.apiserver.ports import TablePrinter, Tree


class ListMeta:
    """A list's metadata: revision (0: of what has none), and what continues it."""

    __slots__ = ("continue_token", "remaining", "revision")

    def __init__(self, revision: int, continue_token: str = "", remaining: int = 0) -> None:
        self.revision = revision
        self.continue_token = continue_token
        self.remaining = remaining

    def encode(self) -> bytes:
        meta: Tree = {"resourceVersion": str(self.revision)} if self.revision else {}
        if self.continue_token:
            meta["continue"] = self.continue_token
            if self.remaining:
                meta["remainingItemCount"] = self.remaining
        return orjson.dumps(meta)


class Encoder(Protocol):
    """``key`` tells encoders of equal output apart from others.

    ``frame`` makes a watch event of an encoded object; ``status`` encodes a ``Status``.
    """

    @property
    def key(self) -> object: ...

    def encode(self, entry: Entry) -> bytes: ...

    def encode_list(self, entries: Sequence[Entry], meta: ListMeta) -> bytes: ...

    def bookmark(self, revision: int, annotations: dict[str, str] | None) -> bytes: ...

    def frame(self, type: str, encoded: bytes) -> bytes: ...

    def status(self, tree: Tree) -> bytes: ...


class _JsonFrames:
    """What all JSON encoders of watches share."""

    def frame(self, type: str, encoded: bytes) -> bytes:
        return b'{"type":"%s","object":%s}\n' % (type.encode(), encoded)

    def status(self, tree: Tree) -> bytes:
        return orjson.dumps(tree)


class ObjectEncoder(_JsonFrames):
    """Objects as they are, under the head of the requested version."""

    def __init__(self, resource: Resource, convert: Callable[[Tree], Tree] | None = None) -> None:
        self.key: object = ("object", resource.group, resource.version, resource.kind)
        self._head = head_of(resource)
        self._convert = convert
        self._list_head = b'{"kind":"%s","apiVersion":"%s","metadata":' % (
            (resource.list_kind or resource.kind + "List").encode(),
            resource.api_version.encode(),
        )
        # Upstream's built-in lists leave kind and apiVersion out of their items.
        self._separator = b",{"

    @property
    def splices(self) -> bool:
        """Whether answers are put together from the cache's bytes, nothing converted."""
        return self._convert is None

    def _tail(self, entry: Entry) -> bytes:
        if self._convert is None:
            return entry.tail
        tree = self._convert(entry.tree)
        tree.pop("kind", None)
        tree.pop("apiVersion", None)
        return orjson.dumps(tree)[1:]

    def encode(self, entry: Entry) -> bytes:
        return self._head + self._tail(entry)

    def encode_list(self, entries: Sequence[Entry], meta: ListMeta) -> bytes:
        start = b'%b%b,"items":[' % (self._list_head, meta.encode())
        if not entries:
            return start + b"]}"
        if self._convert is None:
            tails = [entry.tail for entry in entries]
        else:
            tails = [self._tail(entry) for entry in entries]
        # The ends ride on the first and last item: large lists are copied together only once.
        tails[0] = b"%b{%b" % (start, tails[0])
        tails[-1] += b"]}"
        return self._separator.join(tails)

    def bookmark(self, revision: int, annotations: dict[str, str] | None) -> bytes:
        meta: Tree = {"resourceVersion": str(revision)}
        if annotations:
            meta["annotations"] = annotations
        return self._head + b'"metadata":' + orjson.dumps(meta) + b"}"


class PartialEncoder(_JsonFrames):
    """``PartialObjectMetadata``: only an object's metadata."""

    def __init__(self, version: str) -> None:
        self.key: object = ("partial", version)
        self._version = f"meta.k8s.io/{version}"

    def _tree(self, entry: Entry) -> Tree:
        return {
            "kind": "PartialObjectMetadata",
            "apiVersion": self._version,
            "metadata": entry.tree["metadata"],
        }

    def encode(self, entry: Entry) -> bytes:
        return orjson.dumps(self._tree(entry))

    def encode_list(self, entries: Sequence[Entry], meta: ListMeta) -> bytes:
        return orjson.dumps(
            {
                "kind": "PartialObjectMetadataList",
                "apiVersion": self._version,
                "metadata": orjson.Fragment(meta.encode()),
                "items": [self._tree(entry) for entry in entries],
            }
        )

    def bookmark(self, revision: int, annotations: dict[str, str] | None) -> bytes:
        meta: Tree = {"resourceVersion": str(revision)}
        if annotations:
            meta["annotations"] = annotations
        return orjson.dumps(
            {"kind": "PartialObjectMetadata", "apiVersion": self._version, "metadata": meta}
        )


class TableEncoder(_JsonFrames):
    """``Table``: what ``kubectl get`` prints. ``include`` is None, Metadata or Object."""

    def __init__(
        self, printer: TablePrinter, version: str, include: str, now: Callable[[], datetime]
    ) -> None:
        self._key: object = ("table", version, include)
        self._printer = printer
        self._version = version
        self._include = include
        self._now = now

    @property
    def key(self) -> object:
        return self._key

    def _columns(self) -> list[Tree] | None:
        return self._printer.columns

    def _row(self, entry: Entry, now: datetime) -> Tree:
        tree = entry.tree
        row: Tree = {"cells": self._printer.cells(tree, now)}
        conditions = self._printer.conditions(tree)
        if conditions:
            row["conditions"] = conditions
        if self._include == "Object":
            row["object"] = tree
        elif self._include == "Metadata":
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": f"meta.k8s.io/{self._version}",
                "metadata": tree["metadata"],
            }
        else:
            row["object"] = None
        return row

    def _table(self, meta: Any, rows: list[Tree]) -> bytes:
        return orjson.dumps(
            {
                "kind": "Table",
                "apiVersion": f"meta.k8s.io/{self._version}",
                "metadata": meta,
                "columnDefinitions": self._columns(),
                "rows": rows,
            }
        )

    def encode(self, entry: Entry) -> bytes:
        meta = {"resourceVersion": str(entry.revision)}
        return self._table(meta, [self._row(entry, self._now())])

    def encode_list(self, entries: Sequence[Entry], meta: ListMeta) -> bytes:
        now = self._now()
        order = self._printer.order
        if order is not None:
            entries = sorted(entries, key=lambda entry: order(entry.bare_tree))
        rows = [self._row(entry, now) for entry in entries]
        return self._table(orjson.Fragment(meta.encode()), rows)

    def bookmark(self, revision: int, annotations: dict[str, str] | None) -> bytes:
        row: Tree = {"cells": []}
        meta: Tree = {"resourceVersion": str(revision)}
        if annotations:
            meta["annotations"] = annotations
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": f"meta.k8s.io/{self._version}",
            "metadata": meta,
        }
        return self._table({"resourceVersion": str(revision)}, [row])


class WatchTableEncoder(TableEncoder):
    """Tables of one watch: only its first frame tells the columns. That one is nobody else's."""

    _begun = False

    @property
    def key(self) -> object:
        return self._key if self._begun else self

    def _columns(self) -> list[Tree] | None:
        if self._begun:
            return None
        self._begun = True
        return self._printer.columns


_PLAIN_COLUMNS: list[Tree] = [
    {
        "name": "Name",
        "type": "string",
        "format": "name",
        "description": "Name must be unique within a namespace.",
        "priority": 0,
    },
    {
        "name": "Created At",
        "type": "date",
        "format": "",
        "description": "When the server first stored the object, in UTC.",
        "priority": 0,
    },
]


class PlainPrinter:
    """Name and Created At: columns of kinds without a printer of their own."""

    order: Callable[[Tree], Any] | None = None

    @property
    def columns(self) -> list[Tree]:
        return _PLAIN_COLUMNS

    def cells(self, tree: Tree, now: datetime) -> list[Any]:
        metadata = tree["metadata"]
        return [metadata.get("name", ""), metadata.get("creationTimestamp")]

    def conditions(self, tree: Tree) -> list[Tree]:
        return []
