"""Who is called again: what mutating webhooks and policies remember of a request's first round.

The chain runs its mutating step a second time when something has changed; then only those are
called that were before, want it (``reinvocationPolicy: IfNeeded``), and had something changed after
them.
"""

from __future__ import annotations

from typing import Any

import orjson


class Rounds:
    """Of one plugin, for one request."""

    def __init__(self) -> None:
        self._called: set[str] = set()
        self._again: set[str] = set()
        self._last = b""

    def begin(self, tree: Any, *, again: bool) -> None:
        """The plugin's turn; ``again`` in the second round."""
        if again and self._last != fingerprint(tree):
            self.changed()

    def skips(self, key: str, *, again: bool) -> bool:
        return again and key not in self._again

    def changed(self) -> None:
        """All that were called until now want to know."""
        self._again |= self._called
        self._called = set()

    def called(self, key: str) -> None:
        self._called.add(key)

    def end(self, tree: Any) -> None:
        if self._called or self._again:
            self._last = fingerprint(tree)


def fingerprint(tree: Any) -> bytes:
    """What two equal objects have in common."""
    return orjson.dumps(tree, option=orjson.OPT_SORT_KEYS)
