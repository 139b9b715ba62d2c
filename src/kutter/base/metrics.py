"""Counters, gauges and histograms, written as Prometheus text (exposition format 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeVar

DEFAULT_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metric:
    """One name with all its series. ``render`` makes a line of each."""

    kind = "untyped"

    def __init__(self, name: str, description: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.description = description
        self.labels = tuple(labels)

    def render(self) -> list[str]:
        raise NotImplementedError

    def _series(self, values: tuple[str, ...], extra: str = "") -> str:
        pairs = [f'{k}="{_escape(v)}"' for k, v in zip(self.labels, values, strict=True)]
        if extra:
            pairs.append(extra)
        return "{" + ",".join(pairs) + "}" if pairs else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Counter(Metric):
    """Only ever grows."""

    kind = "counter"

    def __init__(self, name: str, description: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, description, labels)
        self._values: dict[tuple[str, ...], float] = {}

    def inc(self, *values: str, by: float = 1.0) -> None:
        self.inc_series(values, by)

    def inc_series(self, values: tuple[str, ...], by: float = 1.0) -> None:
        """As :meth:`inc`, for who keeps the labels of a series together."""
        self._values[values] = self._values.get(values, 0.0) + by

    def value(self, *values: str) -> float:
        return self._values.get(values, 0.0)

    def render(self) -> list[str]:
        return [f"{self.name}{self._series(k)} {format_number(v)}" for k, v in self._values.items()]


class Gauge(Counter):
    """Goes up and down; may be computed when read."""

    kind = "gauge"

    def __init__(
        self,
        name: str,
        description: str,
        labels: Sequence[str] = (),
        read: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(name, description, labels)
        self._read = read

    def set(self, value: float, *values: str) -> None:
        self._values[values] = value

    def render(self) -> list[str]:
        if self._read is not None:
            self._values[()] = self._read()
        return super().render()


class Total(Gauge):
    """A count kept elsewhere, that only grows."""

    kind = "counter"


class Histogram(Metric):
    """Counts observations into buckets."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        description: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = DEFAULT_BUCKETS_S,
    ) -> None:
        super().__init__(name, description, labels)
        self._bounds = tuple(buckets)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def observe(self, value: float, *values: str) -> None:
        self.observe_series(value, values)

    def observe_series(self, value: float, values: tuple[str, ...]) -> None:
        """As :meth:`observe`, for who keeps the labels of a series together."""
        counts = self._counts.get(values)
        if counts is None:
            counts = self._counts[values] = [0] * (len(self._bounds) + 1)
            self._sums[values] = 0.0
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[values] += value

    def render(self) -> list[str]:
        lines = []
        for key, counts in self._counts.items():
            total = 0
            edges = [*map(format_number, self._bounds), "+Inf"]
            for edge, count in zip(edges, counts, strict=True):
                total += count
                series = self._series(key, f'le="{edge}"')
                lines.append(f"{self.name}_bucket{series} {total}")
            lines.append(f"{self.name}_sum{self._series(key)} {format_number(self._sums[key])}")
            lines.append(f"{self.name}_count{self._series(key)} {total}")
        return lines


def format_number(value: float) -> str:
    """A value as Prometheus reads it."""
    return str(int(value)) if value == int(value) else repr(value)


M = TypeVar("M", bound=Metric)


class Registry:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def add(self, metric: M) -> M:
        assert metric.name not in self._metrics, metric.name
        self._metrics[metric.name] = metric
        return metric

    def render(self) -> bytes:
        """The whole registry as Prometheus text."""
        lines: list[str] = []
        for metric in self._metrics.values():
            lines += [
                f"# HELP {metric.name} {metric.description}",
                f"# TYPE {metric.name} {metric.kind}",
                *metric.render(),
            ]
        return ("\n".join(lines) + "\n").encode()
