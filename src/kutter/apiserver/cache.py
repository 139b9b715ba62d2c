"""The read cache: every object as bytes, ready to be spliced into answers.

Between the store's commits and get, list and watch. Laws: a resource's cache is as new as the
store's last acknowledged write (it is fed before the acknowledgement); bytes are kept once, as
the *tail* of the object, everything after ``{"kind":...,"apiVersion":...,`` with the revision
stamped in, so that one copy serves every head (list items without a head, older versions with
another); labels and fields are decoded only for those who select by them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import msgspec
import orjson

from kutter.api.resources import Resource
from kutter.apiserver.batch import Batch
from kutter.apiserver.field_index import FieldIndex, Select
from kutter.apiserver.ports import Tree
from kutter.store.interface import Event, Record

EventType = Literal["ADDED", "MODIFIED", "DELETED"]
# Events kept per resource for watches that start in the past; upstream keeps between 100 and
# 102400 by age, we by count and by bytes: a few thousand versions of a large object would not fit.
HISTORY_LIMIT = 4096
HISTORY_LIMIT_BYTES = 16 << 20


Refine = Callable[[bytes], tuple[bytes, bytes]]
"""From a stored value to what is read: its head, and the value with today's schema applied."""


class _Labels(msgspec.Struct):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct):
    metadata: _Labels


class _Owners(msgspec.Struct):
    managedFields: msgspec.Raw = msgspec.Raw()  # noqa: N815


class _Owned(msgspec.Struct):
    metadata: _Owners


_owners_decoder = msgspec.json.Decoder(_Owned)
_OWNERS = b',"managedFields":'
_labels_decoder = msgspec.json.Decoder(_Labelled)


def head_of(resource: Resource) -> bytes:
    """How an object of ``resource`` starts on the wire."""
    return b'{"kind":"%s","apiVersion":"%s",' % (
        resource.kind.encode(),
        resource.api_version.encode(),
    )


def stamp(revision: int) -> bytes:
    return b'"metadata":{"resourceVersion":"%d",' % revision


_METADATA = b'"metadata":{'


def make_tail(value: bytes, head: bytes, revision: int) -> bytes:
    """The tail of a stored value, stamped. Values not in our key order are re-encoded."""
    start = len(head)
    if value.startswith(head) and value.startswith(_METADATA, start):
        return stamp(revision) + value[start + len(_METADATA) :]
    return encode_tail(orjson.loads(value), revision)


def encode_tail(tree: Tree, revision: int) -> bytes:
    """Encode a tree as a tail, stamped with ``revision`` (0: without a resourceVersion)."""
    metadata = {k: v for k, v in tree.get("metadata", {}).items() if k != "resourceVersion"}
    rest = {"metadata": metadata}
    rest.update({k: v for k, v in tree.items() if k not in ("kind", "apiVersion", "metadata")})
    encoded = orjson.dumps(rest)[1:]
    if not revision:
        return encoded
    return stamp(revision) + encoded[len(_METADATA) :]


class Entry:
    """One object in one state. Immutable but for what is decoded lazily."""

    __slots__ = (
        "_fields",
        "_labels",
        "_span",
        "head",
        "name",
        "namespace",
        "revision",
        "settled",
        "tail",
    )

    def __init__(self, head: bytes, tail: bytes, namespace: str, name: str, revision: int) -> None:
        self.head = head
        self.tail = tail
        self.namespace = namespace
        self.name = name
        self.revision = revision
        self._labels: dict[str, str] | None = None
        self._fields: dict[str, str] | None = None
        self._span: tuple[int, int] | None = None
        # What the specification is known by, told by who wrote it (kutter.apiserver.settled).
        self.settled: bytes | None = None

    @property
    def tree(self) -> Tree:
        """The object, decoded anew on each call: the caller may change it. Its owners, which
        hardly anybody looks into, stay encoded (an ``orjson.Fragment``).
        """
        tree = self.bare_tree
        owners = self.owners
        if owners:
            tree["metadata"]["managedFields"] = orjson.Fragment(owners)
        return tree

    @property
    def bare_tree(self) -> Tree:
        """As ``tree``, without ``metadata.managedFields``."""
        start, end = self._owners_span()
        tail = self.tail
        if start:
            tail = tail[:start] + tail[end:]
        tree: Tree = orjson.loads(self.head + tail)
        return tree

    @property
    def whole_tree(self) -> Tree:
        """As ``tree``, with everything decoded."""
        tree: Tree = orjson.loads(self.head + self.tail)
        return tree

    @property
    def owners(self) -> bytes:
        """``metadata.managedFields`` as JSON, ``b""`` when there are none."""
        start, end = self._owners_span()
        return self.tail[start + len(_OWNERS) : end] if start else b""

    def find_owners(self, owners: bytes) -> None:
        """Spare the search: the writer knows ``owners`` (``b""``: it does not say)."""
        if owners and self._span is None:
            # By the key alone, which no string in an object can look like: to look for all of
            # them is dear.
            tail = self.tail
            at = tail.find(_OWNERS)
            if at > 0 and tail.startswith(owners, at + len(_OWNERS)):
                self._span = (at, at + len(_OWNERS) + len(owners))

    def _owners_span(self) -> tuple[int, int]:
        """Where the key, its comma and the value are in the tail; (0, 0) for nowhere."""
        span = self._span
        if span is None:
            raw = bytes(_owners_decoder.decode(b"{" + self.tail).metadata.managedFields)
            at = self.tail.find(_OWNERS + raw) if raw else -1
            span = self._span = (at, at + len(_OWNERS) + len(raw)) if at > 0 else (0, 0)
        return span

    @property
    def data(self) -> bytes:
        """The whole object as answered by get."""
        return self.head + self.tail

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def labels(self) -> dict[str, str]:
        if self._labels is None:
            self._labels = _labels_decoder.decode(b"{" + self.tail).metadata.labels or {}
        return self._labels

    def peek(self, select: Callable[[bytes], Any]) -> dict[str, str]:
        """As ``fields``, not remembered."""
        return self._fields if self._fields is not None else dict(select(b"{" + self.tail))

    def fields(self, select: Callable[[bytes], Any]) -> dict[str, str]:
        """The selectable fields, by the strategy's ``select_fields``."""
        if self._fields is None:
            self._fields = dict(select(b"{" + self.tail))
        return self._fields

    def restamped(self, revision: int) -> bytes:
        """The tail with another revision: what a DELETED event carries."""
        return stamp(revision) + self.tail[len(stamp(self.revision)) :]

    def moved(self, revision: int) -> Entry:
        """The same state under another revision."""
        return Entry(self.head, self.restamped(revision), self.namespace, self.name, revision)


class CacheEvent:
    """One change as the cache saw it; also a :class:`kutter.apiserver.ports.Change`.

    For DELETED ``current`` is the last state stamped with the deletion's revision.
    """

    __slots__ = ("current", "previous", "revision", "type")

    def __init__(
        self, type: EventType, current: Entry, previous: Entry | None, revision: int
    ) -> None:
        self.type: EventType = type
        self.current = current
        self.previous = previous
        self.revision = revision


class ResourceCache:
    """All objects of one stored resource, its recent history and its listeners."""

    def __init__(
        self,
        resource: Resource,
        *,
        history_limit: int = HISTORY_LIMIT,
        refine: Refine | None = None,
    ) -> None:
        """``refine`` brings values of an older form into today's; None: they are in it.

        ``outdated`` has the keys of objects that would be stored differently today: a write
        that changes nothing else still rewrites them, which is how stored versions are migrated.
        """
        self.resource = resource
        self.outdated: set[str] = set()
        self._refine = refine
        self.head = head_of(resource)
        self.prefix = resource.storage_prefix + "/"
        self.revision = 0  # of the newest change of this resource
        self.history_floor = 0  # every event after this revision is still in the history
        self._history: deque[CacheEvent] = deque()
        self._history_limit = history_limit
        self._history_bytes = 0
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._indexes: dict[str, FieldIndex] = {}
        self.listeners: list[Callable[[CacheEvent], None]] = []
        # Shared by the caches of one server, which feeds them commit by commit.
        self.batch = Batch()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, namespace: str, name: str) -> Entry | None:
        return self._entries.get(f"{namespace}/{name}" if namespace else name)

    def bounds(self, namespace: str, after: str = "") -> tuple[int, int]:
        """Positions in key order of a namespace's entries (all if empty), from ``after`` on."""
        keys = self._keys
        if namespace:
            low, high = bisect_left(keys, namespace + "/"), bisect_left(keys, namespace + "0")
        else:
            low, high = 0, len(keys)
        if after:
            low = max(low, bisect_left(keys, after, low, high))
        return low, high

    def entries(self, namespace: str = "", after: str = "") -> list[Entry]:
        """Entries in key order."""
        low, high = self.bounds(namespace, after)
        entries = self._entries
        if low == 0 and high == len(self._keys):
            return [entries[key] for key in self._keys]
        return [entries[key] for key in self._keys[low:high]]

    def slice(self, low: int, high: int) -> list[Entry]:
        """Entries by position, see :meth:`bounds`."""
        entries = self._entries
        return [entries[key] for key in self._keys[low:high]]

    def entry_of(self, record: Record) -> Entry:
        """An entry made from a stored record (of an older revision)."""
        return self._entry(record.key[len(self.prefix) :], record.value, record.mod_revision)

    def _entry(self, key: str, value: bytes, revision: int, *, note: bool = False) -> Entry:
        """``note``: this is the newest state, so remember whether its form is today's."""
        namespace, _, name = key.rpartition("/")
        head = self.head
        if self._refine is not None:
            stored = value
            head, value = self._refine(stored)
            if note:
                if head == self.head and value is stored:
                    self.outdated.discard(key)
                else:
                    self.outdated.add(key)
        return Entry(head, make_tail(value, head, revision), namespace, name, revision)

    def load(self, records: Iterable[Record], revision: int) -> None:
        """Fill at start, records in key order."""
        for record in records:
            key = record.key[len(self.prefix) :]
            entry = self._entries[key] = self._entry(
                key, record.value, record.mod_revision, note=True
            )
            self.revision = max(self.revision, entry.revision)
        self._keys = sorted(self._entries)
        self.history_floor = revision

    def apply(self, event: Event) -> CacheEvent:
        """Take one store event and tell the listeners."""
        key = event.key[len(self.prefix) :]
        previous = self._entries.get(key)
        revision = event.revision
        if event.kind == "put":
            entry = self._entry(key, event.value, revision, note=True)
            if previous is None:
                insort(self._keys, key)
            self._entries[key] = entry
            for index in self._indexes.values():
                index.put(entry)
            change = CacheEvent("MODIFIED" if previous else "ADDED", entry, previous, revision)
        else:
            if previous is not None:
                del self._entries[key]
                del self._keys[bisect_left(self._keys, key)]
                self.outdated.discard(key)
                for index in self._indexes.values():
                    index.remove(key)
            else:
                previous = self._entry(key, event.value, revision)
            change = CacheEvent("DELETED", previous.moved(revision), previous, revision)
        self.revision = revision
        history = self._history
        history.append(change)
        self._history_bytes += len(change.current.tail)
        while len(history) > self._history_limit or self._history_bytes > HISTORY_LIMIT_BYTES:
            gone = history.popleft()
            self._history_bytes -= len(gone.current.tail)
            self.history_floor = gone.revision
        for listener in self.listeners:
            listener(change)
        return change

    def having(self, field: str, value: str, select: Select) -> list[Entry]:
        """Entries whose ``field`` is ``value``, in key order, without a look at the others.

        ``select`` is the resource's way to its fields. The first question makes the index.
        """
        index = self._indexes.get(field)
        if index is None:
            index = self._indexes[field] = FieldIndex(field, select, self._entries.values())
        return [self._entries[key] for key in index.keys(value)]

    def history_after(self, revision: int) -> Iterator[CacheEvent]:
        """Events with a greater revision. The caller checks ``history_floor`` first."""
        history = self._history
        start = len(history)
        while start and history[start - 1].revision > revision:
            start -= 1
        for index in range(start, len(history)):
            yield history[index]
