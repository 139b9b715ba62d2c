"""From cache entries to protobuf answers: objects, lists, metadata only, watch frames, Status.

Between the read cache's JSON bytes and :mod:`kutter.api.protobuf`. Bytes stay JSON in the store
and the cache; each state of an object is turned into a message once and kept for a while, so
that lists and watches of many typed clients join messages instead of making them anew.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from kutter.api.protobuf import (
    encode_message,
    encode_object,
    list_content,
    message_of,
    watch_frame,
    wrap,
)
from kutter.api.protobuf.tables import Message
from kutter.api.resources import Resource
from kutter.apiserver.cache import Entry
from kutter.apiserver.encoders import ListMeta
from kutter.apiserver.ports import Tree

CACHE_LIMIT_BYTES = 32 << 20
# About as many pods as the cache holds; at some 0.15 ms each, a turn takes a few milliseconds.
PREPARED_LIMIT = 3000
_TURN = 20


class MessageCache:
    """Messages by what they were made from, the least recently used given up first."""

    def __init__(self, limit_bytes: int = CACHE_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[tuple[object, bytes], bytes] = OrderedDict()
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, form: object, source: bytes) -> bytes | None:
        key = (form, source)
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def put(self, form: object, source: bytes, content: bytes) -> None:
        key = (form, source)
        if key in self._held:
            return
        self._held[key] = content
        # The source counts too: the cache of objects may have let go of it.
        self._size_bytes += len(source) + len(content)
        while self._size_bytes > self._limit_bytes:
            (_, oldest), dropped = self._held.popitem(last=False)
            self._size_bytes -= len(oldest) + len(dropped)


class _Frames:
    """What all protobuf encoders of watches share."""

    def frame(self, type: str, encoded: bytes) -> bytes:
        return watch_frame(type, encoded)

    def status(self, tree: Tree) -> bytes:
        return encode_object(tree)


def _list_meta(meta: ListMeta) -> Tree:
    tree: Tree = orjson.loads(meta.encode())
    return tree


def _bookmark_metadata(revision: int, annotations: dict[str, str] | None) -> Tree:
    metadata: Tree = {"resourceVersion": str(revision)}
    if annotations:
        metadata["annotations"] = annotations
    return metadata


class ProtobufEncoder(_Frames):
    """Objects as they are, in the requested version."""

    def __init__(
        self,
        resource: Resource,
        held: Message,
        convert: Callable[[Tree], Tree] | None,
        cache: MessageCache,
    ) -> None:
        self.key: object = ("protobuf", resource.group, resource.version, resource.kind)
        self._api_version = resource.api_version
        self._kind = resource.kind
        self._list_kind = resource.list_kind or resource.kind + "List"
        self._message = held
        self._convert = convert
        self._cache = cache

    def _content(self, entry: Entry) -> bytes:
        found = self._cache.get(self.key, entry.tail)
        if found is None:
            tree = entry.whole_tree
            if self._convert is not None:
                tree = self._convert(tree)
            found = encode_message(self._message, tree)
            self._cache.put(self.key, entry.tail, found)
        return found

    def encode(self, entry: Entry) -> bytes:
        return wrap(self._api_version, self._kind, self._content(entry))

    def encode_list(self, entries: Sequence[Entry], meta: ListMeta) -> bytes:
        raw = list_content(_list_meta(meta), [self._content(entry) for entry in entries])
        return wrap(self._api_version, self._list_kind, raw)

    async def prepare(self, entries: Sequence[Entry]) -> None:
        """Make the messages of many entries, letting others have their turn in between.

        What is beyond the cache's size is left to the encoding itself.
        """
        for number, entry in enumerate(entries[:PREPARED_LIMIT], 1):
            self._content(entry)
            if number % _TURN == 0:
                await asyncio.sleep(0)

    def bookmark(self, revision: int, annotations: dict[str, str] | None) -> bytes:
        tree = {"metadata": _bookmark_metadata(revision, annotations)}
        return wrap(self._api_version, self._kind, encode_message(self._message, tree))


class ProtobufPartialEncoder(_Frames):
    """``PartialObjectMetadata``: only an object's metadata."""

    def __init__(self, version: str) -> None:
        self.key: object = ("protobuf-partial", version)
        self._api_version = f"meta.k8s.io/{version}"
        held = message_of(self._api_version, "PartialObjectMetadata")
        assert held is not None
        self._message = held

    def _wrapped(self, metadata: Any) -> bytes:
        content = encode_message(self._message, {"metadata": metadata})
        return wrap(self._api_version, "PartialObjectMetadata", content)

    def encode(self, entry: Entry) -> bytes:
        return self._wrapped(entry.whole_tree["metadata"])

    def encode_list(self, entries: Sequence[Entry], meta: ListMeta) -> bytes:
        items = [encode_message(self._message, entry.whole_tree) for entry in entries]
        raw = list_content(_list_meta(meta), items)
        return wrap(self._api_version, "PartialObjectMetadataList", raw)

    def bookmark(self, revision: int, annotations: dict[str, str] | None) -> bytes:
        return self._wrapped(_bookmark_metadata(revision, annotations))
