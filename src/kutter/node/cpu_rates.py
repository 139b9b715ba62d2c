"""From cumulative CPU time to use per second, without a timer.

Keeps the last sample of each thing that was asked about. A rate is taken over at least a second
where there is one; who asks for the first time gets it from a second look shortly after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# A shorter distance between two samples says little; the older one is kept then.
LEAST_NS = 1_000_000_000
# An older sample is an average over too long a time to be "now".
MOST_NS = 60 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """Cumulative CPU time at one moment, both in nanoseconds."""

    at_ns: int
    cpu_ns: int


class CpuRates:
    """Rates by key; what is no longer sampled is forgotten, so memory is bounded by what runs."""

    def __init__(self) -> None:
        self._before: dict[str, Sample] = {}

    def lacks(self, samples: Mapping[str, Sample]) -> bool:
        """Whether some key has no usable earlier sample: take these, then look again."""
        return any(not self._is_usable(key, now) for key, now in samples.items())

    def _is_usable(self, key: str, now: Sample) -> bool:
        before = self._before.get(key)
        return before is not None and 0 < now.at_ns - before.at_ns <= MOST_NS

    def remember(self, samples: Mapping[str, Sample]) -> None:
        """Keep ``samples`` as the earlier ones, except where those kept are recent enough."""
        kept = {}
        for key, now in samples.items():
            before = self._before.get(key)
            recent = before is not None and now.at_ns - before.at_ns < LEAST_NS
            kept[key] = before if before is not None and recent else now
        self._before = kept

    def rate(self, key: str, now: Sample) -> int:
        """Nanocores (CPU nanoseconds per second) since the earlier sample; 0 without one."""
        before = self._before.get(key)
        if before is None or now.at_ns <= before.at_ns:
            return 0
        used = max(0, now.cpu_ns - before.cpu_ns)
        return used * 1_000_000_000 // (now.at_ns - before.at_ns)
