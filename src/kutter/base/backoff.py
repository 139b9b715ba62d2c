"""Exponential delays with a bound and a little jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """``next()`` grows from ``initial_s`` by ``factor`` up to ``maximum_s``."""

    initial_s: float = 0.005
    maximum_s: float = 60.0
    factor: float = 2.0
    jitter: float = 0.1
    _attempts: int = field(default=0, init=False)

    def next(self) -> float:
        """The next delay in seconds."""
        delay = min(self.maximum_s, self.initial_s * self.factor ** min(self._attempts, 62))
        self._attempts += 1
        spread = delay * self.jitter
        return delay + random.uniform(0, spread)  # noqa: S311  (jitter, not a secret)

    def reset(self) -> None:
        """Start again from ``initial_s``."""
        self._attempts = 0
