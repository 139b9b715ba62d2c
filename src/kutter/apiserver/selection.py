"""Which objects of a resource a list, watch or deletecollection is about.

Between the query's selectors and the cache's entries. Metadata name and namespace are compared
without decoding; labels and fields are decoded once per entry and only when asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kutter.api.errors import bad_request
from kutter.api.selectors import FieldTerm, Selector, SelectorError, parse_fields, parse_labels
from kutter.apiserver.cache import CacheEvent, Entry, EventType, ResourceCache
from kutter.apiserver.kinds.strategy import Strategy

# Pinned by every node: asking for one's own pods must not cost a look at all of them.
INDEXED = ("spec.nodeName",)
_ALWAYS = frozenset({"metadata.name", "metadata.namespace"})


class Selection:
    """Namespace, label selector and field selector together."""

    __slots__ = ("_fields", "_labels", "namespace", "plain", "select", "selects")

    def __init__(
        self,
        namespace: str,
        labels: Selector | None = None,
        fields: Sequence[FieldTerm] = (),
        select: Callable[[bytes], Any] | None = None,
    ) -> None:
        self.namespace = namespace
        self._labels = labels
        self._fields = tuple(fields)
        self.select = select
        self.selects = labels is not None or bool(self._fields)
        self.plain = not self.selects and not namespace

    def exact(self, field: str) -> str | None:
        """The value a field is pinned to, or None."""
        for name, equal, value in self._fields:
            if name == field and equal:
                return value
        return None

    @property
    def indexed(self) -> bool:
        """Whether a field is pinned that there is an index for."""
        return self.select is not None and any(self.exact(f) is not None for f in INDEXED)

    def candidates(self, cache: ResourceCache) -> list[Entry]:
        """What of the cache has to be looked at, in key order: mostly all of the namespace."""
        for field in INDEXED:
            value = self.exact(field)
            if value is not None and self.select is not None:
                found = cache.having(field, value, self.select)
                if self.namespace:
                    found = [entry for entry in found if entry.namespace == self.namespace]
                return found
        return cache.entries(self.namespace)

    def matches(self, entry: Entry) -> bool:
        """Whether the selectors match (the namespace is not looked at)."""
        if self._labels is not None and not self._labels.matches(entry.labels):
            return False
        for field, equal, value in self._fields:
            if field == "metadata.name":
                actual = entry.name
            elif field == "metadata.namespace":
                actual = entry.namespace
            else:
                assert self.select is not None
                actual = entry.fields(self.select).get(field, "")
            if (actual == value) is not equal:
                return False
        return True

    def seen_as(self, event: CacheEvent) -> EventType | None:
        """How a change looks to someone who sees only the selected: enter, change or leave."""
        if self.plain:
            return event.type
        if self.namespace and event.current.namespace != self.namespace:
            return None
        if not self.selects:
            return event.type
        now = event.type != "DELETED" and self.matches(event.current)
        before = event.previous is not None and self.matches(event.previous)
        if now:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else None


def parse_selection(
    strategy: Strategy, namespace: str, label_selector: str, field_selector: str
) -> Selection:
    """Read the query's selectors. Raises 400 for what cannot be read or selected by."""
    labels = None
    if label_selector:
        try:
            labels = parse_labels(label_selector)
        except SelectorError as error:
            raise bad_request(str(error)) from error
        if labels.empty:
            labels = None
    fields: tuple[FieldTerm, ...] = ()
    if field_selector:
        try:
            fields = parse_fields(field_selector).terms
        except SelectorError as error:
            raise bad_request(str(error)) from error
        for term in fields:
            if term.field not in _ALWAYS and term.field not in strategy.field_labels:
                raise bad_request(_unsupported(strategy, term.field))
    return Selection(namespace, labels, fields, strategy.select_fields)


def _unsupported(strategy: Strategy, field: str) -> str:
    if strategy.field_labels:
        return f"field label not supported: {field}"
    return f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
