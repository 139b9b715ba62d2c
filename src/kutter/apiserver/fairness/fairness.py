"""Priority and fairness of one server: requests to flows, flows to levels, seats to levels.

Between the pipeline, which asks for a seat for each request, and the configuration objects, which
:mod:`kutter.apiserver.fairness.configuration` keeps. Laws:

* Which flow a request belongs to is looked up by caller, verb and resource, and searched once.
* A server without configuration objects works with the mandatory ones.
* Seats move between levels only after somebody had to wait; nothing runs while nobody does.

Upstream: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from kutter.apiserver.authn.identity import User
from kutter.apiserver.fairness.allocation import Demand, bounds_of, share_out
from kutter.apiserver.fairness.defaults import CATCH_ALL, MANDATORY_LEVELS, MANDATORY_SCHEMAS
from kutter.apiserver.fairness.level import PriorityLevel
from kutter.apiserver.fairness.matching import Matcher
from kutter.apiserver.ports import Tree
from kutter.apiserver.request_info import RequestInfo
from kutter.base.clock import Clock

ADJUSTMENT_PERIOD_S = 10.0
_CACHE_LIMIT = 4096
_WAIT_LIMIT_S = 15.0
_FLOW_HEADER = "X-Kubernetes-PF-FlowSchema-UID"
_LEVEL_HEADER = "X-Kubernetes-PF-PriorityLevel-UID"

Headers = tuple[tuple[str, str], ...]
WidthOf = Callable[[RequestInfo, Mapping[str, str], int], int]
"""How many seats a request takes, at most the given number."""


class Flow:
    """One flow schema, ready for use. ``headers`` tell a client where its request went."""

    __slots__ = (
        "by_namespace",
        "by_user",
        "dispatched",
        "headers",
        "level",
        "matcher",
        "name",
        "width_limit",
    )

    def __init__(self, tree: Tree, level: PriorityLevel, dispatched: int) -> None:
        spec = tree["spec"]
        self.name: str = tree["metadata"]["name"]
        self.level = level
        self.dispatched = dispatched
        self.matcher = Matcher(spec)
        method = (spec.get("distinguisherMethod") or {}).get("type")
        self.by_user = method == "ByUser"
        self.by_namespace = method == "ByNamespace"
        uid = tree["metadata"].get("uid", "")
        pairs = ((_LEVEL_HEADER, level.uid), (_FLOW_HEADER, uid))
        self.headers: Headers = pairs if uid and level.uid else ()
        self.width_limit = width_limit(level.bounds.nominal)

    def distinguisher(self, user: User, info: RequestInfo) -> str:
        """What tells flows of one schema apart."""
        if self.by_user:
            return user.name
        return info.namespace if self.by_namespace else ""


def width_limit(nominal: int) -> int:
    """No request takes more than this part of its level, nor more than ten seats."""
    return max(1, min(10, -(-nominal * 15 // 100)))


class Fairness:
    """``flow_of`` a request, then its level's seats."""

    def __init__(self, total_seats: int, width_of: WidthOf, clock: Clock) -> None:
        self.total_seats = total_seats
        self.width_of = width_of
        self.levels: dict[str, PriorityLevel] = {}
        self.flows: list[Flow] = []
        self.fair_fraction = 0.0
        self.wait_limit_s = _WAIT_LIMIT_S
        self.observe_wait: Callable[..., None] = _nobody_counts
        self._clock = clock
        self._specs: dict[str, Tree] = {}
        self._namespaces_matter = False
        self._cache: dict[tuple[Any, ...], Flow] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.configure(MANDATORY_LEVELS, MANDATORY_SCHEMAS)

    # -- configuration ----------------------------------------------------------

    def configure(self, levels: Iterable[Tree], schemas: Iterable[Tree]) -> None:
        """Use these objects (the mandatory ones as they always are) from now on."""
        trees = {tree["metadata"]["name"]: tree for tree in (*MANDATORY_LEVELS, *levels)}
        self._specs = {name: tree["spec"] for name, tree in trees.items()}
        bounds = bounds_of(self._specs, self.total_seats)
        # Requests under way in a level that is no more finish there.
        self.levels = {name: self.levels.get(name) or self._level(name) for name in trees}
        for name, tree in trees.items():
            level, spec = self.levels[name], tree["spec"]
            level.uid = tree["metadata"].get("uid", "")
            level.exempt = spec.get("type") == "Exempt"
            if level.bounds != bounds[name]:
                level.bounds = bounds[name]
                level.set_limit(bounds[name].nominal)
            response = (spec.get("limited") or {}).get("limitResponse") or {}
            queuing = response.get("queuing") or {}
            queues = queuing.get("queues", 64) if response.get("type") == "Queue" else 0
            level.configure(
                queues=queues,
                hand_size=queuing.get("handSize", 8),
                length_limit=queuing.get("queueLengthLimit", 50),
            )
        named = {tree["metadata"]["name"]: tree for tree in (*MANDATORY_SCHEMAS, *schemas)}
        flows = [
            (tree["spec"].get("matchingPrecedence") or 1000, name, tree)
            for name, tree in named.items()
            if tree["spec"]["priorityLevelConfiguration"]["name"] in self.levels
        ]
        counts = {flow.name: flow.dispatched for flow in self.flows}
        self.flows = [
            Flow(
                tree,
                self.levels[tree["spec"]["priorityLevelConfiguration"]["name"]],
                counts.get(tree["metadata"]["name"], 0),
            )
            for _, _, tree in sorted(flows, key=lambda item: item[:2])
        ]
        self._namespaces_matter = any(flow.matcher.namespaces for flow in self.flows)
        self._cache.clear()

    def _level(self, name: str) -> PriorityLevel:
        level = PriorityLevel(name, self._clock)
        level.pressed = self._pressed
        return level

    # -- requests ---------------------------------------------------------------

    def flow_of(self, user: User, info: RequestInfo) -> Flow:
        """The first schema that matches, by precedence."""
        if info.is_resource:
            namespace = info.namespace if self._namespaces_matter else bool(info.namespace)
            key: tuple[Any, ...] = (
                user.name,
                user.groups,
                info.verb,
                info.group,
                info.resource,
                info.subresource,
                namespace,
            )
        else:
            key = (user.name, user.groups, info.verb, info.path)
        flow = self._cache.get(key)
        if flow is None:
            flow = self._search(user, info)
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            self._cache[key] = flow
        return flow

    def _search(self, user: User, info: RequestInfo) -> Flow:
        catch_all = self.flows[-1]
        for flow in self.flows:
            if flow.matcher.match(user, info):
                return flow
            if flow.name == CATCH_ALL:
                catch_all = flow
        return catch_all  # callers in neither of the two groups everybody is in

    @asynccontextmanager
    async def seated(
        self, flow: Flow, user: User, info: RequestInfo, seats: int
    ) -> AsyncIterator[float]:
        """Seats of the flow's level after waiting for them; gives for how long. Raises 429."""
        level, clock = flow.level, self._clock
        arrived = clock.monotonic()
        try:
            queue = await level.wait(
                seats,
                flow.name,
                flow.distinguisher(user, info),
                limit_s=self.wait_limit_s,
                detail=(user, info),
            )
        except BaseException:
            flow.dispatched -= 1
            self.observe_wait(clock.monotonic() - arrived, level.name, flow.name, "false")
            raise
        began = clock.monotonic()
        self.observe_wait(began - arrived, level.name, flow.name, "true")
        try:
            yield began - arrived
        finally:
            level.give_back(seats, queue, clock.monotonic() - began)

    # -- borrowing --------------------------------------------------------------

    def _pressed(self) -> None:
        """Somebody waits: see soon whether others have seats to lend."""
        if self._timer is None:
            for level in self.levels.values():
                level.take_demand()  # a period begins now, not when the last one ended
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(ADJUSTMENT_PERIOD_S, self._period_over)

    def _period_over(self) -> None:
        self._timer = None
        if self.adjust():
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(ADJUSTMENT_PERIOD_S, self._period_over)

    def adjust(self) -> bool:
        """Move seats to where they are wanted; whether to look again after another period."""
        exempt = [level for level in self.levels.values() if level.exempt]
        limited = [level for level in self.levels.values() if not level.exempt]
        left = sum(level.bounds.nominal for level in self.levels.values())
        for level in exempt:
            level.take_demand()
            left -= level.bounds.lower
        demands = []
        for level in limited:
            high = level.take_demand()
            lower = max(level.bounds.lower, min(level.bounds.nominal, high))
            level.target = max(float(lower), level.smoothed)
            demands.append(Demand(level.target, lower, level.bounds.upper))
        shares, self.fair_fraction = share_out(left, demands)
        for level, share in zip(limited, shares, strict=True):
            level.set_limit(round(share))
        if any(level.waiting for level in limited):
            return True
        if any(level.smoothed > level.bounds.nominal for level in limited):
            return True
        for level in limited:
            level.set_limit(level.bounds.nominal)
        return False

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _nobody_counts(*_: object) -> None:
    return
