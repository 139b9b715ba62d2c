"""A store whose values are encrypted on their way in and decrypted on their way out.

Between the API server and any :class:`kutter.store.interface.Store`. Laws: what the inner store
is given of covered keys is ciphertext; what the API server gets is what it wrote; each value is
decrypted once, when the read caches take it in. Keys that are not covered cost one comparison.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import msgspec

from kutter.api.resources import Resource
from kutter.apiserver.encryption.configuration import EncryptionConfiguration
from kutter.apiserver.encryption.providers import DecryptionError, Transformer, build_transformer
from kutter.base.log import get_logger
from kutter.store.interface import (
    Event,
    EventSink,
    RangeResult,
    Record,
    Store,
    StoreError,
    Watch,
    WriteConflictError,
    prefix_end,
)

_ROOT = "/registry/"
# Written for an hour and gone: not worth writing again when keys change.
_SHORT_LIVED = "/registry/events/"
_PAGE = 500
_log = get_logger("encryption")


class Rule(msgspec.Struct, frozen=True):
    """Keys that begin with one of ``prefixes`` are ``transformer``'s."""

    prefixes: tuple[str, ...]
    transformer: Transformer


class Rules:
    """All rules, in order: the first that covers a key is the one."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self.prefixes = tuple(p for rule in rules for p in rule.prefixes)

    def transformer_of(self, key: str) -> Transformer | None:
        if not key.startswith(self.prefixes):
            return None
        return next(r.transformer for r in self._rules if key.startswith(r.prefixes))


def build_rules(
    configuration: EncryptionConfiguration, catalog: Callable[[], Iterable[Resource]]
) -> Rules:
    """The rules by the keys their resources are stored under. Raises ConfigurationError."""
    stored = [resource for resource in catalog() if resource.storage_prefix]
    return Rules(
        [
            Rule(
                tuple(p for name in rule.resources for p in _prefixes_of(name, stored)),
                build_transformer(rule.providers),
            )
            for rule in configuration.resources
        ]
    )


def _prefixes_of(name: str, stored: Sequence[Resource]) -> list[str]:
    plural, _, group = name.partition(".")
    if name == "*.*":
        return [_ROOT]
    found = [
        f"{resource.storage_prefix}/"
        for resource in stored
        if resource.group == group and plural in ("*", resource.plural)
    ]
    if plural == "*":
        # Custom resources of the group, defined now or later.
        return [*dict.fromkeys(found), *([f"{_ROOT}{group}/"] if group else [])]
    # A resource that is not there yet is a custom one.
    return found or [f"{_ROOT}{group}/{plural}/" if group else f"{_ROOT}{plural}/"]


class EncryptedStore:
    """See :class:`kutter.store.interface.Store`.

    ``problem`` says what could not be decrypted since the start; it belongs into the health
    checks, as the read caches miss it.
    """

    def __init__(self, inner: Store, rules: Rules) -> None:
        self._inner = inner
        self.rules = rules
        self._sinks: list[tuple[EventSink, EventSink]] = []
        self.problem = ""

    @property
    def revision(self) -> int:
        return self._inner.revision

    @property
    def oldest_revision(self) -> int:
        return self._inner.oldest_revision

    @property
    def size_bytes(self) -> int:
        return self._inner.size_bytes

    # -- reading -------------------------------------------------------------------------

    async def get(self, key: str, *, revision: int = 0) -> Record | None:
        record = await self._inner.get(key, revision=revision)
        return self._open(record) if record is not None else None

    async def range(
        self, start: str, end: str, *, revision: int = 0, limit: int = 0
    ) -> RangeResult:
        found = await self._inner.range(start, end, revision=revision, limit=limit)
        return found._replace(records=[self._open(record) for record in found.records])

    async def count(self, start: str, end: str) -> int:
        return await self._inner.count(start, end)

    def _open(self, record: Record) -> Record:
        transformer = self.rules.transformer_of(record.key)
        if transformer is None:
            return record
        try:
            return record._replace(value=transformer.open(record.value, record.key))
        except DecryptionError as error:
            raise StoreError(str(error)) from error

    # -- writing -------------------------------------------------------------------------

    async def put(
        self, key: str, value: bytes, *, expected: int | None = None, ttl_s: float | None = None
    ) -> Record:
        transformer = self.rules.transformer_of(key)
        if transformer is None:
            return await self._inner.put(key, value, expected=expected, ttl_s=ttl_s)
        sealed = transformer.seal(value, key)
        try:
            record = await self._inner.put(key, sealed, expected=expected, ttl_s=ttl_s)
        except WriteConflictError as error:
            raise self._plain_conflict(error) from None
        return record._replace(value=value)

    async def delete(
        self, key: str, *, expected: int | None = None, last: bytes | None = None
    ) -> tuple[Record, int] | None:
        transformer = self.rules.transformer_of(key) if last is not None else None
        if last is not None and transformer is not None:
            last = transformer.seal(last, key)
        try:
            found = await self._inner.delete(key, expected=expected, last=last)
        except WriteConflictError as error:
            raise self._plain_conflict(error) from None
        return (self._open(found[0]), found[1]) if found is not None else None

    def _plain_conflict(self, error: WriteConflictError) -> WriteConflictError:
        current = error.current
        return WriteConflictError(error.key, self._open(current) if current is not None else None)

    # -- following -----------------------------------------------------------------------

    def subscribe(self, prefix: str, sink: EventSink) -> None:
        def take(events: list[Event], revision: int) -> None:
            sink(self._open_events(events), revision)

        self._sinks.append((sink, take))
        self._inner.subscribe(prefix, take)

    def unsubscribe(self, sink: EventSink) -> None:
        for known, take in list(self._sinks):
            if known == sink:
                self._sinks.remove((known, take))
                self._inner.unsubscribe(take)

    def watch(self, prefix: str, *, after: int, queue_limit: int = 10_000) -> Watch:
        return _Watch(self._inner.watch(prefix, after=after, queue_limit=queue_limit), self)

    def _open_events(self, events: list[Event]) -> list[Event]:
        prefixes = self.rules.prefixes
        if not any(event.key.startswith(prefixes) for event in events):
            return events
        found = []
        for event in events:
            try:
                found.append(self._open_event(event))
            except DecryptionError as error:
                # Another server wrote with a key that is not here. A sink must not be raised
                # into; the health check tells, and the caches lack what cannot be read.
                self.problem = str(error)
                _log.error("change not readable", error=str(error))
        return found

    def _open_event(self, event: Event) -> Event:
        transformer = self.rules.transformer_of(event.key)
        if transformer is None:
            return event
        previous = event.previous
        return event._replace(
            value=transformer.open(event.value, event.key),
            previous=transformer.open(previous, event.key) if previous is not None else None,
        )

    async def compact(self, revision: int, *, at_once: bool = True) -> None:
        await self._inner.compact(revision, at_once=at_once)

    async def close(self) -> None:
        await self._inner.close()

    # -- keys change -----------------------------------------------------------------------

    async def is_stale(self, key: str) -> bool:
        """Whether what is stored at ``key`` was written with another key than today's."""
        transformer = self.rules.transformer_of(key)
        if transformer is None:
            return False
        record = await self._inner.get(key)
        return record is not None and transformer.is_stale(record.value)

    async def rewrite_stale(self) -> int:
        """Write every stale value again, as it is; answers how many. Raises StoreError, OSError.

        Each becomes a change with a new revision, as a write of the same object is upstream. A
        value that changes meanwhile is left to whoever changed it: that was written with
        today's key.
        """
        written = 0
        for prefix in dict.fromkeys(self.rules.prefixes):
            start, end = prefix, prefix_end(prefix)
            while start:
                page = await self._inner.range(start, end, limit=_PAGE)
                for record in page.records:
                    written += await self._rewrite(record)
                start = page.records[-1].key + "\0" if page.remaining else ""
        return written

    async def _rewrite(self, record: Record) -> bool:
        transformer = self.rules.transformer_of(record.key)
        if (
            transformer is None
            or record.key.startswith(_SHORT_LIVED)
            or not transformer.is_stale(record.value)
        ):
            return False
        plain = self._open(record).value
        try:
            await self.put(record.key, plain, expected=record.mod_revision)
        except WriteConflictError:
            return False
        return True


class _Watch:
    """A watch of the inner store, decrypted."""

    def __init__(self, inner: Watch, store: EncryptedStore) -> None:
        self._inner = inner
        self._store = store

    @property
    def revision(self) -> int:
        return self._inner.revision

    def __aiter__(self) -> AsyncIterator[list[Event]]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[list[Event]]:
        async for events in self._inner:
            yield self._store._open_events(events)

    def close(self) -> None:
        self._inner.close()
