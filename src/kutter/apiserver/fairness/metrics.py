"""Metrics of priority and fairness, named as upstream's; written from the levels' own counts.

Nothing is counted twice: levels and flows count for themselves, and a scrape reads them.
"""

from __future__ import annotations

from kutter.apiserver.fairness.fairness import Fairness
from kutter.base.metrics import Gauge, Histogram, Registry, Total

_PREFIX = "apiserver_flowcontrol_"
_LEVEL = ("priority_level",)


class FairnessMetrics:
    """``publish`` before a scrape."""

    def __init__(self, registry: Registry) -> None:
        def add(name: str, text: str) -> Gauge:
            return registry.add(Gauge(_PREFIX + name, text, _LEVEL))

        self._rejected = registry.add(
            Total(
                _PREFIX + "rejected_requests_total",
                "Number of requests rejected by API Priority and Fairness subsystem",
                ("priority_level", "flow_schema", "reason"),
            )
        )
        self._dispatched = registry.add(
            Total(
                _PREFIX + "dispatched_requests_total",
                "Number of requests executed by API Priority and Fairness subsystem",
                ("priority_level", "flow_schema"),
            )
        )
        self.waits = registry.add(
            Histogram(
                _PREFIX + "request_wait_duration_seconds",
                "Length of time a request spent waiting in its queue",
                ("priority_level", "flow_schema", "execute"),
                (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
            )
        )
        self._inqueue = add("current_inqueue_requests", "Number of requests waiting in queues")
        self._inqueue_seats = add("current_inqueue_seats", "Number of seats waiting in queues")
        self._executing = add("current_executing_requests", "Number of requests being executed")
        self._seats = add("current_executing_seats", "Number of seats taken by executing requests")
        self._nominal = add("nominal_limit_seats", "Nominal number of execution seats")
        self._lower = add("lower_limit_seats", "Configured lower bound on execution seats")
        self._upper = add("upper_limit_seats", "Configured upper bound on execution seats")
        self._current = add("current_limit_seats", "Current derived number of execution seats")
        self._high = add("demand_seats_high_watermark", "High watermark of seats demanded")
        self._smoothed = add("demand_seats_smoothed", "Smoothed seat demands")
        self._target = add("target_seats", "Seat allocation targets")
        self._fair = registry.add(
            Gauge(
                _PREFIX + "seat_fair_frac",
                "Fair fraction of server's concurrency to allocate to each priority level",
            )
        )

    def publish(self, fairness: Fairness) -> None:
        self._fair.set(fairness.fair_fraction)
        for flow in fairness.flows:
            self._dispatched.set(flow.dispatched, flow.level.name, flow.name)
        for name, level in fairness.levels.items():
            for (schema, reason), count in level.rejected.items():
                self._rejected.set(count, name, schema, reason)
            self._inqueue.set(level.waiting, name)
            self._inqueue_seats.set(level.seats_waiting, name)
            self._executing.set(level.executing, name)
            self._seats.set(level.taken, name)
            self._nominal.set(level.bounds.nominal, name)
            self._lower.set(level.bounds.lower, name)
            self._upper.set(level.bounds.upper, name)
            self._current.set(level.limit, name)
            self._high.set(level.high, name)
            self._smoothed.set(level.smoothed, name)
            self._target.set(level.target, name)
