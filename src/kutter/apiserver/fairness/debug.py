"""``/debug/api_priority_and_fairness/*``: levels, queues and requests as text tables.

Columns and layout are upstream's, which tools and people know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from kutter.apiserver.authn.identity import User
from kutter.apiserver.fairness.fairness import Fairness
from kutter.apiserver.fairness.level import PriorityLevel, Queue, Waiting
from kutter.apiserver.request_info import RequestInfo
from kutter.base.clock import Clock, render_micro_time
from kutter.http.messages import Request, Response

_ROOT = "/debug/api_priority_and_fairness/"
PATHS = tuple(_ROOT + name for name in ("dump_priority_levels", "dump_queues", "dump_requests"))
_SHOWN = 1024
_CELL, _PADDING = 8, 1
Row = list[str]


def answer(fairness: Fairness, clock: Clock, request: Request, path: str) -> Response | None:
    """The answer to a debug path, None for other paths."""
    if path not in PATHS:
        return None
    levels = [fairness.levels[name] for name in sorted(fairness.levels)]
    match path.removeprefix(_ROOT):
        case "dump_priority_levels":
            dispatched = Counter[str]()
            for flow in fairness.flows:
                dispatched[flow.level.name] += flow.dispatched
            rows = _levels(levels, dispatched)
        case "dump_queues":
            rows = _queues(levels)
        case _:
            rows = _requests(levels, clock, details=bool(request.param("includeRequestDetails")))
    text = ("Content-Type", "text/plain; charset=utf-8")
    return Response(200, [text], _render(rows).encode())


def _in_order(level: PriorityLevel) -> list[Queue]:
    """All queues of a level of ordinary size, those in use of others."""
    if level.queue_count <= _SHOWN:
        numbers = {*range(level.queue_count), *level.queues}
        return [level.queues.get(i) or Queue(i) for i in sorted(numbers)]
    return [level.queues[i] for i in sorted(level.queues)]


def _levels(levels: Iterable[PriorityLevel], dispatched: Counter[str]) -> list[Row]:
    rows = [
        [
            "PriorityLevelName",
            "ActiveQueues",
            "IsIdle",
            "IsQuiescing",
            "WaitingRequests",
            "ExecutingRequests",
            "DispatchedRequests",
            "RejectedRequests",
            "TimedoutRequests",
            "CancelledRequests",
        ]
    ]
    for level in levels:
        idle = not level.executing and not level.waiting
        counts = dict.fromkeys(("rejected", "time-out", "cancelled"), 0)
        for (_, reason), count in level.rejected.items():
            counts[reason if reason in counts else "rejected"] += count
        rows.append(
            [
                level.name,
                str(sum(1 for queue in level.queues.values() if queue.waiting)),
                "true" if idle else "false",
                "false",
                str(level.waiting),
                str(level.executing),
                str(dispatched[level.name]),
                str(counts["rejected"]),
                str(counts["time-out"]),
                str(counts["cancelled"]),
            ]
        )
    return rows


def _queues(levels: Iterable[PriorityLevel]) -> list[Row]:
    rows = [
        [
            "PriorityLevelName",
            "Index",
            "PendingRequests",
            "ExecutingRequests",
            "SeatsInUse",
            "NextDispatchR",
            "InitialSeatsSum",
            "MaxSeatsSum",
            "TotalWorkSum",
        ]
    ]
    for level in levels:
        for queue in _in_order(level):
            seats = str(queue.seats_waiting)
            rows.append(
                [
                    level.name,
                    str(queue.index),
                    str(len(queue.waiting)),
                    str(queue.executing),
                    str(queue.seats_taken),
                    f"{queue.start:.8f}ss",
                    seats,
                    seats,
                    f"{queue.seats_waiting:.8f}ss",
                ]
            )
    return rows


def _requests(levels: Iterable[PriorityLevel], clock: Clock, *, details: bool) -> list[Row]:
    head = [
        "PriorityLevelName",
        "FlowSchemaName",
        "QueueIndex",
        "RequestIndexInQueue",
        "FlowDistingsher",
        "ArriveTime",
        "InitialSeats",
        "FinalSeats",
        "AdditionalLatency",
        "StartTime",
    ]
    if details:
        head += ["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion"]
        head += ["Resource", "SubResource"]
    rows = [head]
    for level in levels:
        for queue in _in_order(level):
            for place, item in enumerate(queue.waiting):
                row = [level.name, item.flow, str(queue.index), str(place), item.distinguisher]
                row += [_moment(item, clock), str(item.seats), "0", "0s", "0001-01-01T00:00:00Z"]
                rows.append(row + (_details(item.detail) if details else []))
    return rows


def _moment(item: Waiting, clock: Clock) -> str:
    return render_micro_time(clock.now() - timedelta(seconds=clock.monotonic() - item.arrived_s))


def _details(detail: object) -> Row:
    assert isinstance(detail, tuple), "requests wait with their caller and what they ask"
    user, info = detail
    assert isinstance(user, User)
    assert isinstance(info, RequestInfo)
    version = f"{info.group}/{info.version}" if info.group else info.version
    row = [user.name, info.verb, info.path, info.namespace, info.name, version]
    return [*row, info.resource, info.subresource]


def _render(rows: list[Row]) -> str:
    """Columns as wide as their widest cell, as Go's tabwriter sets them; the last is ragged."""
    widths = [
        max(_CELL, *(len(row[i]) + 1 + _PADDING for row in rows)) for i in range(len(rows[0]) - 1)
    ]
    lines = []
    for row in rows:
        cells = [f"{cell},".ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("".join(cells) + row[-1])
    return "\n".join(lines) + "\n"
