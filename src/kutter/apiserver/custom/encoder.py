"""Lists of custom objects: unlike built-in ones their items say what they are."""

from __future__ import annotations

from collections.abc import Sequence

from kutter.apiserver.cache import Entry
from kutter.apiserver.encoders import ListMeta, ObjectEncoder


class CustomEncoder(ObjectEncoder):
    def encode_list(self, entries: Sequence[Entry], meta: ListMeta) -> bytes:
        parts = [self._list_head, meta.encode(), b',"items":[']
        parts.append(b",".join([self._head + self._tail(entry) for entry in entries]))
        parts.append(b"]}")
        return b"".join(parts)
