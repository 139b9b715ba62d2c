"""The store: keys, revisions, bytes.

Laws every implementation keeps (``tests/contract/store`` checks them):

* One counter, the *revision*, grows by one with every write; it starts at 1 on an empty store
  (so that 0 can mean "any").
* A write is acknowledged only when it is durable. Concurrent writes may share a commit.
* A watch delivers every change below its prefix after its start revision exactly once, in
  order of revision, or ends with :class:`CompactedError` / :class:`SlowWatcherError`.
* A write's event is handed to every watcher before the write is acknowledged, so that whoever
  reads a watch-fed cache after an acknowledged write sees it.
* Values are opaque. Keys are ``/registry/...`` text, ordered by code point.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, NamedTuple, Protocol


class Record(NamedTuple):
    """One key's value. ``version`` of etcd is not kept: nobody here reads it."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int


class Event(NamedTuple):
    """One change. For ``delete``, ``value`` is the last value and ``revision`` the deletion's.

    ``previous`` is the value before a put of an existing key (None when it was created, or when
    that value is not at hand); ``previous_revision`` is the mod revision before this change (0:
    there was nothing).
    """

    kind: Literal["put", "delete"]
    key: str
    value: bytes
    previous: bytes | None
    create_revision: int
    revision: int
    previous_revision: int


class RangeResult(NamedTuple):
    """``revision`` is the store's at reading; ``remaining`` counts keys left out by the limit."""

    records: list[Record]
    revision: int
    remaining: int


class StoreError(Exception):
    """Base of what a store raises."""


class CompactedError(StoreError):
    """The revision asked for is no longer kept. ``oldest`` is the oldest that is."""

    def __init__(self, requested: int, oldest: int) -> None:
        super().__init__(f"revision {requested} is compacted, oldest kept is {oldest}")
        self.requested = requested
        self.oldest = oldest


class FutureRevisionError(StoreError):
    """The revision asked for lies ahead of the store."""

    def __init__(self, requested: int, current: int) -> None:
        super().__init__(f"revision {requested} is ahead of the store's {current}")
        self.requested = requested
        self.current = current


class WriteConflictError(StoreError):
    """The key was not at the expected revision; ``current`` is what is there (None: nothing)."""

    def __init__(self, key: str, current: Record | None) -> None:
        super().__init__(f"{key} is not at the expected revision")
        self.key = key
        self.current = current


class SlowWatcherError(StoreError):
    """The watcher did not keep up with its bounded queue and was cut off."""


class Watch(Protocol):
    """A running watch: iterate over batches of events, in order, none empty.

    A batch may also be empty to report progress: then ``revision`` has moved without a change
    below the prefix. Closing is idempotent.
    """

    @property
    def revision(self) -> int: ...

    def __aiter__(self) -> AsyncIterator[list[Event]]: ...

    def close(self) -> None: ...


class EventSink(Protocol):
    """A synchronous receiver, called on the loop with each commit's events in order.

    It must not block or raise. This is how an in-process cache stays exactly as new as the
    store's acknowledgements.
    """

    def __call__(self, events: list[Event], revision: int) -> None: ...


class Store(Protocol):
    """Every method raises :class:`StoreError` subclasses or ``OSError`` for a failing disk."""

    @property
    def revision(self) -> int:
        """The newest acknowledged revision."""

    @property
    def oldest_revision(self) -> int:
        """The oldest revision a range or watch may ask for."""

    @property
    def size_bytes(self) -> int:
        """What it takes on disk; 0 for one that is in memory."""

    async def get(self, key: str, *, revision: int = 0) -> Record | None:
        """The record at ``revision`` (0: newest)."""

    async def range(
        self, start: str, end: str, *, revision: int = 0, limit: int = 0
    ) -> RangeResult:
        """Records with ``start <= key < end`` in key order, at ``revision`` (0: newest)."""

    async def count(self, start: str, end: str) -> int:
        """How many keys a range holds now."""

    async def put(
        self, key: str, value: bytes, *, expected: int | None = None, ttl_s: float | None = None
    ) -> Record:
        """Write if the key's mod revision is ``expected`` (0: must not exist, None: any).

        With ``ttl_s`` the store deletes the key by itself that many seconds later.
        Raises WriteConflictError.
        """

    async def delete(
        self, key: str, *, expected: int | None = None, last: bytes | None = None
    ) -> tuple[Record, int] | None:
        """Delete; answers the last record and the deletion's revision, None if absent.

        With ``last`` the key is given that value first: watchers see both changes, nobody can
        come in between, and both are one commit. Raises WriteConflictError when the record is
        at another revision than ``expected``.
        """

    def watch(self, prefix: str, *, after: int, queue_limit: int = 10_000) -> Watch:
        """Changes below ``prefix`` with a revision greater than ``after``.

        Raises CompactedError or FutureRevisionError.
        """

    def subscribe(self, prefix: str, sink: EventSink) -> None:
        """Feed ``sink`` from the next commit on; call before reading to miss nothing."""

    def unsubscribe(self, sink: EventSink) -> None:
        """Stop feeding ``sink``."""

    async def compact(self, revision: int, *, at_once: bool = True) -> None:
        """Forget history before ``revision`` (current values stay).

        It can no longer be read from here on. What it took up is given back before this
        returns: ahead of any write, or (not ``at_once``) along with the writes of others.
        """

    async def close(self) -> None:
        """Finish what is acknowledged and release files."""


def prefix_end(prefix: str) -> str:
    """The first key after all keys that start with ``prefix``."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
