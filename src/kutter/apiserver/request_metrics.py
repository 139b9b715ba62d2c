"""What ``/metrics`` tells of requests, named and labelled as upstream's.

Between the pipeline, which notes each answered request once, and a scrape, which makes all series
of it: a request costs one look-up and two bisections, whatever is told of it. Callers cannot make
series grow: what is no resource of ours shares one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any

from kutter.apiserver.request_info import RequestInfo
from kutter.base.metrics import Metric, Registry, format_number

DURATIONS_S = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0),
    *(10.0, 15.0, 20.0, 30.0, 45.0, 60.0),
)
_SIZES = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
# Of the durations' bounds, those that service level indicators have.
_SLI_FROM = 2
_VERBS = {
    "get": "GET",
    "list": "LIST",
    "watch": "WATCH",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETECOLLECTION",
}
_CONNECTING = frozenset({"exec", "attach", "portforward", "proxy"})
_READS = frozenset({"GET", "LIST"})
_METHODS = frozenset({"get", "head", "post", "put", "patch", "delete", "options"})
_APPLY = "application/apply-patch"
# Verbs, resources and codes of a large cluster; each series is some 600 bytes, twice.
_SERIES_MAX = 8192
_PATH_MAX = 200
_PLACE = ("component", "group", "resource", "scope", "subresource", "verb", "version")
Labels = tuple[str, ...]
# What is too much, whatever it is.
_OVERFLOW: tuple[Labels, str, str] = (("",) * len(_PLACE), "", "")


class _Series:
    """Requests that are alike in everything that is told of them."""

    __slots__ = ("code", "count", "dry_run", "durations", "place", "sizes", "sum_bytes", "sum_s")

    def __init__(self, place: Labels, dry_run: str, code: str) -> None:
        self.place = place
        self.dry_run = dry_run
        self.code = code
        self.count = 0
        self.sum_s = 0.0
        self.durations = [0] * (len(DURATIONS_S) + 1)
        self.sum_bytes = 0
        self.sizes = [0] * (len(_SIZES) + 1)


class RequestMetrics:
    """``observe`` each answered request; the registry tells of them when it is asked.

    ``known`` tells whether a group, version and resource are served.
    """

    def __init__(self, registry: Registry, known: Callable[[str, str, str], bool]) -> None:
        self._known = known
        self._series: dict[tuple[Any, ...], _Series] = {}
        self._by_label: dict[tuple[Labels, str, str], _Series] = {}
        # Without the time requests waited for a seat: (place) → waits of each bound.
        self._waits: dict[Labels, tuple[list[int], list[float]]] = {}
        self.deprecated: set[tuple[str, str, str, str, str]] = set()
        # Requests being served: those that change something, those that do not.
        self.inflight = [0, 0]
        self.authentications = [0, 0]
        self.authorizations = [0, 0]
        for made in (
            _Total(self),
            _Durations(self),
            _Indicators(self),
            _Sizes(self),
            _Pairs(
                "apiserver_current_inflight_requests",
                "gauge",
                "Requests being served, by kind, that are no watches.",
                "request_kind",
                lambda: {"mutating": self.inflight[1], "readOnly": self.inflight[0]},
            ),
            _Pairs(
                "authentication_attempts",
                "counter",
                "Authentication attempts, by result.",
                "result",
                lambda: {"success": self.authentications[1], "failure": self.authentications[0]},
            ),
            _Pairs(
                "authorization_attempts_total",
                "counter",
                "Authorization attempts, by result.",
                "result",
                lambda: {"allowed": self.authorizations[1], "denied": self.authorizations[0]},
            ),
            _Deprecated(self),
        ):
            registry.add(made)

    def observe(
        self,
        info: RequestInfo,
        status: int,
        duration_s: float,
        *,
        size: int = 0,
        dry_run: str | None = None,
        media: str = "",
        waited_s: float = 0.0,
    ) -> None:
        """Note one answered request."""
        key = (
            info.verb,
            info.group,
            info.version,
            info.resource,
            info.subresource,
            info.name != "",
            info.namespace != "",
            status,
            dry_run,
            media,
            info.path if not info.is_resource else "",
        )
        series = self._series.get(key)
        if series is None:
            series = self._find(key, info, status, dry_run, media)
        series.count += 1
        series.sum_s += duration_s
        series.durations[bisect_left(DURATIONS_S, duration_s)] += 1
        series.sum_bytes += size
        series.sizes[bisect_left(_SIZES, size)] += 1
        if waited_s:
            counts, sums = self._waits.setdefault(
                series.place, ([0] * (len(DURATIONS_S) + 1), [0.0])
            )
            counts[bisect_left(DURATIONS_S, duration_s)] -= 1
            counts[bisect_left(DURATIONS_S, duration_s - waited_s)] += 1
            sums[0] -= waited_s

    def _find(
        self, key: tuple[Any, ...], info: RequestInfo, status: int, dry_run: str | None, media: str
    ) -> _Series:
        place, bounded = self._place_of(info, status, media)
        label = (place, "All" if dry_run else "", str(status))
        series = self._by_label.get(label)
        if series is None:
            if len(self._by_label) >= _SERIES_MAX:
                label, bounded = _OVERFLOW, False
            series = self._by_label.setdefault(label, _Series(*label))
        if bounded and dry_run in (None, "All") and len(self._series) < _SERIES_MAX:
            self._series[key] = series
        return series

    def _place_of(self, info: RequestInfo, status: int, media: str) -> tuple[Labels, bool]:
        """The labels of a request, and whether there are few requests with its key."""
        verb = _VERBS.get(info.verb, "")
        if not info.is_resource:
            found = status < 400 and len(info.path) < _PATH_MAX
            verb = info.verb.upper() if info.verb in _METHODS else ""
            return ("", "", "", "", info.path if found else "", verb, ""), found
        if not self._known(info.group, info.version, info.resource):
            return ("apiserver", "", "", "", "", verb, ""), False
        if verb == "PATCH" and media.startswith(_APPLY):
            verb = "APPLY"
        subresource = info.subresource
        if subresource in _CONNECTING:
            verb = "CONNECT"
        if info.name or verb == "POST":
            scope = "resource"
        else:
            scope = "namespace" if info.namespace else "cluster"
        bounded = status != 404 or not subresource
        kept = subresource if bounded else ""
        place = ("apiserver", info.group, info.resource, scope, kept, verb, info.version)
        return place, bounded and media in ("", APPLY_MARK)

    def series(self) -> Iterator[_Series]:
        return iter(self._by_label.values())

    def waits_of(self, place: Labels) -> tuple[list[int], float]:
        counts, sums = self._waits.get(place, ([0] * (len(DURATIONS_S) + 1), [0.0]))
        return counts, sums[0]


# What tells an apply from other patches, instead of the media type that was sent.
APPLY_MARK = _APPLY


class _Total(Metric):
    kind = "counter"

    def __init__(self, requests: RequestMetrics) -> None:
        super().__init__(
            "apiserver_request_total",
            "Counter of apiserver requests by verb, dry run, resource, scope, component and code.",
            ("code", "component", "dry_run", *_PLACE[1:]),
        )
        self._requests = requests

    def render(self) -> list[str]:
        return [
            f"{self.name}{self._series((s.code, s.place[0], s.dry_run, *s.place[1:]))} {s.count}"
            for s in self._requests.series()
        ]


class _Merged(Metric):
    """A histogram of series that differ in labels it does not have."""

    kind = "histogram"
    bounds: tuple[float, ...] = ()

    def __init__(self, requests: RequestMetrics, name: str, text: str, labels: Labels) -> None:
        super().__init__(name, text, labels)
        self._requests = requests
        self._edges = [*map(format_number, self.bounds), "+Inf"]

    def counted(self) -> dict[Labels, tuple[list[int], float]]:
        raise NotImplementedError

    def render(self) -> list[str]:
        lines = []
        for labels, (counts, total) in self.counted().items():
            running = 0
            for edge, count in zip(self._edges, counts, strict=True):
                running += count
                extra = f'le="{edge}"'
                lines.append(f"{self.name}_bucket{self._series(labels, extra)} {running}")
            lines.append(f"{self.name}_sum{self._series(labels)} {format_number(total)}")
            lines.append(f"{self.name}_count{self._series(labels)} {running}")
        return lines


def _add(
    made: dict[Labels, tuple[list[int], float]], key: Labels, counts: list[int], total: float
) -> None:
    before, so_far = made.get(key, ([0] * len(counts), 0.0))
    made[key] = ([a + b for a, b in zip(before, counts, strict=True)], so_far + total)


class _Durations(_Merged):
    bounds = DURATIONS_S

    def __init__(self, requests: RequestMetrics) -> None:
        text = "Response latency distribution in seconds by verb, dry run, resource and scope."
        labels = (_PLACE[0], "dry_run", *_PLACE[1:])
        super().__init__(requests, "apiserver_request_duration_seconds", text, labels)

    def counted(self) -> dict[Labels, tuple[list[int], float]]:
        made: dict[Labels, tuple[list[int], float]] = {}
        for s in self._requests.series():
            _add(made, (s.place[0], s.dry_run, *s.place[1:]), s.durations, s.sum_s)
        return made


class _Indicators(_Merged):
    """Without the time requests waited for a seat, and without watches."""

    bounds = DURATIONS_S[_SLI_FROM:]

    def __init__(self, requests: RequestMetrics) -> None:
        text = "Response latency distribution without the time spent in queues."
        super().__init__(requests, "apiserver_request_sli_duration_seconds", text, _PLACE)

    def counted(self) -> dict[Labels, tuple[list[int], float]]:
        made: dict[Labels, tuple[list[int], float]] = {}
        for s in self._requests.series():
            if s.place[5] not in ("WATCH", "CONNECT"):
                _add(made, s.place, _from(s.durations), s.sum_s)
        for place in made:
            counts, total = self._requests.waits_of(place)
            _add(made, place, _from(counts), total)
        return made


def _from(counts: list[int]) -> list[int]:
    """Counts of all bounds as those of the larger ones."""
    return [sum(counts[: _SLI_FROM + 1]), *counts[_SLI_FROM + 1 :]]


class _Sizes(_Merged):
    bounds = _SIZES

    def __init__(self, requests: RequestMetrics) -> None:
        text = "Response size distribution in bytes, of reads."
        super().__init__(requests, "apiserver_response_sizes", text, _PLACE)

    def counted(self) -> dict[Labels, tuple[list[int], float]]:
        made: dict[Labels, tuple[list[int], float]] = {}
        for s in self._requests.series():
            if s.place[5] in _READS:
                _add(made, s.place, s.sizes, s.sum_bytes)
        return made


class _Pairs(Metric):
    """Counts kept elsewhere, told apart by one label."""

    def __init__(
        self, name: str, kind: str, text: str, label: str, read: Callable[[], dict[str, int]]
    ) -> None:
        super().__init__(name, text, (label,))
        self.kind = kind
        self._read = read

    def render(self) -> list[str]:
        return [f"{self.name}{self._series((k,))} {v}" for k, v in self._read().items()]


class _Deprecated(Metric):
    kind = "gauge"

    def __init__(self, requests: RequestMetrics) -> None:
        super().__init__(
            "apiserver_requested_deprecated_apis",
            "Deprecated APIs that were requested, and the release that removes them.",
            ("group", "removed_release", "resource", "subresource", "version"),
        )
        self._requests = requests

    def render(self) -> list[str]:
        return [f"{self.name}{self._series(k)} 1" for k in sorted(self._requests.deprecated)]
