"""One commit's changes on their way through the caches: what can wait for the last of them.

Between :class:`kutter.apiserver.caches.Caches`, which takes a commit in one go, and listeners
that would do something dear for each change that is as well done once for all.
"""

from __future__ import annotations

from collections.abc import Callable


class Batch:
    """``active`` while more changes may follow before anything else runs on the loop."""

    __slots__ = ("_ends", "active")

    def __init__(self) -> None:
        self.active = False
        self._ends: list[Callable[[], None]] = []

    def begin(self) -> None:
        self.active = True

    def at_end(self, call: Callable[[], None]) -> None:
        """Only while ``active``."""
        self._ends.append(call)

    def end(self) -> None:
        self.active = False
        ends, self._ends = self._ends, []
        for call in ends:
            call()
