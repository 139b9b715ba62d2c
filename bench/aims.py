"""What each figure is held against: upstream's on two cores of such a machine, and our aim.

Upstream: v1.36.2 with etcd 3.6, measured once for the design brief (its section 2).
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.measure import Figure


@dataclass(frozen=True)
class Aim:
    """``upstream`` and ``aim`` in the figure's own unit; None where there is none."""

    upstream: float | None
    aim: float | None
    more_is_better: bool = True


def _less(upstream: float | None, aim: float | None) -> Aim:
    return Aim(upstream, aim, more_is_better=False)


AIMS: dict[str, Aim] = {
    "fresh start to /readyz": _less(2.6, 0.5),
    "kutter up: to /readyz": _less(2.6, 0.5),
    "kutter up: to first pod Ready": _less(None, 2.0),
    "memory with 0 pods": _less(492, 100),
    "memory with 10000 pods": _less(None, 400),
    "CPU idle with 0 pods": _less(None, 0.3),
    "wake-ups of the busiest thread with 0 pods": _less(None, 1.0),
    "memory of server and agent, idle": _less(627, 150),
    "CPU of server and agent, idle": _less(None, 0.3),
    "timers of their busiest process, idle": _less(None, 1.0),
    "GET pod": Aim(5300, 20_000),
    "POST pod": Aim(1400, 4200),
    "LIST all namespaces of 8500": Aim(7.6, 40),
    "change sent until at 1000 watchers": _less(None, 20),
    "3000 pods created and bound, 1000 nodes": Aim(430, 1300),
    "pod created to Ready, one at a time": _less(183, 90),
    "pod created to Ready, one at a time, p99": _less(None, 250),
    "kutter get pods (50)": _less(None, 150),
    "GET p99 at half of its peak": _less(None, 50),
    "POST p99 at half of its peak": _less(None, 50),
}


def judge(figure: Figure) -> tuple[float | None, float | None, bool | None]:
    """(upstream's, the aim, whether it is met); None for what there is not."""
    aim = AIMS.get(figure.what)
    if aim is None:
        return None, None, None
    if aim.aim is None:
        return aim.upstream, None, None
    met = figure.value >= aim.aim if aim.more_is_better else figure.value <= aim.aim
    return aim.upstream, aim.aim, met and not figure.failed
