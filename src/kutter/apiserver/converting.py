"""Objects of one resource between the stored version and a served one, where that takes more
than another head and may have to wait for the network.

Between storage, verbs and watches, which work in the served version throughout, and whoever
knows how to convert (:mod:`kutter.apiserver.custom.conversion`). Kinds that need no conversion
have no :class:`Converter`: all it costs them is one look at an attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from kutter.apiserver.cache import CacheEvent, Entry
from kutter.apiserver.ports import Tree

Made = TypeVar("Made")


class Converter(Protocol):
    """Between what is stored and one served version. Raises ApiError where it cannot be done."""

    def ready(self, entry: Entry) -> Entry | None:
        """A stored entry in this version; None when that has to be waited for."""
        ...

    async def entries(self, entries: Sequence[Entry]) -> list[Entry]:
        """Stored entries in this version, in order."""
        ...

    async def to_stored(self, tree: Tree) -> Tree:
        """A tree of this version in the one that is stored."""
        ...

    def translate(self, tree: Tree, api_version: str) -> Tree:
        """A tree of any version in another one. Leaves ``tree`` alone.

        Call it inside of ``run``: where it has to wait, it raises what ``run`` waits for.
        """
        ...

    async def run(self, step: Callable[[], Made]) -> Made:
        """What ``step``, which translates, returns. It is called again for each wait, so it must
        leave everything else as it is.
        """
        ...


async def converted(converter: Converter | None, entry: Entry) -> Entry:
    """One entry as a version shows it."""
    if converter is None:
        return entry
    ready = converter.ready(entry)
    return ready if ready is not None else (await converter.entries([entry]))[0]


def ready_event(converter: Converter, event: CacheEvent, *, selects: bool) -> CacheEvent | None:
    """A change in a version; None when that has to be waited for.

    ``selects``: somebody wants to know what the object was like before.
    """
    previous: Entry | None = None
    if event.previous is not None and (selects or event.type == "DELETED"):
        previous = converter.ready(event.previous)
        if previous is None:
            return None
    if event.type == "DELETED":
        assert previous is not None, "a deletion has a state before"
        return CacheEvent("DELETED", previous.moved(event.revision), previous, event.revision)
    current = converter.ready(event.current)
    return None if current is None else CacheEvent(event.type, current, previous, event.revision)


async def convert_events(
    converter: Converter, events: Sequence[CacheEvent], *, selects: bool
) -> list[CacheEvent]:
    """Changes in a version, all their states converted together."""
    wanted: list[Entry] = []
    places: list[tuple[int, int]] = []
    for event in events:
        current = previous = -1
        if event.type != "DELETED":
            current = len(wanted)
            wanted.append(event.current)
        if event.previous is not None and (selects or event.type == "DELETED"):
            previous = len(wanted)
            wanted.append(event.previous)
        places.append((current, previous))
    found = await converter.entries(wanted)
    changes: list[CacheEvent] = []
    for event, (now, then) in zip(events, places, strict=True):
        before = found[then] if then >= 0 else None
        if now >= 0:
            after = found[now]
        else:
            assert before is not None, "a deletion has a state before"
            after = before.moved(event.revision)
        changes.append(CacheEvent(event.type, after, before, event.revision))
    return changes
