"""A clock that can be pushed forward: for leases, deadlines and tolerations in tests."""

from __future__ import annotations

from datetime import datetime, timedelta

from kutter.base.clock import SystemClock


class ShiftedClock(SystemClock):
    """Real time plus what :meth:`advance` has added. Waiting is real: only stamps are shifted."""

    def __init__(self) -> None:
        self._shift_s = 0.0

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass at once."""
        self._shift_s += seconds

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._shift_s)

    def monotonic(self) -> float:
        return super().monotonic() + self._shift_s
