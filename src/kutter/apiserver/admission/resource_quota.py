"""ResourceQuota: what a request costs is reserved in the quota's status before it is stored.

Laws: the status is written by compare-and-write, so two requests never spend the same amount;
requests of one namespace that wait at the same time share one write; a write that did not take
place gives back what it reserved. Who recounts (the quota controller) asks first by a dry run
whether reservations are on their way: a status that lowers ``used`` is refused with 409 while
some are, and whoever then lists the objects and writes at the version asked about cannot
have missed one. Reservations a crash leaves behind are found by the next recount.
https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import msgspec

from kutter.api.errors import ApiError, conflict
from kutter.api.quantity import Quantity, QuantityError
from kutter.api.quota.amounts import Amounts, add, read_amounts, write_amounts
from kutter.api.quota.measures import IGNORED, measure_of
from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.admission.quota_charges import (
    Item,
    LimitedResource,
    Quota,
    make_item,
    plan_charges,
    read_quota,
)
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree

ATTEMPTS = 20
_STATUS = "resourcequotas/status"


class StoredQuota(Protocol):
    """A quota in the state ``write`` compares with (an entry of the read cache)."""

    name: str
    revision: int

    @property
    def bare_tree(self) -> Tree: ...

    def __hash__(self) -> int: ...


class QuotaStore(Protocol):
    """Where quotas are."""

    def quotas(self, namespace: str) -> Sequence[StoredQuota]:
        """The quotas of a namespace, by name, as new as the last acknowledged write."""
        ...

    async def write(self, quota: StoredQuota, tree: Tree) -> bool:
        """Replace it by ``tree``; False, after the winner is visible, when that lost a race."""
        ...


class NoQuotas:
    """Before the server is put together there are no quotas."""

    def quotas(self, namespace: str) -> Sequence[StoredQuota]:
        return ()

    async def write(self, quota: StoredQuota, tree: Tree) -> bool:
        return False


class _Waiter(msgspec.Struct):
    item: Item
    done: bool = False
    error: ApiError | None = None


class _Desk(msgspec.Struct):
    """The requests of one namespace. ``unsettled``: reserved, not known to be stored yet."""

    waiting: list[_Waiter] = msgspec.field(default_factory=list)
    lock: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    users: int = 0
    unsettled: int = 0


class ResourceQuota(Plugin):
    name = "ResourceQuota"
    repeatable = True

    def __init__(self, limited: Sequence[LimitedResource] = ()) -> None:
        self.store: QuotaStore = NoQuotas()
        self._limited = tuple(limited)
        self._desks: dict[str, _Desk] = {}

    def wants(self, resource: str, operation: Operation) -> bool:
        if resource == _STATUS:
            return operation == "UPDATE"
        main, _, subresource = resource.partition("/")
        if main in IGNORED or operation not in ("CREATE", "UPDATE"):
            return False
        if operation == "CREATE":
            return not subresource
        return subresource in (measure_of(main).updates or ())

    async def validate(self, request: AdmissionRequest) -> None:
        namespace = request.namespace
        if not namespace:
            return
        if not (self._limited or self.store.quotas(namespace)):
            request.reader.list("resourcequotas", namespace)  # for who records: there is none
            return
        request.once = True
        if request.subresource == "status" and request.resource.group_resource == "resourcequotas":
            self._check_recount(request)
            return
        item = make_item(request, measure_of(request.resource.group_resource))
        if request.dry_run:
            plan_charges(self._read(namespace), item, self._limited)
            return
        await self._reserve(namespace, item)

    def _check_recount(self, request: AdmissionRequest) -> None:
        desk = self._desks.get(request.namespace)
        if desk is None or not desk.unsettled:
            return
        before, after = (_used(tree) for tree in (request.old, request.object))
        if any(name not in after or after[name] < amount for name, amount in before.items()):
            raise conflict(
                "resourcequotas",
                request.name,
                "what it counts is being written; please try again",
            )

    # -- reserving ----------------------------------------------------------------

    def _read(self, namespace: str) -> list[Quota]:
        return [_parsed(stored) for stored in self.store.quotas(namespace)]

    async def _reserve(self, namespace: str, item: Item) -> None:
        desk = self._desks.setdefault(namespace, _Desk())
        waiter = _Waiter(item)
        desk.waiting.append(waiter)
        desk.users += 1
        try:
            async with desk.lock:
                if not waiter.done:
                    await self._serve(namespace, desk, waiter)
        except BaseException:
            # Cut off in between: what was reserved stays until the next recount.
            if not waiter.done:
                desk.waiting.remove(waiter)
            elif item.paid:
                desk.unsettled -= 1
            self._leave(namespace, desk)
            raise
        if item.paid:
            # The desk stays in use until the reservation is settled.
            item.request.reservation = _Reservation(self, namespace, desk, item.paid)
            return
        self._leave(namespace, desk)
        if waiter.error is not None:
            raise waiter.error

    def _leave(self, namespace: str, desk: _Desk) -> None:
        desk.users -= 1
        if not desk.users:
            self._desks.pop(namespace, None)

    async def _serve(self, namespace: str, desk: _Desk, own: _Waiter) -> None:
        """Answer everyone who waits, until our own request is answered."""
        for _ in range(ATTEMPTS):
            # Whoever comes while we write joins the next round.
            await self._round(namespace, desk, [*desk.waiting])
            if own.done:
                return
        await self._give_back(namespace, own.item.paid)
        own.item.paid = {}
        desk.waiting.remove(own)
        own.done = True
        detail = f"the quotas of namespace {namespace} change too often"
        own.error = conflict("resourcequotas", "", detail)

    async def _round(self, namespace: str, desk: _Desk, batch: list[_Waiter]) -> None:
        stored = {quota.name: quota for quota in self.store.quotas(namespace)}
        running = {name: _parsed(quota) for name, quota in stored.items()}
        due: dict[str, list[tuple[_Waiter, Amounts]]] = {}
        for waiter in batch:
            try:
                charges = plan_charges(list(running.values()), waiter.item, self._limited)
            except ApiError as error:
                waiter.error = error
                charges = {}
            if not charges:
                waiter.done = True
            for name, cost in charges.items():
                running[name] = _charged(running[name], cost)
                due.setdefault(name, []).append((waiter, cost))
        # The lock is ours, so recounts see these as unsettled before their writes are seen.
        desk.unsettled += 1
        try:
            for name, charged in due.items():
                tree = stored[name].bare_tree
                tree.setdefault("status", {})["used"] = write_amounts(running[name].used)
                if await self.store.write(stored[name], tree):
                    for waiter, cost in charged:
                        waiter.item.paid[name] = cost
            for waiter in batch:
                # Refused by a later look although something is paid: no half reservations.
                if waiter.error is not None and waiter.item.paid:
                    await self._give_back(namespace, waiter.item.paid)
                    waiter.item.paid = {}
                elif not waiter.done and all(
                    name in waiter.item.paid
                    for name, charged in due.items()
                    if any(waiter is other for other, _ in charged)
                ):
                    waiter.done = True
                    desk.unsettled += 1
        finally:
            desk.unsettled -= 1
            desk.waiting = [waiter for waiter in desk.waiting if not waiter.done]

    async def _give_back(self, namespace: str, paid: dict[str, Amounts]) -> None:
        for name, cost in paid.items():
            for _ in range(ATTEMPTS):
                stored = next((q for q in self.store.quotas(namespace) if q.name == name), None)
                if stored is None:
                    break
                tree = stored.bare_tree
                used = _used(tree)
                for resource, amount in cost.items():
                    if resource in used:
                        left = used[resource] - amount
                        used[resource] = left if left.nanos > 0 else Quantity(0)
                tree.setdefault("status", {})["used"] = write_amounts(used)
                if await self.store.write(stored, tree):
                    break

    async def settle(
        self, namespace: str, desk: _Desk, paid: dict[str, Amounts], stored: bool | None
    ) -> None:
        """The end of a reservation, see :class:`kutter.apiserver.ports.Reservation`."""
        try:
            if stored is False:
                async with desk.lock:
                    await self._give_back(namespace, paid)
        finally:
            desk.unsettled -= 1
            self._leave(namespace, desk)


class _Reservation(msgspec.Struct):
    plugin: ResourceQuota
    namespace: str
    desk: _Desk
    paid: dict[str, Amounts]

    async def settle(self, stored: bool | None) -> None:
        await self.plugin.settle(self.namespace, self.desk, self.paid, stored)


@lru_cache(maxsize=512)
def _parsed(stored: StoredQuota) -> Quota:
    return read_quota(stored.bare_tree)


def _charged(quota: Quota, cost: Amounts) -> Quota:
    return Quota(quota.name, quota.hard, add(quota.used, cost), quota.scopes)


def _used(tree: Tree | None) -> Amounts:
    try:
        return read_amounts(((tree or {}).get("status") or {}).get("used"))
    except QuantityError:
        return {}
