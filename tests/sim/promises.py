"""The judge of crash runs: what a store promised, against what was written and seen.

Pure. It gets every write that was sent (with its answer, if one came) and every session of every
watcher, and answers with sentences about broken promises; none means the run was sound. The
promises (``kutter.store.interface``, and upstream's for watches):

* an acknowledged write is never lost, a refused one never seen, one without an answer happens
  at most once;
* a session tells every change after the revision it resumed from: in order, once, none left out;
* all sessions, also before and after a crash, tell the same history;
* a write that expected a revision replaced exactly that revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["acknowledged", "refused", "unknown"]


@dataclass(slots=True)
class Write:
    """One write. ``value`` is unique per put and None for a deletion; ``expected`` as in
    ``Store.put`` (None: any, 0: must not exist); ``revision`` is the acknowledged one."""

    key: str
    value: str | None
    expected: int | None = None
    outcome: Outcome = "unknown"
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """One event as a watcher got it; ``value`` is None for a deletion."""

    key: str
    value: str | None
    revision: int


@dataclass(slots=True)
class Session:
    """One watch from ``after`` on. ``told_until`` is what the watcher knows to be complete: its
    last event, or a bookmark's revision."""

    watcher: str
    after: int
    events: list[Seen] = field(default_factory=list)
    bookmark: int = 0

    @property
    def told_until(self) -> int:
        last = self.events[-1].revision if self.events else self.after
        return max(last, self.bookmark)


@dataclass(slots=True)
class Listing:
    """All keys as a list answered them at ``revision``: key -> (value, revision)."""

    revision: int
    values: dict[str, tuple[str, int]]


@dataclass(slots=True)
class Run:
    """Everything that happened, over all crashes. ``final`` is read after the last one."""

    writes: list[Write] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)
    final: Listing | None = None


def find_broken_promises(run: Run) -> list[str]:
    """One sentence per broken promise."""
    found = [*_sessions_in_order(run.sessions)]
    history, disagreements = _merge(run.sessions)
    found += disagreements
    found += _acknowledgements(run.writes, history)
    found += _sessions_complete(run.sessions, history)
    found += _origins(run.writes, history)
    found += _expectations(run, history)
    listings = [*run.listings, *([run.final] if run.final else ())]
    found += _listings(listings, history, run.writes)
    return found


def _sessions_in_order(sessions: Iterable[Session]) -> Iterator[str]:
    for session in sessions:
        last = session.after
        for event in session.events:
            if event.revision <= last:
                yield f"{session.watcher} was told revision {event.revision} after {last}"
            last = event.revision


def _merge(sessions: Iterable[Session]) -> tuple[dict[int, Seen], list[str]]:
    """revision -> event, by all who saw it."""
    history: dict[int, Seen] = {}
    disagreements: list[str] = []
    for session in sessions:
        for event in session.events:
            known = history.setdefault(event.revision, event)
            if known != event:
                disagreements.append(
                    f"revision {event.revision} was told as {known} and, to "
                    f"{session.watcher}, as {event}"
                )
    return history, disagreements


def _acknowledgements(writes: Iterable[Write], history: dict[int, Seen]) -> Iterator[str]:
    """Also completes the history by what was acknowledged but nobody watched."""
    for write in writes:
        if write.outcome != "acknowledged":
            continue
        event = Seen(write.key, write.value, write.revision)
        known = history.setdefault(write.revision, event)
        if known != event:
            yield f"{write} was acknowledged, but its revision was told as {known}"


def _sessions_complete(sessions: Iterable[Session], history: dict[int, Seen]) -> Iterator[str]:
    for session in sessions:
        told = {event.revision for event in session.events}
        for revision, event in history.items():
            if session.after < revision <= session.told_until and revision not in told:
                yield (
                    f"{session.watcher}, resumed after {session.after} and told until "
                    f"{session.told_until}, missed {event}"
                )


def _origins(writes: Iterable[Write], history: dict[int, Seen]) -> Iterator[str]:
    by_value = {write.value: write for write in writes if write.value is not None}
    times: dict[str, int] = {}
    for event in history.values():
        if event.value is None:
            continue
        write = by_value.get(event.value)
        times[event.value] = times.get(event.value, 0) + 1
        if write is None or write.key != event.key:
            yield f"{event} was never written"
        elif write.outcome == "refused":
            yield f"{write} was refused, but seen at revision {event.revision}"
        if times[event.value] > 1:
            yield f"{event} happened twice"


def _expectations(run: Run, history: dict[int, Seen]) -> Iterator[str]:
    before: dict[int, Seen | None] = {}
    last: dict[str, Seen] = {}
    for revision in sorted(history):
        event = history[revision]
        before[revision] = last.get(event.key)
        last[event.key] = event
    for write in run.writes:
        if write.outcome != "acknowledged" or write.expected is None:
            continue
        replaced = before[write.revision]
        found = replaced.revision if replaced is not None and replaced.value is not None else 0
        if found != write.expected and not _deleted_unseen(run, write, found):
            yield f"{write} expected revision {write.expected} and replaced {found}"


def _deleted_unseen(run: Run, write: Write, found: int) -> bool:
    """Whether what was at ``found`` may have been deleted, unanswered, while nobody watched."""
    if write.expected != 0 or not any(
        other.key == write.key and other.value is None and other.outcome == "unknown"
        for other in run.writes
    ):
        return False
    covered = found
    for session in sorted(run.sessions, key=lambda session: session.after):
        if session.after <= covered < session.told_until:
            covered = session.told_until
    return covered < write.revision - 1


def _listings(
    listings: Iterable[Listing], history: dict[int, Seen], writes: Iterable[Write]
) -> Iterator[str]:
    """Lists show the newest of the history, or what an unanswered write made of it."""
    unknown = [write for write in writes if write.outcome == "unknown"]
    for listing in listings:
        newest: dict[str, Seen] = {}
        for revision in sorted(history):
            if revision <= listing.revision:
                newest[history[revision].key] = history[revision]
        for key in newest.keys() | listing.values.keys():
            event, shown = newest.get(key), listing.values.get(key)
            if shown == (
                None if event is None or event.value is None else (event.value, event.revision)
            ):
                continue
            if not _explains(unknown, key, event, shown, listing.revision):
                yield f"the list at {listing.revision} shows {shown} at {key} for {event}"


def _explains(
    unknown: Iterable[Write],
    key: str,
    event: Seen | None,
    shown: tuple[str, int] | None,
    revision: int,
) -> bool:
    """Whether a write without an answer, younger than ``event``, made what is shown."""
    after = event.revision if event is not None else 0
    if shown is not None and not after < shown[1] <= revision:
        return False
    value = shown[0] if shown is not None else None
    return any(write.key == key and write.value == value for write in unknown)
