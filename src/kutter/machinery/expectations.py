"""What a controller has asked for and not yet seen in its informer.

Without it a controller that acts on a slightly old copy would create or delete twice.
Expectations that are not met within five minutes lapse, so a lost event cannot block for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kutter.base.clock import SYSTEM_CLOCK, Clock

TIMEOUT_S = 300.0


@dataclass(slots=True)
class _Expected:
    creations: int = 0
    deletions: set[str] = field(default_factory=set)
    since: float = 0.0


class Expectations:
    """Per controller key: creations by count, deletions by uid."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._expected: dict[str, _Expected] = {}

    def expect_creations(self, key: str, count: int) -> None:
        entry = self._entry(key)
        entry.creations += count

    def expect_deletion(self, key: str, uid: str) -> None:
        self._entry(key).deletions.add(uid)

    def _entry(self, key: str) -> _Expected:
        entry = self._expected.get(key)
        if entry is None:
            entry = self._expected[key] = _Expected()
        entry.since = self._clock.monotonic()
        return entry

    def creation_observed(self, key: str) -> None:
        entry = self._expected.get(key)
        if entry is not None and entry.creations > 0:
            entry.creations -= 1
            self._prune(key, entry)

    def deletion_observed(self, key: str, uid: str) -> None:
        entry = self._expected.get(key)
        if entry is not None:
            entry.deletions.discard(uid)
            self._prune(key, entry)

    def _prune(self, key: str, entry: _Expected) -> None:
        if not entry.creations and not entry.deletions:
            self._expected.pop(key, None)

    def satisfied(self, key: str) -> bool:
        """Whether everything asked for has been seen, or has lapsed."""
        entry = self._expected.get(key)
        if entry is None:
            return True
        if self._clock.monotonic() - entry.since > TIMEOUT_S:
            del self._expected[key]
            return True
        return False

    def forget(self, key: str) -> None:
        """The owner is gone."""
        self._expected.pop(key, None)
