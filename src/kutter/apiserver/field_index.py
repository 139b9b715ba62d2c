"""Which objects have which value of one field: what a node's own pods are is asked all the time.

Between a :class:`~kutter.apiserver.cache.ResourceCache`, which tells of every change, and lists and
watches that pin the field. Made when first asked for, kept from then on. Without it, a node that
starts costs a look at every pod of the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kutter.apiserver.cache import Entry

Select = Callable[[bytes], Any]


class FieldIndex:
    """Keys by value of ``field``; objects without a value are under the empty one."""

    def __init__(self, field: str, select: Select, entries: Iterable[Entry]) -> None:
        self._field = field
        self._select = select
        self._values: dict[str, str] = {}
        self._keys: dict[str, dict[str, None]] = {}
        for entry in entries:
            self.put(entry)

    def put(self, entry: Entry) -> None:
        """The object is this now."""
        # Not remembered with the entry: of most objects nobody asks for their fields again.
        value = str(entry.peek(self._select).get(self._field, ""))
        key = entry.key
        before = self._values.get(key)
        if before == value:
            return
        if before is not None:
            self.remove(key)
        group = self._keys.setdefault(value, {})
        group[key] = None
        self._values[key] = value

    def remove(self, key: str) -> None:
        value = self._values.pop(key, None)
        if value is None:
            return
        group = self._keys[value]
        del group[key]
        if not group:
            del self._keys[value]

    def keys(self, value: str) -> list[str]:
        """The keys of the objects with ``value``, in order."""
        return sorted(self._keys.get(value, ()))
